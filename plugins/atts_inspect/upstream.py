"""What this package takes from inside inspect_ai: one place to look when a release changes.

Everything else that it uses is public.
"""

from __future__ import annotations

from typing import Any, NoReturn

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.log._samples import sample_active


def refuse(message: str) -> NoReturn:
    """End the command with one line, as inspect_ai does for what its user has to put right."""
    raise PrerequisiteError(message) from None


def running_sample() -> Any:
    """The sample that is being run here: `sample` (of the data set), `epoch`, `task`.

    None outside an evaluation. A provider gets only messages, and no public name says which sample
    they belong to.
    """
    return sample_active()
