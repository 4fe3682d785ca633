"""Tools for tests: a scripted backend, mock engines and the conformance suite for backends."""
