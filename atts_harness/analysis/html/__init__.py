"""The report as one HTML file: `write_page(leaderboard, path)`."""
