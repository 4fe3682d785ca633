"""GlimpRouter: the entropy of a step's first token says who writes the step."""
