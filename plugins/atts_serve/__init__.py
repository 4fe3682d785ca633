"""Strategies behind an OpenAI-compatible endpoint, and a page to watch them."""
