"""What a run leaves on disk: its journal, its run directory, and what reads them."""
