"""A run directory as the page shows it: its samples, and one of them turn by turn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from atts_harness.backend import ScoreReply
from atts_harness.errors import RunDirError
from atts_harness.journal.reader import RecordedRun, open_run
from atts_harness.journal.schema import JOURNAL
from atts_harness.records import CallRecord, SampleFigures, SampleId
from atts_serve.reply import decided, finite, tokens, turns


def runs_in(folder: Path) -> list[str]:
    """The runs of a folder: itself, as an empty name, or those in it, the last written first.

    Raises:
        RunDirError: there are none.
    """
    if (folder / JOURNAL).is_file():
        return [""]
    try:
        journals = sorted(folder.glob(f"*/{JOURNAL}"), key=_written, reverse=True)
    except OSError as error:
        raise RunDirError(f"{folder}: cannot be read: {error}") from error
    if not journals:
        raise RunDirError(f"{folder}: no run here or in a folder of it")
    return [path.parent.name for path in journals]


def samples(folder: Path) -> dict[str, Any]:
    """Every sample of a run by its figures, those without a result included.

    Raises:
        RunDirError: the run cannot be read.
    """
    with open_run(folder) as run:
        lines = [_line(figures) for figures in run.sample_figures()]
        missing = run.missing()
        lines += [{**_name(id_), "finish": None, "takeovers": 0, "judged": 0} for id_ in missing]
        sessions = run.sessions()
        going = bool(sessions) and sessions[-1].state == "running"
        models = [
            f"{role} {Path(str(facts.get('model', ''))).name}"
            for role, facts in sorted(run.record.roles.items())
        ]
        about = f"{run.record.strategy} · {' · '.join(models)} · {len(lines)} samples"
        if missing:
            about += f", {len(missing)} not finished"
    return {"samples": lines, "going": going, "about": about}


def sample(folder: Path, id_: SampleId) -> dict[str, Any] | None:
    """One sample turn by turn; None if the run does not have it.

    Of one that is not finished there are calls and decisions; its texts come when it is.

    Raises:
        RunDirError: the run cannot be read.
    """
    with open_run(folder) as run:
        record = run.sample(id_)
        calls = list(run.calls(id_))
        if record is None and not calls and id_ not in run.planned():
            return None
        head = (
            {"strategy": run.record.strategy, "finish": None, "seconds": None, "tokens": {}}
            if record is None
            else {
                "strategy": record.strategy,
                "finish": record.finish,
                "seconds": record.ended - record.started,
                "tokens": tokens(record),
            }
        )
        sample_turns = _unfinished(run, id_, calls) if record is None else turns(record)
    by_turn = {turn["turn"]: turn for turn in sample_turns}
    for call in calls:
        turn = by_turn.get(call.key.turn)
        if turn is not None:
            turn.setdefault("calls", []).append({"seconds": call.done - call.sent})
    return {**head, "turns": sample_turns}


def _unfinished(
    run: RecordedRun, id_: SampleId, calls: Iterable[CallRecord]
) -> list[dict[str, Any]]:
    by_number: dict[int, dict[str, Any]] = {}
    for call in calls:
        turn = by_number.setdefault(call.key.turn, {"turn": call.key.turn, "segments": []})
        if isinstance(call.reply, ScoreReply):
            logprobs = call.reply.logprobs
            turn["score"] = finite(-math.fsum(logprobs) / len(logprobs)) if logprobs else None
        elif call.usage is not None:
            segment = {"author": call.key.role, "kind": call.key.kind, "text": "", "kept": True}
            turn["segments"].append({**segment, "tokens": call.usage.completion_tokens})
    for decision in run.decisions(id_.task, id_):
        turn = by_number.setdefault(decision.turn, {"turn": decision.turn, "segments": []})
        verdict = decided(decision)
        turn |= {name: value for name, value in verdict.items() if turn.get(name) is None}
    return [by_number[number] for number in sorted(by_number)]


def _line(figures: SampleFigures) -> dict[str, Any]:
    takeovers = Counter(decision.takeover for decision in figures.decisions)
    computed = [
        totals.computed_tokens
        for name, totals in figures.calls.items()
        if name.startswith("target/")
    ]
    return {
        **_name(figures.id),
        "finish": figures.finish,
        "turns": figures.turns,
        "takeovers": takeovers[True],
        "judged": takeovers.total(),
        "draft": figures.kept_tokens.get("draft", 0),
        "target": figures.kept_tokens.get("target", 0),
        "computed": sum(computed),
        "seconds": figures.ended - figures.started,
    }


def _written(journal: Path) -> float:
    """When a journal was last written; new rows stand in its write-ahead log first."""
    log = journal.with_name(journal.name + "-wal")
    return max(path.stat().st_mtime for path in (journal, log) if path.exists())


def _name(id_: SampleId) -> dict[str, Any]:
    return {"task": id_.task, "doc": id_.doc, "repeat": id_.repeat}
