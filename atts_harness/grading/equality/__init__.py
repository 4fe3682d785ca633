"""Whether two typed answers are equal."""
