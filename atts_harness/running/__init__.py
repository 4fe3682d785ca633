"""How samples are scheduled, recorded, kept alive through faults, and accounted for."""
