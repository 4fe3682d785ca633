"""What the command's help names: read at every start of `atts`, so nothing heavy is imported."""

CHAT = "chat"
"""What requests count to that name no task."""
KEY_VARIABLE = "ATTS_SERVE_KEY"
"""The environment variable with the keys that requests need."""
