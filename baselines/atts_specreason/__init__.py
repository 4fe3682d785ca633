"""SpecReason: the draft writes steps, the target grades each with a digit and redoes bad ones."""
