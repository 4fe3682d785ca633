"""What docs/guarantees.md shows, one script each; `python -m benchmarks.conformal` draws all."""
