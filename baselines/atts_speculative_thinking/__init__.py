"""Speculative thinking: at a paragraph's end, reflecting words bring in the target."""
