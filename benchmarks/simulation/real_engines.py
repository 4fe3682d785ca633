"""The simulator against real engines: predicted and measured makespan of the same runs.

    python -m benchmarks.simulation.real_engines draft=URL target=URL --out FILE [--budget SECONDS]

A probe of at most 60 s with both engines busy fits the costs (as `atts measure` does). Then eight
runs, strategies at different rates and limits, are made three times, interleaved. Each is replayed
on simulated engines with exactly the lengths, scores and decisions that it had, and the two
makespans are compared. Every repetition has prompts of its own, so no cache knows them.

What is there is written to FILE after every run, the probe's rounds among it, and every call beside
it; the same command again goes on with what is missing, and predicts all runs anew. No run is begun
that would not end within the budget, as long as earlier ones took.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.backend import Backend, GenerateReply, GenerateRequest, Role, ScoreRequest
from atts_harness.conformal.bank import bank_of
from atts_harness.conformal.bankfile import write_bank
from atts_harness.engines.doctor.reach import open_running_backend
from atts_harness.identity import ModelIdentity
from atts_harness.journal.contract import MemoryJournal
from atts_harness.records import CallKey, CallRecord, SampleId
from atts_harness.running.batch import run_groups
from atts_harness.running.observers import Observers
from atts_harness.settings import Settings, kind_of, parse_settings
from atts_harness.simulation.backend import SimulatedBackend
from atts_harness.simulation.behaviour import WrittenText
from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.costfile import EngineCosts
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineLimits
from atts_harness.simulation.measure import Round
from atts_harness.simulation.measuring import TimedRounds, measured_engines
from atts_harness.strategy import Group, Problem, RunInfo, Sample
from atts_harness.tokenizer import Tokenizer
from atts_harness.transcript import Message, Prompt

TIMES = 3
ROLES: tuple[Role, ...] = ("draft", "target")
TURNS, CHUNK = 4, 48
LONGEST = 60.0
RUNS: Mapping[str, Mapping[str, Any]] = {
    "draft-only": {"strategy": "draft-only"},
    "target-only": {"strategy": "target-only"},
    "atts rate .2": {"strategy": "atts", "rate": 0.2},
    "atts rate .6": {"strategy": "atts", "rate": 0.6},
    "atts rate .4, 4 at a time": {"strategy": "atts", "rate": 0.4, "live_samples": 4},
    "synchronous rate .4": {"strategy": "synchronous", "rate": 0.4},
    "random-takeover rate .4": {"strategy": "random-takeover", "rate": 0.4},
    "target-only, 2 at a time": {"strategy": "target-only", "takeover_concurrency": 2},
}
"""What is predicted. `atts` ranks against a bank of scores from 0.01 to 4 nats a token, the same
factor apart."""
LEAST_SCORE, SCORES_SPAN = 0.01, 400.0
RANKED = {"coverage": "marginal", "ties": "conservative"}


class Replay:
    """What a recorded run wrote and scored, call by call."""

    def __init__(self, calls: Sequence[CallRecord]) -> None:
        self.replies = {call.key: call.reply for call in calls if call.reply is not None}

    def write(self, call: CallKey, request: GenerateRequest) -> WrittenText:
        """The recorded reply.

        Raises:
            LookupError: the recorded run had no such call.
        """
        reply = self.replies[call]
        assert isinstance(reply, GenerateReply)
        return WrittenText(reply.ids, reply.ending, reply.stop)

    def score(self, call: CallKey, request: ScoreRequest) -> tuple[float, ...]:
        """The recorded scores."""
        reply = self.replies[call]
        assert not isinstance(reply, GenerateReply)
        return reply.logprobs


def settings_of(given: Mapping[str, Any], bank: Path) -> Settings:
    """A run's settings; the backends are handed over opened, so these name none."""
    kind = kind_of(given["strategy"], {})
    fields = kind.Options.__struct_fields__
    further: dict[str, Any] = {"turns": TURNS, "draft_tokens": CHUNK, "target_tokens": CHUNK}
    if "bank" in fields:
        further |= {**RANKED, "bank": str(bank)}
    return parse_settings(
        {
            "backend": "simulated",
            "draft": "draft",
            "target": "target",
            "metrics_interval": 0,
            "max_gen_toks": 2 * TURNS * CHUNK,
            "timeout": 600,
            **{name: value for name, value in further.items() if name in fields},
            **given,
        }
    )


def groups_of(
    settings: Settings, tokenizers: Mapping[Role, Tokenizer], problems: int, repeats: int, mark: str
) -> list[Group]:
    """Problems that no cache has seen: `mark` stands at their beginning."""
    info = RunInfo(seed=settings.run.seed, provenance={}, tokenizers=dict(tokenizers))
    groups = []
    strategy = settings.strategy(settings.options(), info)
    for doc in range(problems):
        text = f"{mark} {doc}: " + "What is 17 + 4, times 3, minus 8? Think step by step. " * 4
        problem = Problem(
            task="real",
            doc=doc,
            prompt=Prompt((Message("user", text),)),
            max_tokens=settings.max_tokens(),
            prompt_hash=f"{mark}-{doc}",
            sampling=settings.sampling(),
        )
        samples = tuple(Sample(SampleId("real", doc, n), problem) for n in range(repeats))
        groups.append(Group(problem, samples, strategy))
    return groups


async def measured_run(
    settings: Settings, backends: Mapping[Role, Backend], groups: Sequence[Group]
) -> tuple[float, list[CallRecord], int]:
    """Seconds of a run on real engines, its calls, and how many samples failed."""
    calls: list[CallRecord] = []
    own = {role: backends[role] for role in settings.roles}
    began = time.perf_counter()
    records = await run_groups(
        groups, own, settings.run, MemoryJournal(keep=False), Observers(call=[calls.append])
    )
    seconds = time.perf_counter() - began
    return seconds, calls, sum(record.failed is not None for record in records)


class Replayed(SimulatedBackend):
    """A simulated backend with the vocabulary of a real one, which says what that one said."""

    def __init__(
        self, engine: SimulatedEngine, replay: Replay, real: Backend, latency: float
    ) -> None:
        self.engine, self.behaviour, self.latency = engine, replay, latency
        self.tokenizer = real.tokenizer  # type: ignore[assignment]
        self.max_length = real.max_length
        self.capabilities = real.capabilities
        self.identity = ModelIdentity(engine="simulated", model="replayed")


def predicted_run(
    settings: Settings,
    backends: Mapping[Role, Backend],
    groups: Sequence[Group],
    calls: Sequence[CallRecord],
    costs: Mapping[Role, EngineCosts],
    most: int,
    block: int,
) -> float:
    """Seconds of the same run on simulated engines."""
    replay = Replay(calls)

    async def work() -> int:
        own: dict[Role, Backend] = {}
        for role in settings.roles:
            cost = costs[role]
            limits = EngineLimits(
                kv_tokens=1 << 30,
                max_num_seqs=most,
                block=block,
                scores_read_cache=cost.scores_read_cache,
                mixed_steps=cost.mixed_steps,
            )
            engine = SimulatedEngine(cost.cost, limits)
            own[role] = Replayed(engine, replay, backends[role], cost.latency)
        records = await run_groups(
            groups, own, settings.run, MemoryJournal(keep=False), Observers()
        )
        return sum(record.failed is not None for record in records)

    failed, seconds = run_simulated(work())
    if failed:
        raise SystemExit(f"{failed} samples failed in the replay: it asked for other calls")
    return seconds


def report(found: Mapping[str, Any]) -> str:
    """Every run as a line of Markdown, and the errors."""
    lines = [
        "| run | measured s | predicted s | error | spread of repeats, s a written token |",
        "|---|---|---|---|---|",
    ]
    errors, spreads = [], []
    for name in RUNS:
        own = [run for run in found["runs"] if run["name"] == name]
        if not own:
            continue
        measured = [run["measured"] for run in own]
        off = [(run["predicted"] - run["measured"]) / run["measured"] for run in own]
        # Repeats have other prompts, and so other lengths: seconds a written token are compared.
        paces = [run["measured"] / max(1, run["written"]) for run in own]
        spread = (max(paces) - min(paces)) / statistics.median(paces)
        errors.append(statistics.median(map(abs, off)))
        spreads.append(spread)
        told = ", ".join(f"{seconds:.2f}" for seconds in measured)
        guessed = ", ".join(f"{run['predicted']:.2f}" for run in own)
        signed = ", ".join(f"{error:+.0%}" for error in off)
        lines.append(f"| {name} | {told} | {guessed} | {signed} | {spread:.0%} |")
    if errors:
        lines.append(
            f"\n{len(errors)} runs, median error {statistics.median(errors):.1%}, worst "
            f"{max(errors):.1%}; median spread of repeats {statistics.median(spreads):.1%}; load "
            f"of the machine {found['load'][0]:.1f} at the probe, {found['load'][-1]:.1f} at the "
            "end"
        )
    return "\n".join(lines)


def main() -> None:
    """Probe, run, replay, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("servers", nargs="*", help="draft=URL target=URL; none: report FILE")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=1200.0, help="seconds for all of it")
    parser.add_argument("--problems", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--probe", type=float, default=LONGEST, help="seconds of the probe")
    parser.add_argument("--batch", type=int, default=16, help="most requests of a probe at once")
    parser.add_argument("--max-num-seqs", type=int, default=256, help="as the engines were started")
    parser.add_argument("--block", type=int, default=16, help="tokens of a KV block, likewise")
    args = parser.parse_args()
    began = time.monotonic()
    found = json.loads(args.out.read_text()) if args.out.exists() else {"runs": [], "load": []}
    if not args.servers:
        print(report(found))
        return
    given = {"timeout": 60.0, "headers_env": None, "model": None}
    urls = dict(text.split("=", 1) for text in args.servers)

    def keep() -> None:
        found["load"].append(os.getloadavg()[0])
        args.out.write_text(json.dumps(found, indent=1))

    costs = _costs(args, urls, given, found)
    keep()
    with tempfile.TemporaryDirectory() as folder:
        # Which turns are taken over does not matter; that rates differ does, for any model.
        scores = ((0, 0, LEAST_SCORE * SCORES_SPAN ** (n / 80)) for n in range(1, 81))
        bank = write_bank(bank_of(scores), Path(folder) / "bank.json")
        for number in range(TIMES):
            for name in RUNS:
                if any(run["name"] == name and run["number"] == number for run in found["runs"]):
                    continue
                took = [run["measured"] for run in found["runs"] if run["name"] == name]
                if time.monotonic() - began + 1.3 * max(took, default=0.0) > args.budget:
                    print(f"{name}, {number + 1}: no time left")
                    continue
                found["runs"].append(_measure(name, number, bank, urls, given, args))
                keep()
                print(found["runs"][-1], flush=True)
        for run in found["runs"]:
            run["predicted"] = _predict(run, bank, urls, given, costs, args)
        keep()
    print(report(found))


def _costs(
    args: argparse.Namespace,
    urls: Mapping[str, str],
    given: Mapping[str, Any],
    found: dict[str, Any],
) -> dict[Role, EngineCosts]:
    """Fitted to the probe, which is made now or was by the earlier call that this one continues."""
    if "probe" not in found:
        found["probe"] = {
            role: msgspec.to_builtins(timed)
            for role, timed in measured_engines(urls, None, given, args.probe, args.batch).items()
        }
    costs: dict[Role, EngineCosts] = {}
    for role in ROLES:
        kept = found["probe"][role]
        rounds = [Round(**one) for one in kept["rounds"]]
        costs[role] = TimedRounds(**{**kept, "rounds": rounds}).costs()
        print(f"{role}: {costs[role]}", flush=True)
    return costs


def _calls_file(args: argparse.Namespace, name: str, number: int) -> Path:
    folder: Path = args.out.with_suffix(".calls")
    folder.mkdir(exist_ok=True)
    return folder / f"{name} {number}.json"


@contextlib.asynccontextmanager
async def _opened(
    settings: Settings, urls: Mapping[str, str], given: Mapping[str, Any]
) -> AsyncIterator[dict[Role, Backend]]:
    async with contextlib.AsyncExitStack() as stack:
        backends: dict[Role, Backend] = {}
        for role in settings.roles:
            server = contextlib.asynccontextmanager(open_running_backend)(urls[role], None, given)
            backends[role], _ = await stack.enter_async_context(server)
        yield backends


def _groups(
    args: argparse.Namespace,
    settings: Settings,
    backends: Mapping[Role, Backend],
    name: str,
    number: int,
) -> list[Group]:
    tokenizers = {role: backend.tokenizer for role, backend in backends.items()}
    return groups_of(settings, tokenizers, args.problems, args.repeats, f"{name} {number}")


def _measure(
    name: str,
    number: int,
    bank: Path,
    urls: Mapping[str, str],
    given: Mapping[str, Any],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """One run on the real engines; its calls are kept in a file."""
    settings = settings_of(RUNS[name], bank)

    async def real() -> tuple[float, list[CallRecord], int]:
        async with _opened(settings, urls, given) as backends:
            groups = _groups(args, settings, backends, name, number)
            return await measured_run(settings, backends, groups)

    seconds, calls, failed = asyncio.run(real())
    _calls_file(args, name, number).write_bytes(msgspec.json.encode(calls))
    written = sum(call.usage.completion_tokens for call in calls if call.usage is not None)
    return {
        "name": name,
        "number": number,
        "measured": seconds,
        "calls": len(calls),
        "written": written,
        "failed": failed,
    }


def _predict(
    run: Mapping[str, Any],
    bank: Path,
    urls: Mapping[str, str],
    given: Mapping[str, Any],
    costs: Mapping[Role, EngineCosts],
    args: argparse.Namespace,
) -> float:
    """Seconds of the same run on simulated engines."""
    name, number = run["name"], run["number"]
    settings = settings_of(RUNS[name], bank)
    file = _calls_file(args, name, number)
    calls = msgspec.json.decode(file.read_bytes(), type=list[CallRecord])

    async def seen() -> dict[Role, Backend]:
        async with _opened(settings, urls, given) as backends:
            return backends

    backends = asyncio.run(seen())
    groups = _groups(args, settings, backends, name, number)
    return predicted_run(settings, backends, groups, calls, costs, args.max_num_seqs, args.block)


if __name__ == "__main__":
    main()
