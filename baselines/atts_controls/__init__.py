"""Controls: what every claim about a takeover strategy is held against."""
