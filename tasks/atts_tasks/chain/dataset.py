"""Documents of the chain tasks: generated from a seed, offline, never trained on."""

from __future__ import annotations

from itertools import islice
from typing import Any

from atts_tasks.chain.problems import ChainProblem, iter_problems, make_problems

from atts_harness.errors import SettingError


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingError(
            f"{name}: {value!r} is not an integer >= {least}; "
            f"give one as --metadata '{{\"{name}\": {max(least, 500)}}}'"
        )
    return value


def build(
    level: str = "mixed", num_problems: Any = 500, problem_seed: Any = 0, **_: Any
) -> dict[str, Any]:
    """The held-out problems of a level as a dataset.

    Args:
        level: ``easy``, ``hard``, ``shifted`` or ``mixed``; set by the task.
        num_problems: How many; ``--metadata '{"num_problems": 100}'``. A smaller set is the
            beginning of a larger one.
        problem_seed: Another seed gives other problems of the same kind.
        **_: lm-eval hands over all metadata, the model's arguments included.

    Returns:
        The split ``test``, and ``validation`` with as many other held-out problems, for
        calibration. Fields: ``prompt``, ``answer`` (an integer as text), ``level`` and
        ``expression``.

    Raises:
        SettingError: If a setting is of the wrong type or out of range.
    """
    from datasets import Dataset

    count, seed = _whole("num_problems", num_problems, 1), _whole("problem_seed", problem_seed, 0)
    test = make_problems(level, "test", count, seed)
    test_chains = {problem.chain for problem in test}
    fresh = (p for p in iter_problems(level, "test", -1 - seed) if p.chain not in test_chains)
    validation = list(islice(fresh, count))
    return {
        "test": Dataset.from_list([_row(problem) for problem in test]),
        "validation": Dataset.from_list([_row(problem) for problem in validation]),
    }


def _row(problem: ChainProblem) -> dict[str, str]:
    return {
        "prompt": problem.prompt,
        "answer": str(problem.answer),
        "level": problem.level,
        "expression": str(problem.chain),
    }
