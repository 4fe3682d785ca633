"""inspect_ai: every strategy as a model, this project's tasks, and its grader."""
