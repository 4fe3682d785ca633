"""Votes over any strategy: self-consistency, and methods that draw or count fewer samples."""
