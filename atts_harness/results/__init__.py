"""Results of runs and of other programs, as typed values."""
