"""ATTS against its controls, on the embedded pair, by stock `lm_eval`; then one table.

Run by `make demo`, offline. Each row is one `lm_eval` command, shown as it starts; everything
it leaves lies under `runs/demo/`. What the table shows is read back from lm-eval's own results.

Half of a row's time is the start of `lm_eval`, which keeps one core busy, so two rows run at a
time, each on half the cores. At the end `atts plan` says what ATTS's run would have cost with a
published pair on two GPUs, by simulation of its very turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from atts_harness.results.statistics import TakeoverStatistics

TASK = "atts_chain"
RATE = 0.2
CORES = os.cpu_count() or 1
LANES = min(2, CORES)
PRICE = 2.5
"""Dollars a GPU and hour that are assumed."""

Results = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """One strategy at one operating point.

    Attributes:
        title: as the table shows it.
        model: lm-eval model name.
        args: its model_args.
        rate_of: folder of another row. This row's coin takes over as often as that row's target
            really did, failed scores included.
        recorded: whether the run keeps a run directory, in which every call is.
    """

    title: str
    model: str
    args: dict[str, str | float]
    rate_of: str | None = None
    recorded: bool = False

    @property
    def folder(self) -> str:
        """Name of the row's folder."""
        return "-".join(self.title.replace("(", "").replace(")", "").replace(",", "").split())


ROWS = (
    Row("draft only", "draft-only", {}),
    Row("target only", "target-only", {}),
    Row("ATTS (replace)", "atts", {"rate": RATE, "on_reject": "replace"}, recorded=True),
    Row(
        "random takeover (replace)",
        "random-takeover",
        {"on_reject": "replace"},
        rate_of="ATTS-replace",
    ),
    Row("ATTS (continue)", "atts", {"rate": RATE, "on_reject": "continue"}),
    Row(
        "random takeover (continue)",
        "random-takeover",
        {"on_reject": "continue"},
        rate_of="ATTS-continue",
    ),
)


def main() -> None:
    """Run every row, then show the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=80, help="problems of the task")
    parser.add_argument("--repeats", type=int, default=4, help="samples a problem")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"))
    args = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console = Console(width=116)
    shutil.rmtree(args.out, ignore_errors=True)
    started: dict[str, Future[Results]] = {}

    def started_run(row: Row) -> Results:
        rate = takeover(started[row.rate_of].result()).drawn_rate if row.rate_of else None
        return run(row, rate, args.problems, args.repeats, args.out, console)

    with ThreadPoolExecutor(LANES) as lanes:
        for row in in_order(ROWS):
            started[row.folder] = lanes.submit(started_run, row)
        try:
            results = {folder: future.result() for folder, future in started.items()}
        except BaseException:
            lanes.shutdown(cancel_futures=True)
            raise
    console.print(table(results))
    console.print(
        f"{args.problems} problems x {args.repeats} samples of {TASK}. Every row answers the same "
        "problems from the same seeds; intervals are\nclustered by question. 'target' counts the "
        "target's tokens a sample: computed = prefilled, scored and written.\n'seconds' is without "
        "lm_eval's own start"
        + (", beside another row on the other half of the cores." if LANES > 1 else ".")
    )
    for line in elsewhere(args.out):
        console.print(line, highlight=False, soft_wrap=True)


def elsewhere(out: Path) -> list[str]:
    """What ATTS's run would have cost with a published pair on GPUs: three lines."""
    row = next(row for row in ROWS if row.recorded)
    settings = {**row.args, "turns": 40, "draft_tokens": 96, "target_tokens": 96}
    command = [
        *(
            "atts",
            "plan",
            "--pair",
            "r1-qwen-1.5b-qwq-32b",
            "--gpus",
            "h100:2",
            "--gpu-split",
            "1+1",
        ),
        *("--trace", str(out / row.folder / "run"), "--strategy", row.model),
        *("--strategy", "target-only", "--price", str(PRICE)),
    ]
    for name, value in settings.items():  # swept, because the target alone has none of them
        command += ["--sweep", f"{name}={value}"]
    program = str(Path(sys.executable).parent / command[0])
    process = subprocess.run([program, *command[1:], "--json"], capture_output=True, check=False)
    if process.returncode:
        raise SystemExit(f"demo: {shlex.join(command)} failed\n{process.stderr.decode()[-2000:]}")
    planned = {plan["strategy"]: plan for plan in json.loads(process.stdout)}
    pair, target = planned[row.model], planned["target-only"]
    return [
        f"Simulated with R1-1.5B and QwQ-32B on two H100s, {row.title} takes "
        f"{pair['makespan']:.0f} s and costs ${pair['dollars']:.3f}; QwQ-32B alone on one",
        f"takes {target['makespan']:.0f} s and costs ${target['dollars']:.3f}, at ${PRICE} a GPU "
        "hour. Turns are as long as in this run; those models write longer ones. The command:",
        shlex.join(command),
    ]


def in_order(rows: tuple[Row, ...]) -> list[Row]:
    """The rows as they are started: first those that others wait for, last the shortest."""
    awaited = {row.rate_of for row in rows}
    return sorted(
        rows,
        key=lambda row: (
            row.folder not in awaited,
            row.model == "draft-only",
            row.rate_of is not None,
        ),
    )


def run(
    row: Row, rate: float | None, problems: int, repeats: int, out: Path, console: Console
) -> Results:
    """Run one row by stock `lm_eval`, at a rate of takeover if given, and read its results file."""
    model_args = row.args | ({} if rate is None else {"rate": round(rate, 4)})
    folder = out / row.folder
    if row.recorded:
        model_args |= {"run_dir": str(folder / "run")}
    command = [
        *("lm_eval", "--model", row.model),
        *(("--model_args", ",".join(f"{k}={v}" for k, v in model_args.items())) * bool(model_args)),
        *("--tasks", TASK, "--apply_chat_template", "--limit", str(problems)),
        *("--metadata", json.dumps({"repeats": repeats})),
        # As many samples in progress as their caches fit: more would compute contexts again.
        *("--batch_size", "64"),
        *("--output_path", str(folder), "--log_samples"),
    ]
    console.print(f"[bold]$[/bold] {shlex.join(command)}", highlight=False, soft_wrap=True)
    folder.mkdir(parents=True)
    log = folder / "log.txt"
    began = time.monotonic()
    with log.open("w") as stream:
        status = subprocess.run(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ
            | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
            | {"OMP_NUM_THREADS": str(CORES // LANES)},
            check=False,
        ).returncode
    if status:
        raise SystemExit(
            f"{log.read_text()[-3000:]}\n"
            f"demo: {row.title} ended with status {status}; the whole log is {log}"
        )
    console.print(f"  {row.title}: done after {time.monotonic() - began:.0f} s", highlight=False)
    newest = max(folder.rglob("results_*.json"), key=lambda path: path.stat().st_mtime)
    loaded: Results = json.loads(newest.read_text())
    return loaded


def statistics(results: Results) -> dict[str, Any]:
    """The run statistics that the model put into lm-eval's results."""
    of_task: dict[str, Any] = results["config"]["atts"]["statistics"][TASK]
    return of_task


def takeover(results: Results) -> TakeoverStatistics:
    """How often the target of a row took over."""
    return msgspec.convert(statistics(results)["takeover"], TakeoverStatistics)


def table(results: dict[str, Results]) -> Table:
    """The rows side by side."""
    rows = Table(title=f"{TASK}: draft/target strategies on the embedded pair")
    rows.add_column("strategy", no_wrap=True)
    for name in (
        "pass@1",
        "95 % interval",
        "takeover\nnominal",
        "takeover\nrealised",
        "target\ncomputed",
        "target\nwritten",
        "seconds",
    ):
        rows.add_column(name, justify="right", no_wrap=True)
    for row in ROWS:
        of_row = results[row.folder]
        numbers = statistics(of_row)
        metrics = of_row["results"][TASK]
        low, high = metrics["pass@1_interval,all"]
        rates, tokens = takeover(of_row), numbers["tokens_per_sample"]
        rows.add_row(
            row.title,
            f"{metrics['pass@1,all']:.3f}",
            f"[{low:.3f}, {high:.3f}]",
            _share(rates.nominal_rate),
            _share(rates.realised_rate if rates.nominal_rate is not None else None),
            f"{tokens['target_computed']:.0f}",
            f"{tokens['target_written']:.0f}",
            f"{numbers['seconds']:.1f}",
        )
    return rows


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
