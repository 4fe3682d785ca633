"""Notes on a run's calibration that a reader of its rates needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from atts_harness.analysis.audit.turns import AuditedTurn
from atts_harness.records import RunRecord


def caveats_of(record: RunRecord, task: str, turns: Iterable[AuditedTurn]) -> tuple[str, ...]:
    """Notes on the rates of one task of a run.

    Args:
        record: the run's.
        task: which task.
        turns: its decided turns.
    """
    options = record.tasks.get(task, {}).get("options") or record.options
    return tuple(_notes(options, [turn for turn in turns if turn.sample.task == task]))


def _notes(options: Mapping[str, Any], turns: list[AuditedTurn]) -> Iterator[str]:
    source = options.get("calibration")
    if source == "auto":
        source = "file" if options.get("bank") else "online"
    if source == "online":
        yield (
            "the bank was filled as turns came (calibration=online): p-values are exact for turns "
            "that come in exchangeable order. Short answers come first and repeats of a question "
            "together, so the realised rate is what counts, and uniformity shows by how much the "
            "order mattered"
        )
    if not options.get("budget") or source != "presample":
        return
    budget, _, drafts = str(options["budget"]).partition("/")
    first: dict[int, list[AuditedTurn]] = defaultdict(list)
    for turn in turns:
        if turn.turn == 0 and turn.p_value is not None:
            first[turn.sample.doc].append(turn)
    whole = [group for group in first.values() if len(group) == int(drafts)]
    off = [group for group in whole if sum(turn.takeover for turn in group) != int(budget)]
    tied = [group for group in off if len({turn.score for turn in group}) < len(group)]
    if "conditional" in str(options.get("coverage", "")):
        ties = options.get("ties", "conservative")
        yield (
            f"budget={options['budget']}: {len(whole) - len(off)} of {len(whole)} questions with "
            f"{drafts} scored first drafts gave exactly {budget} of them; {len(off)} did not, "
            f"{len(tied)} of these with tied scores (ties={ties})"
        )
