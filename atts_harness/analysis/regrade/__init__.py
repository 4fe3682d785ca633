"""Grading saved runs again without generating."""
