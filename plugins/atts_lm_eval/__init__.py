"""lm-eval as an evaluation framework: every strategy is an lm-eval model."""
