"""Two samples of each strategy on the plan's own backends, and what they say of the whole."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atts_lm_eval.compare.cells import Cell
from atts_lm_eval.compare.commands import metadata_of
from atts_lm_eval.compare.plan import Plan
from atts_lm_eval.compare.servers import Servers
from atts_lm_eval.compare.tasks import manager, needs_defaults

SAMPLES = 2
# A probe has no bank and no other cell's rate to take; it ranks as a calibration run does.
_WITHOUT_BANK = {
    "calibration": "online",
    "coverage": "turn",
    "control": "fixed",
    "rule": "pvalue",
    "pvalue": "pooled",
}


@dataclass(frozen=True)
class Probe:
    """What two samples took.

    Attributes:
        samples: how many there were.
        opening: seconds until the models were there.
        seconds: from the first sample's start to the last one's end.
        longest: seconds of the longest sample.
        busy: by lane its slots, and the seconds for which they were held.
        calls: calls of any kind.
        tokens: mean tokens a sample, as in a run's statistics.
    """

    samples: int
    opening: float
    seconds: float
    longest: float
    busy: Mapping[str, tuple[int, float]]
    calls: int
    tokens: Mapping[str, float]

    def expected(self, samples: int) -> tuple[float, float]:
        """Seconds that so many samples may take, between two bounds.

        The first holds if the engines keep the probe's pace with every slot in use, the second if
        they gain nothing from more than two samples at once. Between them lies how well an engine
        batches, which two samples cannot tell.
        """
        share = samples / self.samples
        work = [seconds * share / slots for slots, seconds in self.busy.values() if slots]
        least = max([self.longest, *work])
        return self.opening + least, self.opening + max(least, self.seconds * share)


def probe_all(
    cells: Sequence[Cell], plan: Plan, folder: Path, say: Callable[[str], None]
) -> dict[str, Probe]:
    """By cell a probe; cells that differ by their operating point alone share one.

    Servers of a pair are started for it, and stopped.

    Raises:
        AttsError: a strategy cannot run; the first to fail.
    """
    from atts_lm_eval import bridge

    bridge.install()
    found: dict[str, Probe] = {}
    for pair in dict.fromkeys(cell.pair for cell in cells):
        mine = [cell for cell in cells if cell.pair == pair]
        servers = Servers(mine, folder / "servers" / pair, say)
        done: dict[Any, Probe] = {}
        try:
            for cell in mine:
                key = (cell.task_name, cell.place)
                if key not in done:
                    say(f"{cell.name}: two samples")
                    further = servers.settings(cell.strategy)
                    done[key] = _probe(cell, cells, plan, further)
                found[cell.name] = done[key]
        finally:
            servers.stop()
    return found


def _probe(cell: Cell, cells: Sequence[Cell], plan: Plan, servers: Mapping[str, Any]) -> Probe:
    from lm_eval.evaluator import simple_evaluate

    from atts_lm_eval.model import model_class

    args = {**cell.settings, **servers, "progress": "off"}
    if cell.calibrate is not None:
        args |= _WITHOUT_BANK
    if cell.needs is not None:
        other = next(c for c in cells if c.name == cell.needs)
        if "rate" in other.settings:
            args["rate"] = other.settings["rate"]
    problems = min(SAMPLES, cell.task.limit or SAMPLES)
    defaults = needs_defaults([cell], plan.include_path)
    known = manager(plan.include_path, defaults=defaults, metadata=metadata_of(cell))
    task = next(iter(known.load(cell.task.task)["tasks"].values()))  # the first one of a group
    task.set_config(key="repeats", value=SAMPLES // problems)
    with _quiet():
        began = time.monotonic()
        model = model_class(cell.strategy)(**args)
        opening = time.monotonic() - began
        try:
            simple_evaluate(
                model=model,
                tasks=[task],
                task_manager=known,  # or lm-eval reads the index of all its own tasks
                limit=problems,
                predict_only=True,
                bootstrap_iters=0,
                num_fewshot=cell.task.num_fewshot,
                apply_chat_template=plan.apply_chat_template,
                system_instruction=plan.system_instruction,
            )
            told = model.get_model_info()["atts"]
            ledger = model.harness.summary.ledger
        finally:
            model.close()
    statistics = list(told["statistics"].values())
    samples = sum(task["samples"] for task in statistics)
    names = statistics[0]["tokens_per_sample"]
    return Probe(
        samples=samples,
        opening=opening,
        seconds=float(ledger["seconds"]),
        longest=float(ledger["sample_latency"]["max"]),
        busy={n: (int(u["bound"]), float(u["busy_seconds"])) for n, u in ledger["slots"].items()},
        calls=sum(account["calls"] for account in ledger["calls"].values()),
        tokens={
            name: sum(t["tokens_per_sample"][name] * t["samples"] for t in statistics) / samples
            for name in names
        },
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without lm-eval's and the models' own messages; errors come as exceptions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    errors = os.dup(2)  # lm-eval asks git, which answers there
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            with contextlib.redirect_stderr(nowhere), contextlib.redirect_stdout(nowhere):
                yield
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        logging.disable(before)
