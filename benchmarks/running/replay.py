"""The published durations, scheduled as published and by the harness.

    python benchmarks/running/replay.py TRACE.jsonl.gz

TRACE has a line a sample with `question_index`, `repeat`, `duration_s` and `turns`. A sample is a
chain of as many calls as it had turns, its duration split evenly between them (the trace does not
say how), each in a slot. Simulated time; the harness itself does the scheduling.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
from pathlib import Path

from schedules import Step, barrier, bound

from atts_harness.backend import Capabilities, GenerateReply, GenerateRequest, InProcess, Usage
from atts_harness.identity import ModelIdentity
from atts_harness.journal.contract import MemoryJournal
from atts_harness.running.batch import run_groups
from atts_harness.settings import RunOptions
from atts_harness.simulation.clock import run_simulated
from atts_harness.strategy import Context, Outcome, Sample, Strategy, StrategyOptions
from atts_harness.testing.mock_runs import make_groups
from atts_harness.testing.scripted import ByteTokenizer

MILLISECONDS = 1000
Questions = list[list[list[Step]]]


class Timed(InProcess):
    """A backend that takes as many milliseconds as tokens are asked for."""

    tokenizer = ByteTokenizer()
    max_length = 1 << 40
    capabilities = Capabilities()

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity(engine="timed", model="timed")

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        await asyncio.sleep(request.max_tokens / MILLISECONDS)
        usage = Usage(prompt_tokens=len(request.ids), completion_tokens=1)
        return GenerateReply(ids=(65,), ending="length", usage=usage)

    async def aclose(self) -> None:
        """Nothing to close."""


class Replayed(Strategy):
    name = "replayed"
    Options = StrategyOptions

    def __init__(self, chains: Questions) -> None:
        self.chains = chains

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        for turn, step in enumerate(self.chains[sample.id.doc][sample.id.repeat]):
            await ctx.draft.generate(
                sample.transcript,
                kind="draft",
                turn=turn,
                max_tokens=round(step.seconds * MILLISECONDS),
            )
        return ctx.finish(sample.transcript, "turns")


def read(path: Path) -> Questions:
    """Chains by question and repeat."""
    questions: dict[int, dict[int, list[Step]]] = {}
    with gzip.open(path, "rt") as file:
        for line in file:
            row = json.loads(line)
            turns = max(1, len(row["turns"]))
            chain = [Step("slot", row["duration_s"] / turns)] * turns
            questions.setdefault(row["question_index"], {})[row["repeat"]] = chain
    return [[by_repeat[r] for r in sorted(by_repeat)] for _, by_repeat in sorted(questions.items())]


def ours(chains: Questions, slots: int, live: int) -> tuple[float, float]:
    """Makespan of the harness, and the time until half of the samples were done."""
    groups = make_groups(len(chains), len(chains[0]), Replayed(chains))
    backend = Timed()
    options = RunOptions(
        draft_concurrency=slots, live_samples=live, timeout=1e6, metrics_interval=0
    )
    work = run_groups(groups, {"draft": backend}, options, MemoryJournal(keep=False))
    records, seconds = run_simulated(work)
    ends = sorted(record.ended for record in records)
    return seconds, ends[len(ends) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("trace", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    in_order = read(args.trace)
    shuffled = [list(samples) for samples in in_order]
    random.Random(args.seed).shuffle(shuffled)
    for name, chains in (("question order", in_order), ("random order", shuffled)):
        for slots in (16, 64):
            every = [chain for samples in chains for chain in samples]
            room = {"slot": slots}
            best = bound(every, room)
            published = barrier(chains, room)
            for live in (0, slots):
                seconds, half = ours(chains, slots, live)
                print(
                    json.dumps(
                        {
                            "order": name,
                            "slots": slots,
                            "live": live or "all",
                            "per_slot": round(best.per_slot),
                            "longest": round(best.longest),
                            "published": round(published),
                            "ours": round(seconds),
                            "speedup": round(published / seconds, 2),
                            "idle_published": round(1 - best.per_slot / published, 3),
                            "idle_ours": round(1 - best.per_slot / seconds, 3),
                            "half_done_after": round(half),
                        }
                    ),
                    flush=True,
                )


if __name__ == "__main__":
    main()
