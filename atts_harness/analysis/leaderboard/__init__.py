"""The leaderboard: rows that may stand side by side, and how they compare."""
