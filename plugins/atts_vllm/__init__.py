"""vLLM as a backend: generation and scoring by token ids over its completions route."""
