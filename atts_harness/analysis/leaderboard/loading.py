"""From what was found to rows that know nothing of each other yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.analysis.leaderboard import conditions, costs, flops
from atts_harness.analysis.leaderboard.rows import (
    Conditions,
    Flops,
    Interval,
    Pair,
    Refusal,
    Row,
    Source,
)
from atts_harness.analysis.leaderboard.scores import counts, maj_at, pass_at
from atts_harness.errors import AttsError, SettingError
from atts_harness.identity import score_routes
from atts_harness.journal.provenance import model_identity
from atts_harness.journal.reader import RecordedRun, open_run
from atts_harness.ledger.prices import Price, parse_price
from atts_harness.results import graded
from atts_harness.results.entries import Entry
from atts_harness.results.found import Found, Results
from atts_harness.results.saved import Documents


@dataclass(frozen=True)
class Options:
    """What a report is made with.

    Attributes:
        level: nominal coverage of intervals.
        force: put rows together that differ, and read runs that are not finished.
        prices: by role; a run's own count where there are none.
        parameters: by role, in place of what weight files say.
        documents: a task's documents, for run directories without sample logs.
    """

    level: float = 0.95
    force: bool = False
    prices: Mapping[str, Price] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
    documents: Documents | None = None


@dataclass(frozen=True)
class Loaded:
    """A row, and the samples behind it; `entry` is None where nobody logged them."""

    row: Row
    entry: Entry | None


def load(found: Iterable[Found], options: Options) -> tuple[list[Loaded], list[Refusal]]:
    """Rows of everything that was found, a task at a time; and what could not be used, and why."""
    loaded: list[Loaded] = []
    refused: list[Refusal] = []
    for one in found:
        with ExitStack() as stack:
            try:
                run = None if one.run_dir is None else stack.enter_context(open_run(one.run_dir))
                if run is not None and not options.force:
                    run.require_complete()
                tasks = _tasks(one, run)
            except AttsError as error:
                refused.append(Refusal(path=str(one.path), reason=_bare(error, one.path)))
                continue
            for task in tasks:
                try:
                    loaded.append(_row(one, run, task, options))
                except AttsError as error:
                    reason = f"{task}: {_bare(error, one.path)}"
                    refused.append(Refusal(path=str(one.path), reason=reason))
    return loaded, refused


def _tasks(one: Found, run: RecordedRun | None) -> list[str]:
    names = [task for results in one.results for task in results.tasks]
    if run is not None:
        planned = [sample.task for sample in run.planned()]
        if not planned:
            raise SettingError(f"{one.path}: the run has no samples")
        # `TASK#1` are further questions of one document; lm-eval's results have them under TASK.
        names += [task for task in planned if task.partition("#")[0] not in names]
    return list(dict.fromkeys(names))


def _row(one: Found, run: RecordedRun | None, task: str, options: Options) -> Loaded:
    results = next((r for r in reversed(one.results) if task in r.tasks), None)
    record = _record(run, results)
    notes: list[str] = []
    older = sum(task in r.tasks for r in one.results) - 1
    if older > 0:
        notes.append(f"{older} older results of the same run left out")
    entry = _entry(one, run, results, task, options, notes)
    missing = 0
    if run is not None:
        asked = [sample for sample in run.planned() if sample.task == task]
        lost = [sample for sample in run.missing() if sample.task == task]
        missing = len(lost)
        if missing:
            if entry is not None:
                graded.add_missing(entry, lost)
            notes.append(
                f"not finished: {missing} of {len(asked)} samples are missing and count as wrong"
            )
        if len(run.sessions()) > 1:
            notes.append(f"resumed {len(run.sessions()) - 1} times: seconds are of all sessions")
        notes += _caches(run.path)
    cost = _costs(run, results, record, task)
    notes += _score_routes(record, cost)
    if cost.speed.shared_with:
        notes.append(
            f"ran together with {', '.join(cost.speed.shared_with)}: seconds are of engines that "
            "were shared"
        )
    told = _conditions(results, record, task, entry)
    own = record.get("tasks", {}).get(task, {}).get("options") or record.get("options") or {}
    planned = [] if run is None else [(sample.task, sample.doc) for sample in run.planned()]
    scores = _scores(entry, results, planned, task, options.level, notes)
    prices = options.prices or _recorded_prices(record)
    where = run.path if run is not None else one.path
    estimated = _flops(cost, record, task, options, notes)
    row = Row(
        id="",
        label="",
        strategy=record.get("strategy") or _foreign_name(results),
        pair=_pair(record, results),
        task=task,
        conditions=told,
        options=dict(own),
        **scores,
        missing=missing,
        turns=cost.turns,
        takeover=cost.takeover,
        tokens=cost.tokens(),
        calls=cost.calls(),
        speed=cost.speed,
        calibration=costs.calibration_of(own, task, where),
        flops=estimated,
        peak_kv=cost.peak_kv,
        dollars=cost.dollars(prices),
        source=_source(run, results, record, task),
        notes=tuple(notes),
    )
    if row.samples == 0:
        raise SettingError("zero samples: nothing was generated for this task")
    kept = None if entry is None else replace(entry, run_dir=None if run is None else run.path)
    return Loaded(row, kept)


CELL = "cell.json"
"""What a comparison leaves beside a run about the cell that it was."""


class _Cell(msgspec.Struct):
    caches: dict[str, str] = msgspec.field(default_factory=dict)


def _caches(folder: Path) -> list[str]:
    """What is to be said of prefix caches that an earlier run had filled; empty if nothing is."""
    path = folder / CELL
    if not path.is_file():
        return []
    try:
        told = msgspec.json.decode(path.read_bytes(), type=_Cell).caches
    except (OSError, msgspec.DecodeError) as error:
        return [f"{CELL} cannot be read: {error}"]
    return [
        f"prefix cache of the {role} {how}"
        for role, how in told.items()
        if how.startswith("not cleared")
    ]


def _score_routes(record: Mapping[str, Any], cost: costs.Costs) -> list[str]:
    """By which way of an engine scores came, where it has several: it decides what they compute."""
    routes = score_routes(record.get("roles", {}))
    return [
        f"{role}: scores by {route}"
        for role, route in routes.items()
        if f"{role}/score" in cost.totals
    ]


def _record(run: RecordedRun | None, results: Results | None) -> dict[str, Any]:
    """The run record, by the directory where there is one; `statistics` by the results."""
    record: dict[str, Any] = dict(results.run) if results is not None else {}
    if run is not None:
        record |= msgspec.to_builtins(run.record)
    return record


def _entry(
    one: Found,
    run: RecordedRun | None,
    results: Results | None,
    task: str,
    options: Options,
    notes: list[str],
) -> Entry | None:
    log = results.logs.get(task) if results is not None else None
    said: list[str]
    if results is not None and log is not None:
        entry, said = graded.from_log(log, task)
        entry = replace(entry, results=dict(results.data))
    elif run is not None and options.documents is not None:
        try:
            entry, said = graded.from_run(run, task, options.documents)
        except SettingError as error:
            notes.append(f"not graded: {_bare(error, one.path)}")
            return None
    else:
        notes.append("no sample log (--log_samples): not compared with other rows")
        return None
    notes += said
    return entry


def _costs(
    run: RecordedRun | None, results: Results | None, record: Mapping[str, Any], task: str
) -> costs.Costs:
    if run is None:
        return costs.of_statistics(record, task) if record else costs.Costs()
    found = costs.of_run(run, task)
    told = (record.get("statistics") or {}).get(task, {}).get("takeover", {}).get("nominal_rate")
    if found.takeover is not None and found.takeover.nominal is None and told is not None:
        # An option's default may stand for a rate that the recorded options do not spell out.
        nominal = msgspec.structs.replace(found.takeover, nominal=told)
        found = replace(found, takeover=nominal)
    return found


def _conditions(
    results: Results | None, record: Mapping[str, Any], task: str, entry: Entry | None
) -> Conditions:
    if results is not None:
        return conditions.of_results(results.data, task, record, entry)
    return conditions.of_record(record, task, documents=conditions.documents_of(entry))


def _scores(
    entry: Entry | None,
    results: Results | None,
    planned: Sequence[tuple[str, int]],
    task: str,
    level: float,
    notes: list[str],
) -> dict[str, Any]:
    """Fields of a row that count right answers.

    Args:
        entry: its samples, if there is a log.
        results: lm-eval's, if there are any.
        planned: of a run directory, task and document of every sample.
        task: which task.
        level: of the intervals.
        notes: what a reader has to know is added here.
    """
    if entry is not None:
        if len(entry.questions) == 1:
            notes.append("one problem: no interval")
        found = counts(entry)
        return {**found, "pass_at": pass_at(entry, level), "maj_at": maj_at(entry, level)}
    metrics: Mapping[str, Any] = {}
    if results is not None:
        metrics = results.data["results"][task]
        effective = results.data.get("n-samples", {}).get(task, {}).get("effective", 0)
        problems = int(effective)
        repeats = int(results.data["configs"][task].get("repeats") or 1)
    else:
        docs = Counter(doc for name, doc in planned if name == task)
        problems, repeats = len(docs), min(docs.values(), default=0)
    told: dict[str, Interval] = {}
    value = metrics.get("pass@1,all")
    if isinstance(value, int | float):
        ends = metrics.get("pass@1_interval,all")
        low, high = ends if isinstance(ends, list) and problems > 1 else (None, None)
        told["1"] = Interval(
            value=value, low=low, high=high, items=problems * repeats, clusters=problems
        )
    else:
        notes.append("no graded samples and no pass@1 in the results: accuracy is not known")
    return {
        "problems": problems,
        "repeats": repeats,
        "samples": problems * repeats,
        "pass_at": told,
    }


def _flops(
    cost: costs.Costs, record: Mapping[str, Any], task: str, options: Options, notes: list[str]
) -> Flops | None:
    roles = [role for role in cost.roles if role in ("draft", "target")]
    ran = record.get("tasks", {}).get(task, {}).get("provenance") or {}
    sizes = {}
    for role in roles:
        model = record.get("roles", {}).get(role, {}).get("model")
        given = options.parameters.get(role)
        if model and ran.get(role) and model_identity(str(model)) != ran[role]:
            # What lies there now is another model, or nothing: its size says nothing of the run.
            model = None
            if given is None:
                notes.append(
                    f"the {role} that ran is no longer at its place: --parameters {role}=N"
                )
        size = flops.size_of(model, given)
        if size is not None:
            sizes[role] = size
    computed = {role: float(cost.computed(role)) for role in roles}
    return flops.estimate(computed, cost.samples, sizes, cost.pairs)


def _pair(record: Mapping[str, Any], results: Results | None) -> Pair:
    roles = record.get("roles", {})
    if not record and results is not None:
        model = _foreign_model(results)
        return Pair(name=model, target=model, target_engine=results.data["config"].get("model"))
    names = {role: _short(told.get("model")) for role, told in roles.items()}
    engines = {
        role: " ".join(str(told[key]) for key in ("engine", "version") if told.get(key)) or None
        for role, told in roles.items()
    }
    shown = [name or "?" for role in ("draft", "target") if (name := names.get(role)) is not None]
    return Pair(
        name=" + ".join(shown),
        draft=names.get("draft"),
        target=names.get("target"),
        draft_engine=engines.get("draft"),
        target_engine=engines.get("target"),
    )


def _short(model: Any) -> str | None:
    if model is None:
        return None
    text = str(model)
    return Path(text).name if Path(text).is_absolute() or text.startswith(".") else text


def _foreign_model(results: Results) -> str:
    args = results.data["config"].get("model_args") or {}
    named = args.get("pretrained") or args.get("model") if isinstance(args, dict) else None
    return _short(named or results.data.get("model_name")) or "unknown model"


def _foreign_name(results: Results | None) -> str:
    return "" if results is None else str(results.data["config"].get("model") or "unknown")


def _recorded_prices(record: Mapping[str, Any]) -> dict[str, Price]:
    settings = record.get("settings", {})
    return {
        role: parse_price(f"{role}_price", settings[f"{role}_price"])
        for role in ("draft", "target", "extractor")
        if settings.get(f"{role}_price")
    }


def _source(
    run: RecordedRun | None, results: Results | None, record: Mapping[str, Any], task: str
) -> Source:
    log = results.logs.get(task) if results is not None else None
    return Source(
        kind="results" if run is None else "run",
        run_dir=None if run is None else str(run.path),
        results=None if results is None else str(results.path),
        samples=None if log is None else str(log),
        started_at=record.get("started_at"),
        harness=record.get("harness"),
        seed=record.get("settings", {}).get("seed"),
    )


def _bare(error: AttsError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def tasks_of(loaded: Sequence[Loaded]) -> list[str]:
    """Tasks, in order of appearance."""
    return list(dict.fromkeys(one.row.task for one in loaded))
