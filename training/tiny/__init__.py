"""Trains and measures the embedded pair; see CONTRIBUTING.md."""
