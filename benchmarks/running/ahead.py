"""What drafting ahead gains, over HTTP: ATTS with and without it on two mock engines, or real ones.

    python -m benchmarks.running.ahead [--rounds 3] [--engine vllm --servers DRAFT_URL TARGET_URL]

Two servers with the speeds of a small and a large model, slow enough that the client's own time
does not count: 50 ms a token of the draft and 100 ms of the target, and a score that is light or
heavy beside a draft. Plain and ahead take turns. A ratio is of the means over samples and rounds;
`expected` is the closed form's (docs/break-even.md) at the seconds that the plain run's calls took.
Some minutes, nearly all of them waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from atts_harness import plugins
from atts_harness.atts import ATTS, ATTSOptions
from atts_harness.backend import Backend, BackendSpec, Role
from atts_harness.journal.contract import MemoryJournal
from atts_harness.records import CallRecord, SampleRecord
from atts_harness.running.batch import run_groups
from atts_harness.running.observers import Observers
from atts_harness.settings import RunOptions
from atts_harness.strategy import RunInfo
from atts_harness.testing.mock_runs import make_groups
from benchmarks.running.client_cost import connect

TURNS, TOKENS, PROMPT = 6, 24, 240
DECODE: dict[Role, float] = {"draft": 0.05, "target": 0.1}
PREFILL = {"light": 0.001, "heavy": 0.015}
"""Seconds of a token to compute."""
CASES = (("light", 0.0), ("heavy", 0.0), ("heavy", 0.3))
"""Score and takeover rate. Where some turns are taken over, which ones differs between runs."""
REAL_RATES = (0.0, 0.3)
SAMPLES = 6


@dataclass(frozen=True)
class TimedRun:
    """A run: its samples and its calls."""

    records: Sequence[SampleRecord]
    calls: Sequence[CallRecord]

    @property
    def seconds(self) -> float:
        """Of a sample, in the mean."""
        return statistics.fmean(record.ended - record.started for record in self.records)

    @property
    def rate(self) -> float:
        """Realised."""
        decisions = [decision for record in self.records for decision in record.decisions]
        return sum(decision.takeover for decision in decisions) / len(decisions)

    def of(self, kind: str) -> float:
        """Seconds of calls of a kind, in the mean."""
        seconds = [call.done - call.sent for call in self.calls if call.key.kind == kind]
        return statistics.fmean(seconds) if seconds else 0.0

    @property
    def expected(self) -> float:
        """Seconds of a sample ahead by those of a plain one."""
        draft, score = self.of("draft"), self.of("score")
        turn = draft + score + self.rate * self.of("takeover")
        return 1 - (1 - self.rate) * (1 - 1 / TURNS) * min(draft, score) / turn


@contextmanager
def server(role: Role, prefill: float) -> Iterator[str]:
    """A mock engine in a process of its own; its address."""
    command = [
        *(sys.executable, "-m", "atts_harness.testing.mock_server", "--no-log"),
        *("--dialect", "sglang", "--slots", "64", "--length", str(TOKENS)),
        *("--decode", str(DECODE[role]), "--prefill", str(prefill)),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


async def opened(engine: str | None, url: str) -> Backend:
    """A backend of a real engine, or of a mock one where there is no name."""
    if engine is None:
        return await connect("sglang", url)
    kind = plugins.backend(engine)
    return await kind.open(BackendSpec(engine, None, kind.options(url=url)))


async def once(
    urls: dict[Role, str], ahead: bool, rate: float, seed: int, engine: str | None
) -> TimedRun:
    """A run of samples that do not wait for each other."""
    backends = {role: await opened(engine, url) for role, url in urls.items()}
    options = ATTSOptions(
        rate=rate,
        turns=TURNS,
        draft_tokens=TOKENS,
        target_tokens=TOKENS,
        draft_ahead=ahead,
        stop_at_answer=False,
    )
    # Each round asks anew, so that no cache knows its prompts.
    prompt = f"{seed} {{doc}} " + "x" * PROMPT
    tokenizers = {role: backend.tokenizer for role, backend in backends.items()}
    info = RunInfo(seed=seed, tokenizers=tokenizers)
    groups = make_groups(SAMPLES, 1, ATTS(options, info), prompt=prompt)
    calls: list[CallRecord] = []
    records = await run_groups(
        groups,
        backends,
        RunOptions(metrics_interval=0, seed=seed),
        MemoryJournal(keep=False),
        Observers(call=[calls.append]),
    )
    for backend in backends.values():
        await backend.aclose()
    return TimedRun(records, calls)


def compare(
    title: str, urls: dict[Role, str], rate: float, rounds: int, engine: str | None
) -> None:
    """Run plain and ahead in turns, and print a line."""
    runs: dict[bool, list[TimedRun]] = {False: [], True: []}
    for turn in range(2 * rounds):
        # Whatever drifts meets both alike: plain, ahead, ahead, plain, ...
        ahead = turn % 4 in (1, 2)
        runs[ahead].append(asyncio.run(once(urls, ahead, rate, turn, engine)))
    seconds = {how: statistics.fmean(one.seconds for one in each) for how, each in runs.items()}
    plain = TimedRun(
        [record for one in runs[False] for record in one.records],
        [call for one in runs[False] for call in one.calls],
    )
    counts = [record.notes["ahead"] for one in runs[True] for record in one.records]
    gone = sum(one["thrown away"] + one["cancelled"] for one in counts)
    written = gone + sum(one["kept"] for one in counts)
    pairs = zip(runs[True], runs[False], strict=True)
    ratios = " ".join(f"{ahead.seconds / plain.seconds:.2f}" for ahead, plain in pairs)
    print(
        f"{title:6}  {plain.of('draft'):7.3f}  {plain.of('score'):7.3f}  {plain.rate:.2f}   "
        f"{seconds[True] / seconds[False]:13.2f}  {plain.expected:8.2f}   {gone / written:20.0%}   "
        f"{ratios}",
        flush=True,
    )


def main() -> None:
    """Print a line for each weight of the score."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", default="sglang", help="sglang or vllm, of --servers")
    parser.add_argument("--servers", nargs=2, metavar=("DRAFT", "TARGET"), help="running engines")
    args = parser.parse_args()
    print("score   draft s  score s  rate   ahead / plain  expected   drafts thrown away   rounds")
    if args.servers:
        real: dict[Role, str] = {"draft": args.servers[0], "target": args.servers[1]}
        for rate in REAL_RATES:
            compare("real", real, rate, args.rounds, args.engine)
        return
    for name, rate in CASES:
        with server("draft", 0.0001) as draft, server("target", PREFILL[name]) as target:
            compare(name, {"draft": draft, "target": target}, rate, args.rounds, None)


if __name__ == "__main__":
    main()
