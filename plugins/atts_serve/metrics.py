"""Counters, in the text format that Prometheus reads."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from atts_harness.records import SampleRecord
from atts_harness.running.engine import Engine
from atts_serve.reply import tokens
from atts_serve.works import Works

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]


@dataclass
class Metrics:
    """What was asked and answered since the service began."""

    _counts: defaultdict[tuple[str, Labels], float] = field(
        default_factory=lambda: defaultdict(float)
    )

    @contextlib.contextmanager
    def request(self, model: str) -> Iterator[Callable[[int], None]]:
        """Count a request, by the status of its reply, and how long it took.

        Yields:
            A function that takes the status of the reply. If it is not called, the request ended
            with an error.
        """
        began, status = time.monotonic(), "error"

        def count_reply(of_reply: int) -> None:
            nonlocal status
            status = str(of_reply)

        try:
            yield count_reply
        finally:
            labels = (("model", model), ("status", status))
            self._counts["requests_total", labels] += 1
            seconds = time.monotonic() - began
            self._counts["request_seconds_total", (("model", model),)] += seconds

    def sample(self, model: str, record: SampleRecord) -> None:
        """Count a finished sample and what it cost."""
        count = self._counts
        count["samples_total", (("model", model), ("finish", record.finish))] += 1
        judged = [decision for decision in record.decisions if decision.judged]
        count["turns_judged_total", (("model", model),)] += len(judged)
        takeovers = sum(decision.takeover for decision in judged)
        count["turns_taken_over_total", (("model", model),)] += takeovers
        for role, counts in tokens(record).items():
            for quantity, amount in counts.items():
                if quantity != "calls":
                    labels = (("model", model), ("role", role), ("what", quantity))
                    count["tokens_total", labels] += amount

    def text(self, works: Works, engines: Sequence[Engine]) -> str:
        """All of it, as text."""
        lines: dict[str, list[str]] = {}
        for (name, labels), value in sorted(self._counts.items()):
            lines.setdefault(f"atts_{name}", []).append(_line(f"atts_{name}", labels, value))
        parts = [f"# TYPE {name} counter\n" + "".join(values) for name, values in lines.items()]
        gauges: list[tuple[str, Labels, float]] = [
            ("atts_samples_in_progress", (), works.running),
            ("atts_samples_most", (), works.most),
        ]
        for engine in engines:
            labels = (("engine", engine.name),)
            gauges += [
                ("atts_engine_calls_in_flight", labels, engine.slots.in_use),
                ("atts_engine_calls_waiting", labels, engine.slots.waiting),
                ("atts_engine_up", labels, int(not engine.gone)),
            ]
        for name in dict.fromkeys(name for name, _, _ in gauges):
            values = [_line(*gauge) for gauge in gauges if gauge[0] == name]
            parts.append(f"# TYPE {name} gauge\n" + "".join(values))
        return "".join(parts)


def _line(name: str, labels: Labels, value: float) -> str:
    label_text = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{label_text}}} {value:.15g}\n" if label_text else f"{name} {value:.15g}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
