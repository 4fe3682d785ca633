"""Whether takeover control held in a run."""
