"""How much memory `atts report` takes, against another commit.

    python benchmarks/report/memory.py [--questions 100] [--repeats 16] [--turns 15] [--tokens 500]
        [--against 5a0ccb0]

Writes, with the older commit's code, the run directory of a made-up ATTS run with its results and
sample log: every turn a draft, a score with a log-probability a token, and in two of five turns a
takeover. Then each commit's `atts report` reads it in a process of its own, and its peak resident
memory is taken from the system. `--against` needs git, and hatchling to install that commit into a
temporary folder; without it only this checkout is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.backend import GenerateReply, ScoreReply, Usage
from atts_harness.records import (
    CallKey,
    CallRecord,
    CallTotals,
    DecisionRecord,
    RunRecord,
    SampleId,
    SampleRecord,
    SegmentRecord,
)

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TASK = "made-up"
DATE = "2026-01-02T03-04-05.000000"
WORDS = "so the sum of both sides is then taken as x plus y over two which we know from before "
LETTERS = 4
"""Of a token."""
REPORT = """
import importlib.metadata as metadata, sys
sys.path[:0] = {paths!r}
every, here = metadata.distributions, {here!r}
def only_one(**how):  # an installed commit has entry points of its own
    found = list(every(**how))
    own = [d for d in found if d.metadata["Name"] == "atts-harness"]
    fitting = [d for d in own if str(d.locate_file("")).startswith(here)] or own
    return [d for d in found if d not in own or d in fitting]
metadata.distributions = only_one
from atts_harness.cli import main
sys.argv = ["atts", "report", {run!r}, "--out", {out!r}, *{more!r}]
main()
"""


def text_of(tokens: int) -> str:
    """Prose of so many tokens."""
    return (WORDS * (tokens * LETTERS // len(WORDS) + 1))[: tokens * LETTERS]


def call(sample: SampleId, role: str, kind: str, turn: int, tokens: int, at: float) -> CallRecord:
    """A call with its reply, as a journal has it."""
    before = (turn + 1) * tokens
    if kind == "score":
        usage = Usage(prompt_tokens=before, cached_tokens=turn * tokens, scored_tokens=tokens)
        reply: ScoreReply | GenerateReply = ScoreReply(
            logprobs=tuple(-0.001 * n for n in range(tokens)), usage=usage
        )
    else:
        usage = Usage(prompt_tokens=before, cached_tokens=before, completion_tokens=tokens)
        reply = GenerateReply(ids=tuple(range(tokens)), ending="length", usage=usage)
    return CallRecord(
        key=CallKey(sample, kind, role, turn),  # type: ignore[arg-type]
        request_hash=f"{turn}{kind}",
        reply=reply,
        queued=at,
        sent=at + 0.1,
        done=at + 1.0,
    )


def sample_of(id_: SampleId, turns: int, tokens: int) -> tuple[SampleRecord, list[CallRecord]]:
    """A sample and its calls."""
    calls, segments, decisions = [], [], []
    for turn in range(turns):
        at = id_.repeat + 3.0 * turn
        takeover = (id_.doc + id_.repeat + turn) % 5 < 2
        kinds = [("draft", "draft"), ("target", "score")]
        kinds += [("target", "takeover")] if takeover else []
        for author, kind in kinds:
            calls.append(call(id_, author, kind, turn, tokens, at))
            if kind != "score":
                segments.append(
                    SegmentRecord(
                        author=author,
                        text=text_of(tokens),
                        tokens=tokens,
                        turn=turn,
                        kind=kind,
                        ending="length",
                    )
                )
        decisions.append(
            DecisionRecord(
                sample=id_,
                turn=turn,
                takeover=takeover,
                reason="p-value",
                nonconformity=0.5 + 0.01 * turn,
                p_value=0.2 if takeover else 0.7,
                threshold=0.4,
            )
        )
    totals: dict[str, CallTotals] = {}
    for one in calls:
        totals.setdefault(f"{one.key.role}/{one.key.kind}", CallTotals()).add(one)
    answer = f"\\boxed{{{id_.doc if id_.repeat % 2 else 7}}}"
    record = SampleRecord(
        id=id_,
        strategy="atts",
        text="".join(segment.text for segment in segments) + answer,
        finish="answer",
        segments=segments,
        decisions=decisions,
        calls=totals,
        kept_tokens={"draft": turns * tokens},
        turns=turns,
        started=float(id_.repeat),
        ended=id_.repeat + 3.0 * turns,
    )
    return record, calls


def run_directory(folder: Path) -> Any:
    """A run directory to write; an earlier release had it elsewhere."""
    for place in ("atts_harness.journal.directory", "atts_harness.running.directory"):
        try:
            return importlib.import_module(place).RunDirectory(folder)
        except ModuleNotFoundError:
            continue
    raise SystemExit("this commit has no run directory that the benchmark knows")


def planned(prompt: str) -> Any:
    """What a sample is asked for; an earlier release took the prompt's digest alone."""
    try:
        return importlib.import_module("atts_harness.journal.plan").Planned(prompt)
    except ModuleNotFoundError:
        return prompt


def write_run(folder: Path, questions: int, repeats: int, turns: int, tokens: int) -> None:
    """A run directory, and lm-eval's files beside it."""
    ids = [SampleId(TASK, doc, repeat) for doc in range(questions) for repeat in range(repeats)]
    options = {"rate": 0.4}
    drawn = {"temperature": 0.8, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
    record = RunRecord(
        harness="0.1.0",
        strategy="atts",
        options=options,
        settings={"run_dir": str(folder), "seed": 1, "extractor": "boxed"},
        roles={role: {"engine": "mock", "model": role} for role in ("draft", "target")},
        tasks={
            TASK: {
                "max_tokens": turns * tokens,
                "until": [],
                "sampling": {"draft": drawn, "target": drawn},
                "options": options,
            }
        },
    )
    directory = run_directory(folder)
    journal = directory.journal(record, {id_: planned(f"prompt {id_.doc}") for id_ in ids})
    count = 0

    async def write() -> None:
        nonlocal count
        for id_ in ids:
            sample, calls = sample_of(id_, turns, tokens)
            await asyncio.gather(*map(journal.record_call, calls))
            for decision in sample.decisions:
                count += 1
                journal.record_decision(msgspec.structs.replace(decision, sequence=count))
            await journal.record_sample(sample)

    asyncio.run(write())
    journal.close()
    directory.close()
    with (folder / f"samples_{TASK}_{DATE}.jsonl").open("w") as log:
        for doc in range(questions):
            records = [sample_of(SampleId(TASK, doc, r), turns, tokens)[0] for r in range(repeats)]
            answers = [str(doc) if r % 2 else "7" for r in range(repeats)]
            grades = [
                {"right": a == str(doc), "answer": a, "answers": {"boxed": a}, "error": None}
                | {"truncated": False, "failed": ""}
                for a in answers
            ]
            row = {"doc_id": doc, "doc": {"prompt": f"{doc}?", "answer": str(doc)}}
            row |= {"target": str(doc), "resps": [[s.text for s in records]], "graded": grades}
            log.write(json.dumps(row) + "\n")
    results = {
        "results": {TASK: {"alias": TASK, "pass@1,all": 0.5, "graded,all": len(ids)}},
        "configs": {TASK: {"task": TASK, "repeats": repeats, "metadata": {"version": 1.0}}},
        "versions": {TASK: 1.0},
        "n-samples": {TASK: {"original": questions, "effective": questions}},
        "config": {"model": "atts", "model_args": {}, "atts": msgspec.to_builtins(record)},
        "chat_template": None,
    }
    (folder / f"results_{DATE}.json").write_text(json.dumps(results))


def paths_of(checkout: Path) -> list[str]:
    """Where the packages of this checkout, or of an installed one, are."""
    return [str(checkout / part) for part in ("", "plugins", "baselines", "tasks")]


def installed(commit: str, folder: Path) -> Path:
    """A commit, installed into a folder with its entry points."""
    tree = folder / "tree"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "-q", "--detach", str(tree), commit], check=True)
    try:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "--target", str(folder / "packages"), str(tree)], check=True)
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=False)
    return folder / "packages"


def write_by(checkout: Path, run: Path, args: argparse.Namespace) -> None:
    """Write the run with the code of a checkout."""
    sizes = (args.questions, args.repeats, args.turns, args.tokens)
    code = f"import sys; sys.path[:0] = {paths_of(checkout)!r}; sys.path.append({str(HERE)!r}); "
    code += (
        f"from pathlib import Path; import memory; memory.write_run(Path({str(run)!r}), *{sizes})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def peak(checkout: Path, run: Path, out: Path, flags: list[str]) -> float:
    """Most resident memory of a report by the code of a checkout, in MiB."""
    code = REPORT.format(
        here=str(checkout), paths=paths_of(checkout), run=str(run), out=str(out), more=flags
    )
    pid = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(pid.pid, 0)
    if status:
        sys.exit(f"{checkout}: the report failed")
    assert isinstance(usage, resource.struct_rusage)
    return usage.ru_maxrss / 1024


def main() -> None:
    """Make the run, report it by each commit, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=16)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--against", help="another commit, in a worktree that is removed again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        checkouts = {"this checkout": ROOT}
        if args.against:
            checkouts[args.against] = installed(args.against, Path(temporary))
        # By the older of the two: it does not read what the newer one writes.
        write_by(list(checkouts.values())[-1], run, args)
        size = sum(file.stat().st_size for file in run.iterdir()) / 2**20
        print(
            f"{args.questions} questions x {args.repeats} samples of {args.turns} turns x "
            f"{args.tokens} tokens: {size:,.0f} MiB on disk"
        )
        for output, flags in (("tables", ["--no-html"]), ("tables and page", [])):
            peaks = {
                name: peak(checkout, run, Path(temporary) / "out", flags)
                for name, checkout in checkouts.items()
            }
            words = ", ".join(f"{name} {mib:,.0f} MiB" for name, mib in peaks.items())
            first, *others = peaks.values()
            ratio = f": {first / others[0]:.2f} of it" if others else ""
            print(f"{output}: {words}{ratio}")


if __name__ == "__main__":
    main()
