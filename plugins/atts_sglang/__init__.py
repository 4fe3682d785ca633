"""SGLang as a backend: generation and scoring by token ids over `/generate`."""
