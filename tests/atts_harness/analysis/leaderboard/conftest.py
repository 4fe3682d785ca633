"""Runs with known answers: journals by the core's own classes, results as lm-eval writes them."""

import asyncio
import io
import json
import zlib

import msgspec
import pytest
from rich.console import Console

from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.outputs.terminal import render
from atts_harness.analysis.leaderboard.sources import Options
from atts_harness.backend import GenerateReply, ScoreReply, Usage
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.plan import Planned
from atts_harness.journal.provenance import model_identity
from atts_harness.ledger.statistics import TakeoverCount
from atts_harness.records import (
    CallKey,
    CallRecord,
    CallTotals,
    DecisionRecord,
    RunRecord,
    SampleId,
    SampleRecord,
)

DATE = "2026-01-02T03-04-05.000000"
SAMPLING = {"temperature": 0.8, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
CONCURRENCY = {"draft_concurrency": 64, "score_concurrency": 32, "takeover_concurrency": 32}
CONCURRENCY |= {"target_concurrency": 0, "engine_concurrency": 0, "live_samples": 0}
ROLES = {
    "esc": ("target",),
    "draft-only": ("draft",),
    "target-only": ("target",),
}


def by_luck(chance):
    """Right with a chance that differs from question to question; the same for the same chance."""

    def right(doc, repeat):
        draw = zlib.crc32(f"{doc} {repeat}".encode()) / 2**32
        return draw < min(1.0, chance * (0.5 + (doc % 5) / 4))

    return right


LUCK = by_luck(0.5)


def document(doc, task="t", wording="What is"):
    return {"prompt": f"{wording} {doc}?", "answer": str(doc)}


def call(sample, role, kind, turn, started, *, prompt, cached=0, written=0, scored=0):
    usage = Usage(
        prompt_tokens=prompt, cached_tokens=cached, completion_tokens=written, scored_tokens=scored
    )
    reply = (
        ScoreReply(logprobs=(-1.0,) * scored, usage=usage)
        if kind == "score"
        else GenerateReply(ids=(1,) * written, ending="stop", usage=usage)
    )
    return CallRecord(
        key=CallKey(sample, kind, role, turn),
        request_hash="x",
        reply=reply,
        queued=started,
        sent=started + 0.1,
        done=started + 1.0,
    )


def calls_of(sample, strategy, started):
    """A draft, its score and a takeover of every second sample; or one call of one model."""
    if strategy in ("target-only", "esc"):
        return [call(sample, "target", "takeover", 0, started, prompt=10, written=40)]
    made = [call(sample, "draft", "draft", 0, started, prompt=10, written=20)]
    if strategy == "draft-only":
        return made
    if strategy != "random-takeover":
        made.append(call(sample, "target", "score", 0, started, prompt=30, cached=10, scored=20))
    if sample.repeat % 2:
        made.append(call(sample, "target", "takeover", 0, started, prompt=30, cached=30, written=5))
    return made


def sample_of(id_, strategy, started, long, calls, reason="p-value", **changed):
    totals = {}
    for made in calls:
        totals.setdefault(f"{made.key.role}/{made.key.kind}", CallTotals()).add(made)
    decisions = []
    if strategy not in ROLES:
        decisions = [
            DecisionRecord(
                sample=id_,
                turn=0,
                takeover=bool(id_.repeat % 2) or reason != "p-value",
                reason=reason,
            )
        ]
    values = {
        "id": id_,
        "strategy": strategy,
        "text": f"so \\boxed{{{id_.doc}}}",
        "finish": "answer",
        "decisions": decisions,
        "calls": totals,
        "kept_tokens": {"draft": 20},
        "turns": 1,
        "started": started,
        "ended": started + long,
    }
    return SampleRecord(**(values | changed))


def record_of(strategy, folder, *, task, options, seed, budget, temperature, prices, models):
    roles = {
        role: {"engine": "mock", "version": "1", "model": models.get(role, role)}
        for role in ROLES.get(strategy, ("draft", "target"))
    }
    drawn = SAMPLING | {"temperature": temperature}
    return RunRecord(
        harness="0.1.0",
        strategy=strategy,
        options=options,
        settings={
            "run_dir": str(folder),
            "seed": seed,
            "extractor": "boxed",
            **CONCURRENCY,
            **prices,
        },
        roles=roles,
        tasks={
            task: {
                "max_tokens": budget,
                "until": [],
                "sampling": {"draft": drawn, "target": drawn},
                "options": options,
            }
        },
    )


def results_of(record, task, problems, repeats, *, version=1.0, wording="{{prompt}}"):
    return {
        "results": {task: {"alias": task, "pass@1,all": 0.5, "pass@1_interval,all": [0.2, 0.8]}},
        "configs": {
            task: {
                "task": task,
                "doc_to_text": wording,
                "num_fewshot": 0,
                "generation_kwargs": {"until": [], "max_gen_toks": 100},
                "repeats": repeats,
                "metadata": {"version": version},
            }
        },
        "versions": {task: version},
        "n-samples": {task: {"original": 500, "effective": problems}},
        "config": {"model": record.strategy, "model_args": {}, "atts": msgspec.to_builtins(record)},
        "chat_template": None,
    }


def log_line(doc, grades, texts, asked):
    right = sum(grade["right"] for grade in grades)
    return {
        "doc_id": doc,
        "doc": asked,
        "target": asked["answer"],
        "arguments": {"gen_args_0": {"arg_0": asked["prompt"], "arg_1": {}}},
        "resps": [texts],
        "graded": grades,
        "pass@1": right / len(grades),
        f"maj@{len(grades)}": float(right * 2 > len(grades)),
        f"maj@{len(grades)}_interval": float(right * 2 > len(grades)),
    }


def grade(doc, right, **changed):
    answer = str(doc) if right else "wrong"
    values = {"right": right, "answer": answer, "answers": {"boxed": answer}, "error": None}
    return values | {"truncated": False, "failed": ""} | changed


def add_statistics(results, samples, task):
    """What our lm-eval model adds, for results that stand without their run."""
    totals = {}
    for sample in samples:
        for name, own in sample.calls.items():
            totals.setdefault(name, CallTotals()).merge(own)
    count = TakeoverCount()
    for decision in (d for sample in samples for d in sample.decisions):
        count.add(decision)
    nominal = 0.5 if count.statistics().judged_turns else None
    results["config"]["atts"]["statistics"] = {
        task: {
            "samples": len(samples),
            "turns_per_sample": 1.0,
            "takeover": msgspec.to_builtins(count.statistics(nominal)),
            "tokens_per_sample": {"kept": 20.0},
            "calls": {name: msgspec.to_builtins(own) for name, own in totals.items()},
            "seconds": max(s.ended for s in samples) - min(s.started for s in samples),
        }
    }


@pytest.fixture
def make_run(tmp_path):
    """Makes a run of a strategy, and returns its folder.

    A run directory, lm-eval's results and a sample log; each can be left out.
    """

    def make(
        strategy,
        right=LUCK,
        *,
        name=None,
        task="t",
        problems=6,
        repeats=4,
        options=None,
        seed=1234,
        budget=100,
        temperature=0.8,
        long=2.0,
        version=1.0,
        wording="{{prompt}}",
        asked=document,
        journal=True,
        results=True,
        log=True,
        missing=(),
        calls=True,
        prices=None,
        models=None,
        identify=False,
        routes=None,
        grades=None,
        metrics=(),
        statistics=True,
        reason=lambda doc, repeat: "p-value",
        ends=None,
        votes=None,
    ):
        """`ends`: how samples of a vote end, by doc and repeat; `votes`: a question's figure."""
        folder = tmp_path / "runs" / (name or strategy)
        ids = [SampleId(task, d, r) for d in range(problems) for r in range(repeats)]
        options = options if options is not None else {} if strategy in ROLES else {"rate": 0.5}
        record = record_of(
            strategy,
            folder,
            task=task,
            options=options,
            seed=seed,
            budget=budget,
            temperature=temperature,
            prices=prices or {},
            models=models or {},
        )
        for role, route in (routes or {}).items():
            record.roles[role]["server"] = {"score_route": route}
        if identify:
            record.tasks[task]["provenance"] = {
                role: model_identity(told["model"]) for role, told in record.roles.items()
            }
        made = {id_: calls_of(id_, strategy, 0.5 * n) for n, id_ in enumerate(ids)}
        how = {} if ends is None else {id_: ends(id_.doc, id_.repeat) for id_ in ids}
        made |= {id_: [] for id_, finish in how.items() if finish == "not-drawn"}
        cast = {
            id_: {"finish": finish, "weight": float(finish == "answer")}
            for id_, finish in how.items()
        }
        samples = [
            sample_of(
                id_,
                strategy,
                0.5 * n,
                long,
                made[id_],
                reason(id_.doc, id_.repeat),
                **cast.get(id_, {}),
            )
            for n, id_ in enumerate(ids)
            if (id_.doc, id_.repeat) not in missing
        ]
        folder.mkdir(parents=True)
        if journal:
            write_journal(folder, record, ids, samples, made if calls else {}, metrics)
        if results:
            told = results_of(record, task, problems, repeats, version=version, wording=wording)
            if statistics:
                add_statistics(told, samples, task)
            (folder / f"results_{DATE}.json").write_text(json.dumps(told))
        if log:
            lines = []
            for doc in range(problems):
                own = [grade(doc, right(doc, r), **(grades or {})) for r in range(repeats)]
                for r, one in enumerate(own if how else ()):
                    finish = how[SampleId(task, doc, r)]
                    one["weight"] = float(finish == "answer")
                    one["absent"] = "" if finish == "answer" else finish
                texts = [f"so \\boxed{{{g['answer']}}}" for g in own]
                voted = {} if votes is None else {"vote": votes(doc)}
                line = log_line(doc, own, texts, asked(doc)) | voted
                kept = {k: v for k, v in line.items() if not (voted and k.startswith("maj@"))}
                lines.append(json.dumps(kept))
            (folder / f"samples_{task}_{DATE}.jsonl").write_text("\n".join(lines) + "\n")
        return folder

    return make


def write_journal(folder, record, ids, samples, calls, metrics):
    directory = RunDirectory(folder)
    journal = directory.journal(record, {id_: Planned(f"prompt {id_.doc}") for id_ in ids})

    async def write():
        # All at once: commits are grouped.
        made = [one for sample in samples for one in calls.get(sample.id, ())]
        await asyncio.gather(*map(journal.record_call, made))
        await asyncio.gather(*map(journal.record_sample, samples))
        for at, engine, figures in metrics:
            journal.record_metrics(at, engine, figures)

    asyncio.run(write())
    journal.close()
    directory.close()


STRATEGIES = ("draft-only", "target-only", "random-takeover", "atts", "synchronous")

CHANCES = {"draft-only": 0.3, "target-only": 0.8, "random-takeover": 0.4, "atts": 0.7}


def right_of(chance):
    return lambda doc, repeat: (doc * 7 + repeat * 3) % 10 < chance * 10


@pytest.fixture
def five(make_run):
    """The five rows that every comparison should have."""
    folders = {
        name: make_run(name, right_of(CHANCES.get(name, 0.5)), long=2.0 + n, problems=10)
        for n, name in enumerate(STRATEGIES)
    }
    return folders["atts"].parent


def by_strategy(leaderboard):
    return {row.strategy: row for row in leaderboard.rows if not row.oracle}


def shown(leaderboard, width=120):
    console = Console(width=width, file=io.StringIO())
    console.print(render(leaderboard))
    return console.file.getvalue()


def always(doc, repeat):
    return True


def board(*folders, **options):
    return report(folders, Options(**options)).leaderboard


def rows_of(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def rewrite(log, rows):
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))


def edit(folder, change):
    """Change what stands in a folder's results file."""
    file = next(folder.glob("results_*.json"))
    results = json.loads(file.read_text())
    change(results)
    file.write_text(json.dumps(results))
