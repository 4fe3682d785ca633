"""The benchmark tasks as lm-eval tasks, with one prompt and one grader for all of them."""
