"""Votes: what self-consistency and its kin draw, give up and count, over any strategy."""
