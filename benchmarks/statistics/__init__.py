"""What the intervals and tests of `atts_harness.analysis.statistics` are worth, by simulation."""
