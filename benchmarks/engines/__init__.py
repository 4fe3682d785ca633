"""What scoring costs on real servers: `make bench-engines`."""
