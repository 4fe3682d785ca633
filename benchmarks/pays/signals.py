"""Signals side by side: do they tell wrong turns, and what do takeovers by them gain?

    python -m benchmarks.pays.signals [--runs DIR]

On the embedded pair, where it is known of each turn (a step of a chain) whether it is wrong. First
every signal on the same drafts; then ATTS with each of them at one rate. The row of the published
signal is one of `does-it-pay`, which is measured before. What is found is kept in `signals.json`
beside this file; `python -m benchmarks.pays` makes docs/signals.md of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from atts_tasks.chain.problems import make_problems
from atts_tiny.paths import MODELS

from atts_harness.analysis.statistics import Estimate, clustered_auc
from atts_harness.settings import parse_settings
from atts_harness.signals import CANDIDATES, PERPLEXITY, SIGNALS
from atts_harness.strategy import Generation
from atts_harness.transcript import Segment
from benchmarks.pays import measured
from benchmarks.pays.frontier import TARGET, accuracy, at_budget, cost, minus
from benchmarks.pays.marked import table
from benchmarks.pays.measured import Config, Found, run_row
from training.tiny.measure import Role, Solved, auroc, nonconformity, solve
from training.tiny.model import hidden_states, rope_tables
from training.tiny.tokenizer import Codec

FILE = Path(__file__).with_name("signals.json")
RATES = (0.2,)
PROBLEMS, REPEATS = 300, 4
RANDOM = "random"
MISSING = "Not measured yet: `python -m benchmarks.pays.signals`."


class Auc(msgspec.Struct, frozen=True):
    """How well a signal tells wrong turns from right ones.

    Attributes:
        signal: its name.
        value, low, high: AUC over all turns, with its 95 % interval over problems.
        within: mean of the AUCs within problems.
        first: AUC among turns before which nothing was wrong.
    """

    signal: str
    value: float
    low: float
    high: float
    within: float
    first: float


class Kept(msgspec.Struct, frozen=True):
    """Everything that was found."""

    turns: int
    wrong: int
    problems: int
    repeats: int
    aucs: list[Auc]
    configs: list[Config]


def load() -> Kept:
    """What was found last."""
    return msgspec.json.decode(FILE.read_bytes(), type=Kept)


@torch.inference_mode()
def generations(draft: Role, solved: Sequence[Solved]) -> Iterator[list[Generation]]:
    """Of each sample its turns as an engine would have told them: candidates of each token."""
    for one in solved:
        ids = torch.tensor([one.before(len(one.steps))])
        states = hidden_states(draft.weights, draft.shape, ids, *rope_tables(ids.shape[1]))
        logits = states[0, :-1] @ draft.weights["model.embed_tokens.weight"].T
        everything = logits.log_softmax(-1)
        own = everything.gather(-1, ids[0, 1:, None])[:, 0].tolist()
        best = everything.topk(CANDIDATES).values.tolist()
        place, turns = len(one.prompt) - 1, []
        for step in one.steps:
            part = slice(place, place + len(step))
            turns.append(
                Generation(
                    EMPTY,
                    logprobs=tuple(own[part]),
                    candidates=tuple(tuple(row) for row in best[part]),
                )
            )
            place += len(step)
        yield turns


EMPTY = Segment("draft", ())


def aucs(problems: int, repeats: int) -> tuple[int, int, list[Auc]]:
    """Turns, wrong ones, and every signal's AUC on them."""
    codec = Codec()
    draft, target = Role.load(MODELS / "draft"), Role.load(MODELS / "target")
    solved = solve(draft, codec, make_problems("mixed", "test", problems), repeats, 1)
    wrong = [check.error is not None for one in solved for check in one.checks]
    groups = [one.problem for one in solved for _ in one.checks]
    first = [
        not any(c.error for c in one.checks[:n]) for one in solved for n in range(len(one.checks))
    ]
    rng = np.random.default_rng(0)
    values: dict[str, list[float]] = {
        PERPLEXITY: [value for row in nonconformity(target, solved) for value in row]
    }
    told = [turn for turns in generations(draft, solved) for turn in turns]
    for name, signal in SIGNALS.items():
        value = signal.value
        values[name] = [float(rng.random()) if value is None else value(turn) for turn in told]
    return len(wrong), sum(wrong), [_auc(n, own, wrong, groups, first) for n, own in values.items()]


def _auc(
    name: str, own: list[float], wrong: list[bool], groups: list[int], first: list[bool]
) -> Auc:
    whole: Estimate = clustered_auc(own, wrong, groups)
    data, marks = np.asarray(own), np.asarray(wrong)
    codes, early = np.asarray(groups), np.asarray(first)
    parts = [auroc(data[codes == c], marks[codes == c]) for c in sorted(set(groups))]
    found = [part for part in parts if part is not None]
    before = auroc(data[early], marks[early])
    return Auc(
        *(name, whole.value, whole.low or 0.0, whole.high or 1.0),
        *(float(np.mean(found)), before if before is not None else 0.5),
    )


def main() -> None:
    """Measure, and keep what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/signals"))
    parser.add_argument("--problems", type=int, default=PROBLEMS, help="whose drafts are ranked")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="samples of each")
    args = parser.parse_args()
    turns, wrong, found = aucs(args.problems, args.repeats)
    for one in found:
        print(f"{one.signal}: AUC {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]", flush=True)
    problems = make_problems("mixed", "test", measured.load().problems)
    rows = {one.name: one for one in measured.load().configs if one.votes == 1}
    configs = [
        msgspec.structs.replace(rows[name], name=f"{PERPLEXITY} {rate:g}")
        for rate in RATES
        if (name := f"atts-replace-rate={rate:g}") in rows
    ]
    kept = Kept(turns, wrong, args.problems, args.repeats, found, configs)
    FILE.write_bytes(msgspec.json.encode(kept) + b"\n")
    for rate in RATES:
        for signal in SIGNALS:
            name = f"{signal} {rate:g}"
            folder = args.runs / name.replace(" ", "-")
            settings = parse_settings(
                {
                    "strategy": "atts",
                    "preset": "tiny",
                    "on_reject": "replace",
                    "live_samples": 64,
                    "progress": "off",
                    "run_dir": str(folder),
                    "signal": signal,
                    "rate": rate,
                }
            )
            began = time.monotonic()
            configs.append(next(run_row(name, settings, REPEATS, problems, folder)))
            right = sum(configs[-1].right) / len(problems)
            print(f"{name}: {right:.3f} in {time.monotonic() - began:.0f} s", flush=True)
            FILE.write_bytes(msgspec.json.encode(kept) + b"\n")


def parts(kept: Kept, run: Found) -> dict[str, str]:
    """Parts of docs/signals.md by name."""
    return {
        "turns": f"{kept.turns:,} turns of {kept.problems} problems x {kept.repeats} samples "
        f"of the draft alone; {kept.wrong:,} of them are wrong.",
        "auc": table(
            ("signal", "AUC [95 %]", "within problems", "before anything was wrong"),
            (
                [
                    f"`{one.signal}`",
                    f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]",
                    f"{one.within:.3f}",
                    f"{one.first:.3f}",
                ]
                for one in sorted(kept.aucs, key=lambda a: -a.value)
            ),
        ),
        "rates": _rates(kept) if len(kept.configs) > 1 else MISSING,
        "cost": _cost(kept, run) if len(kept.configs) > 1 else MISSING,
    }


def _rates(kept: Kept) -> str:
    """At the same rates."""
    heads = (
        *("signal", "rate", "realised", "accuracy", "minus random [95 %]"),
        *("target tokens", "FLOPs, M"),
    )
    rows = []
    for one in kept.configs:
        signal, _, rate = one.name.partition(" ")
        coin = next(c for c in kept.configs if c.name == f"{RANDOM} {rate}")
        gain = minus(one, coin)
        rows.append(
            [
                f"`{signal}`",
                rate,
                "" if one.rate is None else f"{one.rate:.3f}",
                f"{accuracy(one).value:.3f}",
                "" if one is coin else f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]",
                f"{cost(one, 'target'):.0f}",
                f"{cost(one, 'flops') / 1e6:.0f}",
            ]
        )
    return table(heads, rows, left=2)


def _cost(kept: Kept, run: Found) -> str:
    """At the same cost: each signal's best at what the published one takes at the lower rate."""
    ends = [one for one in run.configs if one.votes == 1 and one.name in ("draft-only", TARGET)]
    draft = [one for one in ends if one.name == "draft-only"]
    rows = []
    for currency, words in (("target", "target tokens"), ("flops", "FLOPs")):
        published = next(c for c in kept.configs if c.name == f"{PERPLEXITY} {RATES[0]:g}")
        budget = cost(published, currency)
        for signal in SIGNALS:
            own = [c for c in kept.configs if c.name.partition(" ")[0] == signal]
            best = at_budget([*draft, *own], budget, currency)
            if best is None:
                continue
            gain = minus(best, published)
            rows.append(
                [
                    f"`{signal}`",
                    words,
                    f"{accuracy(best).value:.3f}",
                    f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]",
                ]
            )
    return table(("signal", "at as many", "accuracy", "minus `perplexity` [95 %]"), rows, left=2)


if __name__ == "__main__":
    main()
