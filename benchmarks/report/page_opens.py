"""How fast a report page with many samples opens, and how large it is.

    python benchmarks/report/page_opens.py [--samples 2000] [--bytes 10000]

Samples of so many bytes of made-up prose, in rows of 500, without run directories: their texts are
what makes a page large. Times are of the system's chromium, from asking for the file to `load` (the
list of samples is there then), and from a click on a sample to its text on the screen; medians of
some openings, each in a browser context of its own. CPU seconds of all of the browser's processes
stand beside, for a machine that has other work to do.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atts_harness.analysis.html.page import PageOptions, write_page
from atts_harness.analysis.leaderboard.rows import (
    Interval,
    Leaderboard,
    Pair,
    Row,
    RowSource,
    Table,
)
from atts_harness.analysis.leaderboard.samples import RowSamples
from atts_harness.grading.grade import Grade, Sampled
from atts_harness.records import SampleId
from atts_harness.results.values import AskedQuestion, SavedQuestion, SavedTask

TASK = "made-up"
PER_ROW, REPEATS = 500, 4
WORDS = "so the sum of both sides is then taken as x plus y over two which we know from before"


def main() -> None:
    """Write a page, open it a few times, say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=10_000)
    parser.add_argument("--openings", type=int, default=5)
    args = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("no chromium on PATH: on Debian, apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        began = time.perf_counter()
        leaderboard, entries = material(args.samples, args.bytes)
        generated = time.perf_counter()
        write_page(leaderboard, entries, path, options=PageOptions(most_samples=args.samples))
        wrote = time.perf_counter() - generated
        text = args.samples * args.bytes / 1e6
        size = path.stat().st_size / 1e6
        print(
            f"{args.samples} samples of {args.bytes} bytes: {text:.1f} MB of text (made in "
            f"{generated - began:.1f} s), page {size:.1f} MB, written in {wrote:.1f} s"
        )
        for step, seconds, computing in measure(path, browser, args.openings):
            print(
                f"{step}: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.2f} s; "
                f"of the browser's processes, CPU {statistics.median(computing):.2f} s"
            )


def saved(texts: dict[SampleId, str]) -> SavedTask:
    """Texts as a reader of a sample log hands them over."""
    by_doc: dict[int, dict[int, Sampled]] = {}
    for sample, text in texts.items():
        by_doc.setdefault(sample.doc, {})[sample.repeat] = Sampled(text)
    questions = [
        SavedQuestion(AskedQuestion(doc, str(doc), f"Problem {doc}?", str(doc)), group)
        for doc, group in by_doc.items()
    ]
    return SavedTask(TASK, lambda: iter(questions))


def material(samples: int, size: int) -> tuple[Leaderboard, dict[str, RowSamples]]:
    """Rows of `PER_ROW` samples each."""
    draw = random.Random(0)
    rows, entries = [], {}
    for number in range(0, samples, PER_ROW):
        id_ = f"row-{number // PER_ROW}"
        count = min(PER_ROW, samples - number)
        ids = [SampleId(TASK, n // REPEATS, n % REPEATS) for n in range(count)]
        docs = sorted({sample.doc for sample in ids})
        entries[id_] = RowSamples(
            task=TASK,
            questions={d: AskedQuestion(d, str(d), f"Problem {d}?", str(d)) for d in docs},
            grades={
                s: Grade(right=s.repeat == 0, answer=str(s.doc), answers={"boxed": str(s.doc)})
                for s in ids
            },
            saved=saved({s: prose(draw, size) for s in ids}),
        )
        rows.append(
            Row(
                id=id_,
                label=id_,
                strategy=id_,
                pair=Pair(name="model"),
                task=TASK,
                problems=len(docs),
                repeats=REPEATS,
                samples=count,
                pass_at={"1": Interval(value=0.25, low=0.2, high=0.3, clusters=len(docs))},
                source=RowSource(kind="results"),
            )
        )
    table = Table(id=TASK, task=TASK, title=TASK, rows=tuple(row.id for row in rows))
    board = Leaderboard(
        harness="", created="2026-01-01T00:00:00", tables=(table,), rows=tuple(rows)
    )
    return board, entries


def prose(draw: random.Random, size: int) -> str:
    """Text that compresses about as reasoning does: common words, numbers, lines."""
    words = WORDS.split()
    parts: list[str] = []
    length = 0
    while length < size:
        part = f"{' '.join(draw.choices(words, k=9))} {draw.randrange(10**6)},\n"
        parts.append(part)
        length += len(part)
    return "".join(parts)[:size]


def measure(path: Path, browser: str, openings: int) -> list[tuple[str, list[float], list[float]]]:
    """What was done, its seconds, and the CPU seconds meanwhile, for each opening."""
    from playwright.sync_api import sync_playwright

    timings: dict[str, tuple[list[float], list[float]]] = {}
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        chromium: Any = playwright.chromium.launch(executable_path=browser, args=arguments)
        session = chromium.new_browser_cdp_session()

        def computed() -> float:
            processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
            return float(sum(process["cpuTime"] for process in processes))

        def timed(step: str, act: Callable[[], None]) -> None:
            before, began = computed(), time.perf_counter()
            act()
            seconds, cpu = timings.setdefault(step, ([], []))
            seconds.append(time.perf_counter() - began)
            cpu.append(computed() - before)

        for _ in range(openings):
            context = chromium.new_context(offline=True)
            page = context.new_page()
            page.set_default_timeout(120_000)

            def load(page: Any = page) -> None:
                page.goto(path.as_uri(), wait_until="load")
                page.wait_for_selector("#sample-list tbody tr")

            def open_sample(page: Any = page) -> None:
                page.click("#sample-list tbody button >> nth=0")
                page.wait_for_selector("#sample-body pre")

            timed("load the page", load)
            timed("open a sample", open_sample)
            context.close()
        chromium.close()
    return [(step, seconds, cpu) for step, (seconds, cpu) in timings.items()]


if __name__ == "__main__":
    main()
