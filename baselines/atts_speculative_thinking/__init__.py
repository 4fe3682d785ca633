"""Speculative thinking: words of doubt at a paragraph's end call the target."""
