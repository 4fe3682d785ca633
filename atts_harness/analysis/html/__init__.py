"""The report as one HTML file: `write_page(leaderboard, path)`."""

MOST_SAMPLES = 5000
"""Samples whose texts a page holds at most, by default."""
