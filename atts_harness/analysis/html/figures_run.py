"""The figures of one run: rate by turn, uniformity of p-values, memory, slots."""

from __future__ import annotations

from matplotlib.ticker import MaxNLocator

from atts_harness.analysis.html.draw import FigureDrawing
from atts_harness.analysis.html.figure import Figure, short
from atts_harness.analysis.html.names import KeyName, draw_key, key_of
from atts_harness.analysis.html.style import INK, MUTED, PAPER
from atts_harness.analysis.html.view import Memory, View
from atts_harness.lanes import LANES, Lane

KINDS = {"draft": 0, "score": 4, "takeover": 1}
OTHER = 3


def of_run(view: View) -> list[Figure]:
    """All figures of one row's run."""
    return [rate_by_turn(view), pit(view), memory(view), slots(view)]


def rate_by_turn(view: View) -> Figure:
    """Realised rate by turn against the nominal one."""
    title = "Takeover rate by turn"
    audit = view.audit
    if audit is None or not audit.turns:
        return Figure("rate", title, missing=(_why(view, "audit"),))
    rates = [(int(rate.name.rpartition(" ")[2]), rate) for rate in audit.turns]

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes()
        axes.set_xlabel("turn")
        axes.set_ylabel("share taken over")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(rates[0][0] - 0.5, rates[-1][0] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if audit.nominal is not None:
            axes.axhline(audit.nominal, color=drawing.colours[MUTED], lw=1, ls=(0, (3, 3)))
            axes.annotate(
                f"nominal {audit.nominal:g}",
                (1, audit.nominal),
                (-2, 3),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                fontsize=drawing.size,
                color=drawing.colours[MUTED],
            )
        colour = drawing.series(0)
        sure = [
            (turn, rate.rate.value, rate.rate.low, rate.rate.high)
            for turn, rate in rates
            if rate.rate.low is not None and rate.rate.high is not None
        ]
        for turn, _, low, high in sure:
            axes.plot([turn, turn], [low, high], color=colour, lw=5, alpha=0.25)
        axes.plot([at[0] for at in sure], [at[1] for at in sure], color=colour, lw=1)
        for turn, rate in rates:
            hollow = rate.rate.low is None
            (dot,) = axes.plot(
                [turn],
                [rate.rate.value],
                "o",
                color=colour,
                markersize=5,
                markerfacecolor=drawing.colours[PAPER] if hollow else colour,
                clip_on=False,
            )
            words = f"turn {turn}: {rate.takeovers} of {rate.scored} ({rate.rate.value:.3f})"
            drawing.mark(dot, title=words)

    return Figure(
        "rate",
        title,
        "Takeovers among turns with a p-value; bands: question-clustered 95 % intervals. "
        "Hollow: all decisions alike, which leaves no interval.",
        paint,
        ("turn", "scored", "taken over", "rate", "low", "high"),
        tuple(
            (str(t), str(r.scored), str(r.takeovers), *_band(r.rate.value, r.rate.low, r.rate.high))
            for t, r in rates
        ),
        _apart(view),
    )


def pit(view: View) -> Figure:
    """Histogram of p-values (probability integral transform)."""
    title = "p-values"
    audit = view.audit
    if audit is None or not audit.uniformity:
        return Figure("pit", title, missing=(_why(view, "audit"),))
    every = audit.uniformity[0]
    count = len(every.bins)

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes()
        axes.set_xlabel("p-value")
        axes.set_ylabel("share of turns")
        axes.set_xlim(0, 1)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(lambda value, _: short(value))
        width = 1 / count
        for number, share in enumerate(every.bins):
            (bar,) = axes.bar(
                [(number + 0.5) * width], [share], width * 0.9, color=drawing.series(0), alpha=0.55
            )
            low, high = number * width, (number + 1) * width
            drawing.mark(bar, title=f"p in [{low:.1f}, {high:.1f}): {share:.3f}")
        axes.axhline(1 / count, color=drawing.colours[INK], lw=1, ls=(0, (3, 3)), zorder=3)

    return Figure(
        "pit",
        title,
        f"Flat (dashed) if scores were exchangeable with the bank's. Distance to uniform (KS) "
        f"{every.ks.value:.3f} over {every.count:,} turns; {every.independent:.3f} is what 5 % of "
        "so many independent ones exceed.",
        paint,
        ("p from", "to", "share"),
        tuple(
            (f"{n / count:.1f}", f"{(n + 1) / count:.1f}", f"{share:.3f}")
            for n, share in enumerate(every.bins)
        ),
    )


def memory(view: View) -> Figure:
    """Use of KV memory against samples in flight (the paper's figure 1)."""
    title = "Engine memory against samples in flight"
    if not view.memory:
        return Figure("memory", title, missing=(_why(view, "ledger"),))
    reported = view.memory[0].reported
    unit = "share of the KV cache" if reported else "tokens in flight"

    def paint(drawing: FigureDrawing) -> None:
        key = key_of(drawing, [KeyName(m.engine, n) for n, m in enumerate(view.memory)])
        draw_key(drawing, key)
        axes = drawing.axes(left=60, top=key.height + 8)
        axes.set_xlabel("samples in flight in the engine")
        axes.set_ylabel(f"{unit}, %" if reported else unit)
        for number, engine_memory in enumerate(view.memory):
            drawn = sorted(set(engine_memory.points))
            axes.plot(
                [x for x, _ in drawn],
                [y for _, y in drawn],
                "o",
                color=drawing.series(number),
                markersize=3,
                alpha=0.45,
                markeredgewidth=0,
            )
            means = _means(engine_memory)
            axes.plot(
                [x for x, _ in means], [y for _, y in means], color=drawing.series(number), lw=1.4
            )
        axes.set_xlim(0, None)
        axes.set_ylim(0, None)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(lambda value, _: short(100 * value if reported else value))

    caption = (
        "Use of the KV cache as the engine reported it during the run; lines are means."
        if reported
        else "The engine did not report its use of the KV cache; these are the prompt and written "
        "tokens of the calls in flight, from the ledger. Lines are means."
    )
    return Figure(
        "memory",
        title,
        caption,
        paint,
        ("engine", "samples in flight", f"mean {unit}"),
        tuple(
            (engine_memory.engine, str(x), short(y))
            for engine_memory in view.memory
            for x, y in _means(engine_memory)
        ),
    )


def slots(view: View) -> Figure:
    """Calls on slots over time."""
    title = "Samples on slots"
    if not view.bars:
        return Figure("slots", title, missing=(_why(view, "ledger"),))
    sizes = {
        lane: 1 + max((b.slot for b in view.bars if b.lane == lane), default=-1) for lane in LANES
    }
    used: list[Lane] = [lane for lane in ("draft", "score", "takeover") if sizes[lane]]
    first = min(bar.sent for bar in view.bars)
    last = max(bar.done for bar in view.bars)
    rows = sum(sizes.values()) + 2 * (len(used) - 1)
    height = min(560, max(170, 66 + 7 * rows))

    def paint(drawing: FigureDrawing) -> None:
        axes = drawing.axes(left=66)
        axes.set_xlabel("seconds")
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, (last - first) * 1.01 or 1)
        axes.set_ylim(rows - 0.2, -0.8)
        room = axes.get_window_extent().width / (last - first or 1)
        thick = max(0.6, 0.8 * axes.get_window_extent().height / max(1, rows))
        ticks, base = [], 0
        for lane in used:
            ticks.append((base + (sizes[lane] - 1) / 2, lane))
            for kind in sorted({bar.kind for bar in view.bars if bar.lane == lane}):
                xs: list[float] = []
                ys: list[float] = []
                bars = [bar for bar in view.bars if bar.lane == lane and bar.kind == kind]
                for bar in bars:
                    gap = 0.7 / room if (bar.done - bar.sent) * room > 2 else 0
                    xs += [bar.sent - first, bar.done - first - gap, float("nan")]
                    ys += [base + bar.slot, base + bar.slot, float("nan")]
                (line,) = axes.plot(
                    xs,
                    ys,
                    color=drawing.series(KINDS.get(kind, OTHER)),
                    lw=thick,
                    solid_capstyle="butt",
                )
                drawing.mark(line, title=f"{kind}: {len(bars):,} calls")
            base += sizes[lane] + 2
        axes.set_yticks([at for at, _ in ticks], [lane for _, lane in ticks])
        axes.tick_params(axis="y", length=0)

    cut = (
        f" The first {len(view.bars):,} of {view.calls:,} calls."
        if view.calls > len(view.bars)
        else ""
    )
    busy = {lane: sum(b.done - b.sent for b in view.bars if b.lane == lane) for lane in used}
    return Figure(
        "slots",
        title,
        f"A line is a slot of an engine, a stroke a call; gaps are idle slots.{cut}",
        paint,
        ("slots", "most at once", "calls", "busy seconds", "idle share"),
        tuple(
            (
                lane,
                str(sizes[lane]),
                str(sum(b.lane == lane for b in view.bars)),
                f"{busy[lane]:.1f}",
                f"{1 - busy[lane] / (sizes[lane] * (last - first)):.2f}" if last > first else "–",
            )
            for lane in used
        ),
        width=820,
        height=height,
    )


def _means(memory: Memory) -> list[tuple[int, float]]:
    sums: dict[int, list[float]] = {}
    for flying, use in memory.points:
        sums.setdefault(flying, []).append(use)
    return [(flying, sum(uses) / len(uses)) for flying, uses in sorted(sums.items())]


def _apart(view: View) -> tuple[str, ...]:
    apart = view.audit.apart if view.audit else {}
    if not apart:
        return ()
    return (
        "Takeovers that no p-value decided: " + ", ".join(f"{n} {k}" for k, n in apart.items()),
    )


def _why(view: View, part: str) -> str:
    reason = view.lacks.get(part) or view.lacks.get("ledger") or "there is nothing to count"
    return f"Nothing to show: {reason}."


def _band(value: float, low: float | None, high: float | None) -> tuple[str, str, str]:
    texts = ["–" if v is None else f"{v:.3f}" for v in (value, low, high)]
    return texts[0], texts[1], texts[2]
