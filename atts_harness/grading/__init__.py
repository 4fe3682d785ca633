"""Grading: what a text answers (`extraction`) and whether that equals the gold (`equivalence`)."""
