"""The leaderboard written out, one output a module."""
