"""Signals side by side: do they tell wrong turns, and what do takeovers by them gain?

    python -m benchmarks.pays.signals [--runs DIR]

On the embedded pair, where it is known of each turn (a step of a chain) whether it is wrong. First
every signal on the same drafts; then ATTS with each of them at several rates. The rows of the
published signal are those of `does-it-pay`, which is measured before. What is found is kept in
`signals.json` beside this file, and is not measured again (`--afresh` does); `python -m
benchmarks.pays` makes docs/signals.md of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from atts_tasks.chain.problems import ChainProblem, make_problems
from atts_tiny.paths import MODELS

from atts_harness.analysis.statistics import Estimate, clustered_auc
from atts_harness.settings import parse_settings
from atts_harness.signals import CANDIDATES, PERPLEXITY, SIGNALS
from atts_harness.strategy import Generation
from atts_harness.transcript import Segment
from benchmarks.pays import measured
from benchmarks.pays.frontier import CURRENCIES, DRAFT, TARGET, accuracy, at_budget, cost, minus
from benchmarks.pays.marked import table
from benchmarks.pays.measured import Config, MeasuredRows, run_row
from benchmarks.pays.verdicts import interval, verdict_words
from training.tiny.measure import Role, Solved, auroc, nonconformity, solve
from training.tiny.model import hidden_states, rope_tables
from training.tiny.tokenizer import Codec

FILE = Path(__file__).with_name("signals.json")
RATES = (0.1, 0.2, 0.4, 0.6)
PROBLEMS, REPEATS = 300, 4
RANDOM = "random"
SHARES = (0.5, 0.75, 1.0)
"""Budgets, as shares of what the target alone costs."""


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


class SignalRows(msgspec.Struct, frozen=True):
    """Everything that was found."""

    turns: int
    wrong: int
    problems: int
    repeats: int
    aucs: list[Auc]
    configs: list[Config]


def load() -> SignalRows:
    """What was found last."""
    return msgspec.json.decode(FILE.read_bytes(), type=SignalRows)


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
    """Measure what is missing, and keep what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/signals"))
    parser.add_argument("--problems", type=int, default=PROBLEMS, help="whose drafts are ranked")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="samples of each")
    parser.add_argument("--afresh", action="store_true", help="make every row again")
    args = parser.parse_args()
    kept = load() if FILE.exists() and not args.afresh else None
    if kept is None or (kept.problems, kept.repeats) != (args.problems, args.repeats):
        turns, wrong, found = aucs(args.problems, args.repeats)
        kept = SignalRows(turns, wrong, args.problems, args.repeats, found, [])
        keep(kept)
    for one in kept.aucs:
        print(f"{one.signal}: AUC {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]", flush=True)
    problems = make_problems("mixed", "test", measured.load().problems)
    published = {one.name: one for one in measured.load().configs if one.votes == 1}
    old, configs = {one.name: one for one in kept.configs}, list[Config]()
    kept = msgspec.structs.replace(kept, configs=configs)
    for rate in RATES:
        row = published[f"atts-replace-rate={rate:g}"]
        configs.append(msgspec.structs.replace(row, name=f"{PERPLEXITY} {rate:g}"))
        for signal in SIGNALS:
            name = f"{signal} {rate:g}"
            if name in old:
                configs.append(old[name])
                continue
            began = time.monotonic()
            configs.append(take_over(signal, rate, problems, args.runs / name.replace(" ", "-")))
            right = sum(configs[-1].right) / len(problems)
            print(f"{name}: {right:.3f} in {time.monotonic() - began:.0f} s", flush=True)
            missing = [one for one in old.values() if one not in configs]
            keep(msgspec.structs.replace(kept, configs=[*configs, *missing]))
    keep(kept)


def take_over(signal: str, rate: float, problems: list[ChainProblem], folder: Path) -> Config:
    """ATTS with a signal at a rate; a row that was begun goes on from its journal."""
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
    return next(run_row(f"{signal} {rate:g}", settings, REPEATS, problems, folder))


def keep(kept: SignalRows) -> None:
    """Write what there is."""
    FILE.write_bytes(msgspec.json.encode(kept) + b"\n")


def parts(kept: SignalRows, run: MeasuredRows) -> dict[str, str]:
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
        "rates": _rates(kept),
        "cost": _cost(kept, run),
        "pays": _pays(kept, run),
    }


def _rates(kept: SignalRows) -> str:
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


def _of(kept: SignalRows, signal: str) -> list[Config]:
    """A signal's points."""
    return [one for one in kept.configs if one.name.partition(" ")[0] == signal]


def _plain(run: MeasuredRows) -> tuple[Config, Config]:
    """The draft alone and the target alone."""
    plain = {one.name: one for one in run.configs if one.votes == 1}
    return plain[DRAFT], plain[TARGET]


def _cost(kept: SignalRows, run: MeasuredRows) -> str:
    """At the same cost: each signal's best at what the published one takes at each rate."""
    draft, _ = _plain(run)
    lines = []
    for currency, words in CURRENCIES.items():
        budgets = [(one, cost(one, currency)) for one in _of(kept, PERPLEXITY)]
        rows = []
        for signal in SIGNALS:
            cells = [f"`{signal}`"]
            for published, budget in budgets:
                best = at_budget([draft, *_of(kept, signal)], budget, currency) or []
                cells.append(f"{accuracy(best).value:.3f}: {interval(minus(best, published), '+')}")
            rows.append(cells)
        own = [f"{accuracy(published).value:.3f}" for published, _ in budgets]
        heads = [f"{words} of `{PERPLEXITY}` at {one.name.split()[1]}" for one, _ in budgets]
        rows.insert(0, [f"`{PERPLEXITY}`", *own])
        lines += [table(("signal", *heads), rows, left=1 + len(heads)), ""]
    return "\n".join(lines)


def _pays(kept: SignalRows, run: MeasuredRows) -> str:
    """Each signal against the target alone, and at shares of its cost."""
    draft, target = _plain(run)
    heads = ["signal", *(f"against the target, in {words}" for words in CURRENCIES.values())]
    heads += [f"at {share:g} of its target tokens" for share in SHARES]
    budgets = [share * cost(target, "target") for share in SHARES]
    lots = [at_budget([draft, target], budget, "target") or [] for budget in budgets]
    rows = [
        ["draft and target alone, a lot between them", "", ""]
        + [f"{accuracy(one).value:.3f}" for one in lots]
    ]
    for signal in (PERPLEXITY, *SIGNALS):
        own = _of(kept, signal)
        cells = [f"`{signal}`", *(verdict_words(own, target, one) for one in CURRENCIES)]
        for budget, lot in zip(budgets, lots, strict=True):
            best = at_budget([draft, *own], budget, "target") or []
            cells.append(f"{accuracy(best).value:.3f}: {interval(minus(best, lot), '+')}")
        rows.append(cells)
    return table(heads, rows, left=len(heads))


if __name__ == "__main__":
    main()
