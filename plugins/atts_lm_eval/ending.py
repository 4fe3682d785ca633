"""How lm-eval's command ends when samples failed for good or turns were not judged.

It says so last, and by its status.

A sample that failed for good is graded as wrong and counted separately, so lm-eval has results,
writes them and ends with success. A user with many runs has to notice the failure all the same.
After lm-eval has printed its tables, only what Python calls at its end can run our code, and there
only leaving at once sets an exit status.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
from collections.abc import Sequence

from atts_harness import neutral
from atts_harness.errors import SAMPLES_FAILED
from atts_harness.ledger.statistics import unjudged_in_words
from atts_harness.neutral import plain
from atts_harness.records import SampleRecord
from atts_harness.results.statistics import TakeoverStatistics

MOST_NAMED = 20
log = neutral.logger("lm_eval.atts")

_lines: list[str] = []


def install() -> None:
    """Look at the end of this process whether samples failed. For lm-eval's command line only."""
    atexit.register(_end)


def add(records: Sequence[SampleRecord], run_dir: str | None) -> None:
    """Remember the samples that failed for good.

    Args:
        records: finished samples.
        run_dir: where they are recorded, if they are.
    """
    failed = [record for record in records if record.failed is not None]
    if not failed:
        return
    names = [f"{r.id.task}/{r.id.doc}/{r.id.repeat}" for r in failed[:MOST_NAMED]]
    others = len(failed) - len(names)
    again = "; the same command with retry_failed=true tries them again" if run_dir else ""
    _lines.append(
        f"{len(failed)} of {len(records)} samples failed for good, count as wrong and are counted "
        f"apart: {', '.join(names)}{f' and {others} more' if others else ''}{again}"
    )


def add_unjudged(task: str, takeover: TakeoverStatistics, most: float) -> None:
    """Warn of turns that were not judged, and remember if they are too many.

    Args:
        task: the task of these turns.
        takeover: the task's takeover statistics.
        most: the largest accepted share (setting `max_unjudged`).
    """
    words = unjudged_in_words(takeover.counted_apart, takeover.decided_turns)
    if not words:
        return
    log.warning("%s: %s", task, words)
    if takeover.unjudged_rate > most:
        _lines.append(f"{task}: {words}; that is more than max_unjudged={most:g}")


def broke() -> None:
    """Note an error that ends the process and has its own exit status."""
    _lines.clear()


def _end() -> None:
    if not _lines:
        return
    for line in _lines:
        print(f"lm_eval: {plain(line)} (exit status {SAMPLES_FAILED})", file=sys.stderr)
    logging.shutdown()  # what was registered before us is not called any more
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # whoever read it is gone
            stream.flush()
    os._exit(SAMPLES_FAILED)
