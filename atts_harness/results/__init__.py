"""What runs and other programs leave behind, as typed values."""
