"""A leaderboard with real run directories behind it: ATTS and its kin on mock engines.

What a model wrote, which answers are right and what rows say of themselves is made up here; turns,
scores, p-values, calls, times and engine figures are those of runs.
"""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from atts_harness import plugins
from atts_harness.analysis.leaderboard.rows import (
    Comparison,
    Interval,
    Leaderboard,
    Pair,
    Row,
    RowSource,
    Table,
    Takeover,
)
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.analysis.leaderboard.spent import CallSums, Flops, Speed
from atts_harness.analysis.statistics import clustered_mean, clustered_ratio, paired_difference
from atts_harness.grading.grade import Grade, Sampled
from atts_harness.journal.reader import open_run
from atts_harness.ledger.recorded import ledger_of
from atts_harness.records import SampleId, SampleRecord
from atts_harness.results.statistics import TokensPerSample
from atts_harness.results.values import AskedQuestion, SavedQuestion, SavedTask
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.testing import mock_plugin
from atts_harness.testing.mock_runs import make_groups

TASK = "mock"
PAIR = Pair(name="d + t", draft="d", target="t")
TURNS = {"turns": 4, "draft_tokens": 8, "target_tokens": 8}


@dataclass(frozen=True)
class Edited(RowSamples):
    """An entry whose records are not quite those of its run directory."""

    edited: tuple[SampleRecord, ...] = field(default=())

    def records(self):
        yield from self.edited


def produce(run_dir: Path, strategy: str = "atts", problems: int = 6, repeats: int = 2, **settings):
    """A run on mock engines."""
    manager = plugins.manager()
    manager.register(mock_plugin)
    given = {"backend": "mock", "draft": "d", "target": "t", "progress": "off"}
    given |= {} if strategy == "target-only" else TURNS
    given |= {"mock_seconds": 0.01, "metrics_interval": 0.01, "draft_concurrency": 4}
    try:
        parsed = parse_settings(given | settings | {"strategy": strategy, "run_dir": str(run_dir)})
        with Harness(parsed) as harness:
            made = harness.strategy({}, {"task": TASK})
            harness.run(make_groups(problems, repeats, made, task=TASK, max_tokens=64))
    finally:
        manager.unregister(mock_plugin)


def entry_of(run_dir: Path) -> RowSamples:
    """The samples of a run, graded by a rule: right if document and repeat add up to even."""
    with open_run(run_dir) as run:
        samples = list(run.samples())
    docs = sorted({sample.id.doc for sample in samples})
    grades = {}
    for sample in samples:
        right = (sample.id.doc + sample.id.repeat) % 2 == 0 or "target" in sample.kept_tokens
        answer = str(2 * sample.id.doc if right else 7)
        other = answer if sample.id.repeat else "3"
        grades[sample.id] = Grade(
            right=right, answer=answer, answers={"boxed": answer, "regex": other}, failed=""
        )
    return RowSamples(
        task=TASK,
        questions={
            d: AskedQuestion(d, f"q{d}", f"Question {d}: what is {d} + {d}?", str(2 * d))
            for d in docs
        },
        grades=grades,
        saved=_saved({sample.id: sample.text for sample in samples}),
        run_dir=run_dir,
    )


def _saved(texts: dict[SampleId, str]) -> SavedTask:
    """The texts as a reader hands them over."""
    questions = [
        SavedQuestion(
            _question(doc), {s.repeat: Sampled(text) for s, text in texts.items() if s.doc == doc}
        )
        for doc in sorted({sample.doc for sample in texts})
    ]
    return SavedTask(TASK, lambda: iter(questions))


def _question(doc: int) -> AskedQuestion:
    return AskedQuestion(doc, f"q{doc}", f"Question {doc}: what is {doc} + {doc}?", str(2 * doc))


def plain_entry(texts: dict[SampleId, str], prompt: str = "What?", gold: str = "1") -> RowSamples:
    """The samples of another lm-eval model: texts and grades, no run directory."""
    return RowSamples(
        task=TASK,
        questions={s.doc: AskedQuestion(s.doc, "q", prompt, gold) for s in texts},
        grades={s: Grade(right=False, answer=gold, answers={"boxed": gold}) for s in texts},
        saved=_saved(texts),
    )


def interval(estimate) -> Interval:
    fields = ("value", "stderr", "low", "high", "items", "clusters")
    return Interval(**{name: getattr(estimate, name) for name in fields})


def row_of(id_: str, entry: RowSamples, strategy: str = "atts", **fields) -> Row:
    """A row with the figures that can be had without much ado."""
    hits = [float(grade.right) for grade in entry.grades.values()]
    docs = [sample.doc for sample in entry.grades]
    given = {
        "id": id_,
        "label": id_.replace("-", " "),
        "strategy": strategy,
        "pair": PAIR,
        "task": TASK,
        "problems": len(set(docs)),
        "repeats": len(hits) // len(set(docs)),
        "samples": len(hits),
        "pass_at": {"1": interval(clustered_mean(hits, docs, bounds=(0, 1)))},
        "source": RowSource(kind="results", results=f"{id_}/results.json"),
    }
    if entry.run_dir is not None:
        given |= _of_run(entry)
    return Row(**(given | fields))


def _of_run(entry: RowSamples) -> dict:
    with open_run(entry.run_dir) as run:
        ledger, samples = ledger_of(run).summary(), list(run.samples())
    count = len(samples)
    names = set(CallSums.__struct_fields__)
    calls = {
        kind: CallSums(
            per_sample=own["calls"] / count, **{k: v for k, v in own.items() if k in names}
        )
        for kind, own in ledger["calls"].items()
    }
    target = [own for kind, own in calls.items() if kind.startswith("target")]
    computed = sum(own.computed_tokens for own in target) / count
    taken = [[float(d.takeover) for d in s.decisions] for s in samples]
    flat = [t for own in taken for t in own]
    docs = [s.id.doc for s, own in zip(samples, taken, strict=True) for _ in own]
    found = {
        "turns": sum(s.turns for s in samples) / count,
        "calls": calls,
        "tokens": TokensPerSample(
            target_computed=computed,
            target_written=sum(own.completion_tokens for own in target) / count,
        ),
        "speed": Speed(
            makespan=ledger["seconds"],
            latency_p50=ledger["sample_latency"]["p50"],
            latency_p95=ledger["sample_latency"]["p99"],
        ),
        "flops": Flops(total=computed * 2e9),
        "source": RowSource(kind="run", run_dir=str(entry.run_dir), seed=1234),
    }
    if flat:
        rate = interval(clustered_ratio(flat, [1.0] * len(flat), docs))
        found["takeover"] = Takeover(nominal=0.3, realised=rate, judged=len(flat))
    return found


def leaderboard_of(rows: list[Row], entries: dict[str, RowSamples], **fields) -> Leaderboard:
    """One table, rows compared with target-only if there is one."""
    comparisons = []
    for row in rows:
        for reference in rows:
            both = row.id in entries and reference.id in entries
            if reference.strategy == "target-only" and row is not reference and both:
                comparisons.append(_compared(row, reference, entries))
    table = Table(
        id=TASK,
        task=TASK,
        title="mock, 6 problems x 2",
        rows=tuple(row.id for row in rows),
        comparisons=tuple(comparisons),
    )
    given = {"harness": "1.0", "created": "2026-01-02T03:04:05", "tables": (table,)}
    return Leaderboard(**(given | {"rows": tuple(rows)} | fields))


def _compared(row: Row, reference: Row, entries: dict[str, RowSamples]) -> Comparison:
    sides = []
    for one in (row, reference):
        grades = entries[one.id].grades
        sides += [[float(g.right) for g in grades.values()], [s.doc for s in grades]]
    difference = interval(paired_difference(*sides))
    return Comparison(
        row=row.id,
        reference=reference.id,
        kind="target-only",
        problems=row.problems,
        samples=row.samples,
        difference=difference,
        simultaneous=difference,
        p=0.5,
        p_adjusted=1.0,
        distinguishable=False,
    )


def rates(folder: Path) -> tuple[Leaderboard, dict[str, RowSamples]]:
    """ATTS at three rates, target-only, and a row of another lm-eval model."""
    rows, entries = [], {}
    for rate in (0.1, 0.3, 0.6):
        name = f"atts-{rate}"
        produce(folder / name, rate=rate)
        entries[name] = entry_of(folder / name)
        point = {"rate": rate}
        rows.append(row_of(name, entries[name], point=point, options=point))
    produce(folder / "target", "target-only")
    entries["target"] = entry_of(folder / "target")
    rows.append(row_of("target", entries["target"], "target-only"))
    texts = {SampleId(TASK, doc, repeat): "It is 1." for doc in range(6) for repeat in range(2)}
    entries["hf"] = plain_entry(texts)
    rows.append(row_of("hf", entries["hf"], "hf", pair=Pair(name="other", target="other")))
    rows.sort(key=lambda row: -row.pass_1.value)
    return leaderboard_of(rows, entries), entries


CROWD = (
    *(("atts", {"rate": r, "on_reject": w}) for r in (0.1, 0.2, 0.4) for w in ("replace", "keep")),
    *(("random-takeover", {"rate": 0.2169}), ("synchronous", {"rate": 0.2})),
    *(("specreason", {"think_close": "keep"}), ("specreason", {"think_close": "strip"})),
    *(("speculative-thinking", {}), ("glimprouter", {"threshold": 0.6}), ("target-only", {})),
    ("adaptive-consistency", {"inner": "speculative-thinking", "max_samples": 16}),
    *(("deepconf", {"inner": "draft-only"}), ("self-consistency", {"inner": "target-only"})),
    *(("draft-only", {}), ("a-strategy-of-others-with-a-long-name", {"mode": "careful-and-slow"})),
)
"""Twelve strategies and one, some at several operating points, with long names."""


def crowd(entries: dict[str, RowSamples]) -> tuple[Leaderboard, dict[str, RowSamples]]:
    """Many rows with the runs of a few: several of their points lie on each other."""
    runs = [entry for entry in entries.values() if entry.run_dir is not None]
    own = {f"{name}-{number}": runs[number % len(runs)] for number, (name, _) in enumerate(CROWD)}
    rows = [
        row_of(id_, entry, strategy, label=id_, point=point, options=point)
        for (id_, entry), (strategy, point) in zip(own.items(), CROWD, strict=True)
    ]
    return leaderboard_of(rows, own), own


def beginning_with(entry: RowSamples, text: str) -> Edited:
    """The entry with a text before the first segment of each sample, in the records of its run."""
    records = [msgspec.convert(msgspec.to_builtins(r), SampleRecord) for r in entry.records()]
    for record in records:
        first = record.segments[0]
        record.segments[0] = msgspec.structs.replace(first, text=text + first.text)
    names = ("task", "questions", "grades", "saved", "run_dir")
    return Edited(**{name: getattr(entry, name) for name in names}, edited=tuple(records))
