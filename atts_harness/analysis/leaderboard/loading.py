"""Loads the rows of a report. No row is compared with another here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard import conditions, costs, parts
from atts_harness.analysis.leaderboard.complete import complete
from atts_harness.analysis.leaderboard.rows import Interval, RefusedSource, Row
from atts_harness.analysis.leaderboard.samples import RowSamples, graded
from atts_harness.analysis.leaderboard.scores import counts, maj_at, pass_at, vote
from atts_harness.analysis.leaderboard.sources import Options, TaskSource, sources_of
from atts_harness.analysis.leaderboard.spent import Speed
from atts_harness.errors import AttsError, SettingError
from atts_harness.files import decode, read_file
from atts_harness.grading.grade import VOTE
from atts_harness.identity import score_routes
from atts_harness.journal.reader import open_run
from atts_harness.ledger.statistics import unjudged_in_words
from atts_harness.records import RunRecord, SampleId
from atts_harness.results.find import RunSource, without_path
from atts_harness.results.golds import METRIC, Documents
from atts_harness.results.runs import own_documents, task_of


@dataclass(frozen=True)
class LoadedRow:
    """A row, and the samples behind it.

    Attributes:
        row: the row.
        samples: None if they were not logged.
        forced: reasons for which the row is shown only with `--force`, in words.
        times_of: run directory of the row that this one ran again for its times.
    """

    row: Row
    samples: RowSamples | None
    forced: tuple[str, ...] = ()
    times_of: Path | None = None


def load(
    inputs: Iterable[RunSource], options: Options
) -> tuple[list[LoadedRow], list[RefusedSource]]:
    """A row for every task of every input, and the inputs that cannot be used, with the reason."""
    loaded: list[LoadedRow] = []
    refused: list[RefusedSource] = []
    for item in inputs:
        with ExitStack() as stack:
            try:
                run = None if item.run_dir is None else stack.enter_context(open_run(item.run_dir))
                if run is not None and not options.force:
                    run.require_complete()
                sources = list(sources_of(item, run))
            except AttsError as error:
                refused.append(
                    RefusedSource(path=str(item.path), reason=without_path(error, item.path))
                )
                continue
            for source in sources:
                try:
                    loaded.append(_load(source, options))
                except AttsError as error:
                    reason = f"{source.task}: {without_path(error, item.path)}"
                    refused.append(RefusedSource(path=str(item.path), reason=reason))
    return loaded, refused


def tasks_of(loaded: Sequence[LoadedRow]) -> list[str]:
    """Tasks, in order of appearance."""
    return list(dict.fromkeys(entry.row.task for entry in loaded))


def _load(source: TaskSource, options: Options) -> LoadedRow:
    samples = _samples(source, options)
    missing, ids = complete(source, samples, options.force)
    _say(source)
    cost = _costs(source, ids)
    source.notes += _score_routes(source.record, cost)
    if cost.takeover is not None:
        words = unjudged_in_words(cost.takeover.apart, cost.takeover.decided)
        source.notes += [words] if words else []
    if cost.statistics is not None and cost.statistics.vote is not None:
        source.notes.append(
            "a vote: accuracy, tokens, calls and seconds are of a problem, with all samples that "
            "were drawn for it"
        )
    if cost.speed.shared_with:
        source.notes.append(
            f"ran together with {', '.join(cost.speed.shared_with)}: seconds are of engines that "
            "were shared"
        )
    record, saved = source.record, source.task_results
    options_used: Mapping[str, Any] = {}
    if record is not None:
        options_used = record.tasks.get(source.task, {}).get("options") or record.options
    scores = _scores(source, samples, missing, options.level)
    place = source.run.path if source.run is not None else source.path
    row = Row(
        id="",
        label="",
        strategy=record.strategy if record is not None else parts.foreign_name(source.results),
        pair=parts.pair(record, source.results),
        task=source.task,
        conditions=conditions.of_row(saved, record, source.task, samples),
        options=dict(options_used),
        metric=None if saved is None or saved.graded_here else saved.accuracy,
        **scores,
        missing=missing,
        turns=cost.statistics.turns_per_sample if cost.statistics else None,
        takeover=cost.takeover,
        tokens=cost.tokens(),
        calls=cost.calls(),
        speed=_timed(source, cost.speed),
        calibration=costs.calibration_of(options_used, source.task, place),
        flops=parts.flops_of(cost, record, source.task, options.parameters, source.notes),
        accepted=cost.accepted,
        peak_kv=cost.peak_kv,
        dollars=cost.dollars(options.prices or parts.recorded_prices(record)),
        source=parts.source(source.run, source.results, record, source.task),
        notes=tuple(dict.fromkeys(source.notes)),
    )
    if row.samples == 0:
        raise SettingError("zero samples: nothing was generated for this task")
    if samples is not None:
        samples = replace(samples, run_dir=None if source.run is None else source.run.path)
    again = None if source.run is None else _times_of(source.run.path)
    return LoadedRow(row, samples, tuple(source.forced), again)


def _samples(source: TaskSource, options: Options) -> RowSamples | None:
    saved = source.task_results
    documents = options.documents
    if source.run is not None:
        documents = own_documents(source.run.path) or documents
    if saved is not None and saved.samples is not None:
        row_samples, notes = graded(saved.samples, saved)
        row_samples = replace(row_samples, task=source.task)
    elif source.run is not None and documents is not None and _same_size(source):
        dropped = {sample.doc for sample in source.run.dropped() if sample.task == source.task}
        if dropped:
            source.notes.append(
                f"{len(dropped)} problems that an earlier session asked for and the last one did "
                "not are left out"
            )
        try:
            row_samples, notes = _graded_here(source.run.path, source.task, documents, dropped)
        except SettingError as error:
            source.notes.append(f"not graded: {without_path(error, source.path)}")
            return None
    else:
        source.notes.append("no sample log (--log_samples): not compared with other rows")
        return None
    source.notes += notes
    return row_samples


def _same_size(source: TaskSource) -> bool:
    """Whether results without a log, if there are any, are of all questions of the run."""
    saved = source.task_results
    if saved is None or source.run is None:
        return saved is None
    docs = {sample.doc for sample in source.run.planned() if sample.task == source.task}
    return saved.graded_here and len(docs) == saved.problems


def _graded_here(
    path: Path, task: str, documents: Documents, dropped: set[int]
) -> tuple[RowSamples, list[str]]:
    """A run directory without results, graded with its task's documents."""
    golds = documents(task)
    metric = next((doc[METRIC] for doc in golds if METRIC in doc), None)
    if metric is not None:
        raise SettingError(
            f"{task} grades by a metric of its own ({metric}); give lm-eval's results and sample "
            "logs (--output_path, --log_samples)"
        )
    return graded(task_of(path, task, lambda _: golds), leave_out=dropped)


def _say(source: TaskSource) -> None:
    run = source.run
    if run is None:
        return
    if run.record.imported:
        source.notes.append(
            f"imported from {run.record.imported}: tokens, calls and total time were not recorded"
        )
    if len(run.sessions()) > 1:
        source.notes.append(f"resumed {len(run.sessions()) - 1} times: seconds are of all sessions")
    source.notes += _caches(run.path)
    cell = _cell(run.path) or _Cell()
    if cell.warm_up and cell.timing:
        source.notes.append("first on servers that had just started: their warm-up is in its times")
    if cell.machine and cell.timing:
        source.notes.append(f"ran on {cell.machine}: its times are of that machine")


def _timed(source: TaskSource, speed: Speed) -> Speed:
    """The times of a row; none if the plan has `timing: false`, for its cells shared a machine."""
    cell = None if source.run is None else _cell(source.run.path)
    if cell is None or cell.timing:
        return speed
    source.notes.append("`timing: false`: cells ran beside each other, so it has no times")
    return Speed(concurrency=speed.concurrency, shared_with=speed.shared_with)


CELL = "cell.json"
"""The file that a comparison writes beside a run: the status of its cell."""


class _Cell(msgspec.Struct):
    caches: dict[str, str] = msgspec.field(default_factory=dict)
    times_of: str | None = None
    warm_up: bool = False
    timing: bool = True
    machine: str = ""


def _cell(folder: Path) -> _Cell | None:
    """The status of the run's cell; None without a readable file."""
    try:
        return msgspec.json.decode((folder / CELL).read_bytes(), type=_Cell)
    except (OSError, msgspec.DecodeError, RecursionError):
        return None  # `_caches` says so where it is there


def _times_of(folder: Path) -> Path | None:
    """The run directory of the cell that this one ran again."""
    cell = _cell(folder)
    if cell is None or cell.times_of is None:
        return None
    return folder.resolve().with_name(cell.times_of.rpartition("/")[2])


def _caches(folder: Path) -> list[str]:
    """Notes on prefix caches that were not cleared, so that an earlier run may have filled them."""
    path = folder / CELL
    if not path.is_file():
        return []
    try:
        cell: _Cell = decode(read_file(path), _Cell, f"{CELL} cannot be read")
    except SettingError as error:
        return [str(error)]
    return [
        f"prefix cache of the {role} {state}"
        for role, state in cell.caches.items()
        if state.startswith("not cleared")
    ]


def _score_routes(record: RunRecord | None, cost: costs.RowCosts) -> list[str]:
    """Notes on the route by which an engine scored, where it has several."""
    return [
        f"{role}: scores by {route}"
        for role, route in score_routes({} if record is None else record.roles).items()
        if f"{role}/score" in cost.totals
    ]


def _costs(source: TaskSource, ids: set[SampleId] | None) -> costs.RowCosts:
    """Costs of the row's samples and of no others."""
    run, results = source.run, source.results
    if run is None:
        if results is None or results.run is None:
            return costs.RowCosts()
        return costs.of_results(results, source.task)
    statistics = None if source.task_results is None else source.task_results.statistics
    counted = (
        statistics is not None
        and source.task_results is not None
        and source.task_results.log is None
    )
    if counted and statistics is not None and statistics.samples != len(ids or ()):
        assert results is not None
        # Without a log it is unknown which of the run's samples the results are of.
        source.notes.append("costs are of the results alone: the run directory has other samples")
        return costs.of_results(results, source.task)
    cost = costs.of_run(run, source.task, ids)
    nominal = None if statistics is None else statistics.takeover.nominal_rate
    if cost.takeover is not None and cost.takeover.nominal is None and nominal is not None:
        # An option's default may stand for a rate that the recorded options do not spell out.
        cost = replace(cost, takeover=msgspec.structs.replace(cost.takeover, nominal=nominal))
    return cost


def _scores(
    source: TaskSource, samples: RowSamples | None, missing: int, level: float
) -> dict[str, Any]:
    """Fields of a row that count right answers.

    Args:
        source: where the row comes from; notes for the reader are added to it.
        samples: its samples, if there is a log.
        missing: samples that are not there.
        level: of the intervals.
    """
    if samples is not None:
        if len(samples.questions) == 1:
            source.notes.append("one problem: no interval")
        fields = {**counts(samples), "pass_at": pass_at(samples, level)}
        fields["vote"] = vote(samples, level)
        if not fields["pass_at"]:
            source.notes.append(
                "no accuracy: its task grades by a metric of its own that is not a share of right "
                "answers, and has no gold that this grader can read"
            )
        return {**fields, "maj_at": maj_at(samples, level)}
    saved = source.task_results
    voted = saved is not None and saved.graded_here and str(saved.accuracy).startswith(f"{VOTE},")
    if saved is not None:
        problems, repeats = saved.problems, saved.repeats
    else:
        planned = source.run.planned() if source.run is not None else ()
        docs = Counter(s.doc for s in planned if s.task == source.task)
        problems, repeats = len(docs), min(docs.values(), default=0)
    accuracy: Interval | None = None
    value = None if saved is None or saved.accuracy is None else saved.metrics.get(saved.accuracy)
    if value is not None and saved is not None and not missing:
        low, high = saved.interval if saved.interval and problems > 1 else (None, None)
        accuracy = Interval(
            value=value,
            stderr=None if saved.graded_here else saved.stderr,
            low=low,
            high=high,
            items=problems * repeats,
            clusters=problems,
        )
        if not saved.graded_here:
            source.notes.append(f"accuracy is the task's own metric {saved.accuracy}")
    else:
        source.notes.append("no graded samples and no pass@1 in the results: accuracy is not known")
    return {
        "problems": problems,
        "repeats": repeats,
        "samples": problems * repeats,
        **(
            {"pass_at": {} if accuracy is None else {"1": accuracy}}
            if not voted
            else {"vote": accuracy}
        ),
    }
