"""Everything that reads finished runs: statistics, audit, leaderboard, report page, regrading."""
