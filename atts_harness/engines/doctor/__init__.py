"""Commands that start, examine and warm up engine servers."""
