"""Rows in memory."""

import datasets


def rows(**_):
    """Four sums."""
    return {"test": datasets.Dataset.from_list([{"q": f"{n} + {42 - n}?"} for n in range(4)])}
