"""What a run costs: sums over its calls, and prices."""
