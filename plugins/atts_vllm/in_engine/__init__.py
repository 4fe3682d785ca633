"""What runs inside the engine's own processes; it needs nothing but vLLM and this folder."""
