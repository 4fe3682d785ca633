"""Lists the settings that a run, its strategies and its backends have, from the settings alone."""
