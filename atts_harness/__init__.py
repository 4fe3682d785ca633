"""Draft/target test-time scaling strategies as lm-eval models."""
