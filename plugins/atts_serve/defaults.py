"""What the command's help names: read at every start of `atts`, so nothing heavy is imported."""

CHAT = "chat"
"""The task of requests that name none."""
KEY_VARIABLE = "ATTS_SERVE_KEY"
"""The environment variable with the keys that requests need."""
