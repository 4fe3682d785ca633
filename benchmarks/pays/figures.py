"""The figures of docs/does-it-pay.md, docs/claims.md and the README."""

from __future__ import annotations

from benchmarks.conformal.figure import BLUE, GREEN, GREY, RED, figure
from benchmarks.pays.frontier import DRAFT, TARGET, accuracy, cost, family, frontier
from benchmarks.pays.kinds import SAMPLES
from benchmarks.pays.measured import MeasuredRows
from benchmarks.pays.regions import relative, settings
from benchmarks.pays.simulated import SimulatedRows

ORANGE, PURPLE, TEAL = "#b8860b", "#8e3b8e", "#00738a"
DRAWN = {
    "ATTS, in the draft's place": (BLUE, "o-"),
    "ATTS, behind the draft": (BLUE, "s--"),
    "random takeover, in its place": (GREY, "o-"),
    "SpecReason": (RED, "^-"),
    "GlimpRouter": (PURPLE, "v-"),
    "speculative thinking": (ORANGE, "D-"),
}


GPU = "h100"


def draw_frontier(run: MeasuredRows, made: SimulatedRows) -> None:
    """Accuracy by cost on the embedded pair; cost by samples on the published ones."""
    with figure("does-it-pay", columns=2, height=3.6) as axes:
        left, right = axes
        for name, (colour, style) in DRAWN.items():
            own = [one for one in family(run.configs, name) if one.votes == 1]
            own = sorted(own, key=lambda one: cost(one, "flops"))
            if own:
                xs = [cost(one, "flops") / 1e6 for one in own]
                left.plot(xs, [accuracy(one).value for one in own], style, color=colour, label=name)
        plain = [one for one in run.configs if one.name in (TARGET, DRAFT)]
        ends = frontier(plain, "flops")
        xs = [cost(one, "flops") / 1e6 for one in ends]
        ys = [accuracy(one).value for one in ends]
        label = "draft alone, target alone, votes"
        left.plot(xs, ys, "*-", color=GREEN, label=label, markersize=8)
        left.set(xscale="log", xlabel="million FLOPs an answer, both models", ylabel="accuracy")
        left.set_title("embedded pair, measured")
        left.legend(fontsize=6, loc="upper left")
        pairs = [pair for pair, gpu in settings(made) if gpu == GPU]
        for pair, colour in zip(pairs, (BLUE, PURPLE, RED, ORANGE), strict=False):
            for kind, line in (("atts .4", "o-"), ("atts .4, scores not cached", "o:")):
                ratios = [relative(made, pair, GPU, kind, n)[0] for n in SAMPLES]
                words = pair if line == "o-" else None
                right.plot(SAMPLES, ratios, line, color=colour, label=words)
        right.axhline(1, color=GREEN, label="the target alone")
        right.set(
            xscale="log",
            xticks=SAMPLES,
            xticklabels=[str(n) for n in SAMPLES],
            xlabel="samples a question",
            ylabel="GPU seconds by the target alone",
        )
        right.set_title("ATTS .4 on H100 (dotted: not cached)")
        right.legend(fontsize=6.5)


def draw_waiting(made: SimulatedRows) -> None:
    """What samples wait at barriers, by turns."""
    turns = [one.turns for one in made.waiting]
    with figure("waiting", height=2.6) as axes:
        axes.plot(turns, [one.waited for one in made.waiting], "o-", color=RED, label="waited")
        first = made.waiting[0]
        linear = [first.waited * n / first.turns for n in turns]
        axes.plot(turns, linear, "--", color=GREY, label="in proportion to turns")
        axes.set(xlabel="turns", ylabel="seconds a sample", xticks=turns)
        axes.legend()
