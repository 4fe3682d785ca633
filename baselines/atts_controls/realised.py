"""The share of written drafts that another run's target really took over, task by task.

A turn whose score failed counts, because it was taken over too, and a control has to take over as
often. An empty draft does not count, because the control itself gives empty drafts to the target.
Reports show the share among judged turns as `takeover_rate`; the two differ if scores failed.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from atts_harness.errors import JournalError, SettingError
from atts_harness.files import read_file
from atts_harness.journal.reader import open_run
from atts_harness.ledger.statistics import TakeoverCount
from atts_harness.results import plain_json
from atts_harness.results.statistics import TakeoverStatistics


class _Statistics(msgspec.Struct):
    takeover: TakeoverStatistics


class _Run(msgspec.Struct):
    statistics: dict[str, _Statistics]


class _Config(msgspec.Struct):
    atts: _Run


class _Results(msgspec.Struct):
    config: _Config


def realised_rates(path: str) -> dict[str, float]:
    """Turns taken over among turns with a draft, in [0, 1], by task.

    Args:
        path: a run directory, or the results JSON that lm-eval wrote of a run.

    Raises:
        SettingError: there is neither at this path, the run is not finished, or it decided no
            turn.
    """
    place = Path(path)
    if place.is_dir():
        by_task = _of_run(place)
    elif place.is_file():
        by_task = _of_results(place)
    else:
        raise SettingError(
            f"rate_of={path}: is neither a run directory nor a results file of lm-eval"
        )
    rates = {task: rate for task, of in by_task.items() if (rate := of.drawn_rate) is not None}
    if not rates:
        raise SettingError(f"rate_of={path}: the run decided no turn, so it has no realised rate")
    return rates


def _of_results(path: Path) -> dict[str, TakeoverStatistics]:
    fault = f"rate_of={path}: is not a results file of a run of this harness"
    try:
        # Other figures of the file may be NaN.
        results = msgspec.convert(plain_json.decode(read_file(path, fault), fault), _Results)
    except (SettingError, msgspec.ValidationError) as error:
        raise SettingError(f"{fault}: {error}") from error
    return {task: of.takeover for task, of in results.config.atts.statistics.items()}


def _of_run(path: Path) -> dict[str, TakeoverStatistics]:
    counts: dict[str, TakeoverCount] = {}
    try:
        with open_run(path) as run:
            run.require_complete()
            dropped = set(run.dropped())  # an earlier session began them and nobody ended them
            for decision in run.decisions():
                if decision.sample in dropped:
                    continue
                counts.setdefault(decision.sample.task, TakeoverCount()).add(decision)
    except JournalError as error:
        raise SettingError(f"rate_of: {error}") from error
    return {task: count.statistics() for task, count in counts.items()}
