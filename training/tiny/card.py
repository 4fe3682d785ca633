"""The model card: a template filled from what the evaluation wrote, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]

GOALS = (
    ("target pass@1, easy", ("target", "easy", "value"), ">=", 0.95),
    ("target pass@1, hard", ("target", "hard", "value"), ">=", 0.80),
    ("target pass@1, easy and hard", ("target", "mixed", "value"), ">=", 0.90),
    ("draft pass@1, easy and hard", ("draft", "mixed", "value"), ">=", 0.25),
    ("draft pass@1, easy and hard", ("draft", "mixed", "value"), "<=", 0.60),
    ("draft pass@16", ("draft", "mixed", "pass_at_all"), "<", 0.95),
    ("AUROC of target perplexity", ("detection", "value"), ">=", 0.90),
    ("AUROC of the judge's digit", ("judge", "digit", "value"), ">=", 0.75),
    ("repaired draft errors", ("repair", "value"), ">=", 0.60),
    ("accepted by the judge at 7", ("judge", "accepted_at_7", "value"), ">=", 0.20),
    ("accepted by the judge at 7", ("judge", "accepted_at_7", "value"), "<=", 0.90),
)
"""What the pair is meant to reach: a name, where the figure stands, and the bound."""


def look_up(figures: Figures, place: tuple[str, ...]) -> Any:
    """The figure at a place such as ``("target", "easy", "value")``."""
    value: Any = figures
    for key in place:
        value = value[key]
    return value


def reached(value: float, sign: str, bound: float) -> bool:
    """Whether a figure meets its bound."""
    return {">=": value >= bound, "<=": value <= bound, "<": value < bound}[sign]


def number(value: float | None, digits: int = 3) -> str:
    """A figure as text; a dash where it is not defined."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(figure: Figures) -> str:
    """A figure with its 95 % interval."""
    if figure.get("low") is None:
        return number(figure["value"])
    return f"{number(figure['value'])} [{number(figure['low'])}, {number(figure['high'])}]"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _shares(shares: Figures) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def render_card(figures: Figures, training: Figures | None) -> str:
    """The card as Markdown.

    Args:
        figures: What ``python -m training.tiny.evaluate`` wrote.
        training: What ``python -m training.tiny.train`` wrote beside the weights, if it is there.
    """
    parts = [
        _about(figures, training),
        _accuracy(figures),
        _signals(figures),
        _steps(figures),
    ]
    if figures.get("arms"):
        parts.append(_arms(figures["arms"]))
    parts.append(LIMITS)
    return "\n\n".join(parts) + "\n"


def _about(figures: Figures, training: Figures | None) -> str:
    sizes = "; ".join(
        f"{role} {figures['parameters'][role]:,} parameters, {figures['bytes'][role] / 1e6:.2f} MB"
        for role in ("draft", "target")
    )
    goals = [
        [
            name,
            f"{sign} {bound}",
            number(look_up(figures, place)),
            "yes" if reached(look_up(figures, place), sign, bound) else "**no**",
        ]
        for name, place, sign, bound in GOALS
    ]
    provenance = ""
    if training is not None:
        provenance = (
            f" They were trained by `make train-tiny` ({_machines(training['stages'])}). Another"
            " version, processor or precision gives other weights; the script then says so."
        )
    return f"""# Model card: the embedded pair

Two Llamas that solve chains of arithmetic step by step ({sizes}, fp16). They exist so that every
strategy of the harness can run with real models on any machine, in seconds. They can do nothing
else.{provenance}

All figures below were measured by `{figures["command"]}` on {figures["problems"]} held-out problems
x {figures["repeats"]} samples at temperature {figures["temperature"]}. They are in
`models/evaluation.json`. Intervals are 95 %, over problems.

{_table(["aim", "bound", "measured", "reached"], goals)}"""


def _machines(stages: Figures) -> str:
    """Which stages were trained where."""
    stages_of: dict[str, list[str]] = {}
    for name, stage in stages.items():
        machine, precision = stage["machine"], stage["plan"]["precision"]
        stages_of.setdefault(f"torch {machine['torch']}, {machine['cpu']}, {precision}", []).append(
            name
        )
    return "; ".join(f"{', '.join(names)}: {place}" for place, names in stages_of.items())


def _accuracy(figures: Figures) -> str:
    rows = []
    for level in ("easy", "hard", "mixed", "shifted"):
        row = [level]
        for role in ("draft", "target"):
            figure = figures[role][level]
            row += [
                interval(figure),
                number(figure["pass_at_all"]),
                number(figure["tokens"], 0),
            ]
        rows.append(row)
    head = ["level", "draft pass@1", "pass@all", "tokens"]
    head += ["target pass@1", "pass@all", "tokens"]
    sizes = [
        [size, number(figures["draft"]["by_operations"][size]), number(value)]
        for size, value in figures["target"]["by_operations"].items()
    ]
    return f"""## Accuracy

{_table(head, rows)}

`mixed` is the task `atts_chain`: easy and hard problems in turn. By number of operations:

{_table(["operations", "draft pass@1", "target pass@1"], sizes)}"""


def _signals(figures: Figures) -> str:
    judge, repair = figures["judge"], figures["repair"]
    rows = [
        [
            name,
            interval(figure),
            number(figure["within_problems"]),
            f"{figure['wrong_steps']:,} of {figure['steps']:,}",
        ]
        for name, figure in (
            ("target perplexity", figures["detection"]),
            ("target perplexity, shifted", figures["detection_shifted"]),
            ("judge: digit", judge["digit"]),
            ("judge: mean digit", judge["mean_digit"]),
        )
    ]
    repaired = _shares(repair["by_error"])
    return f"""## Finding and undoing the draft's wrong steps

A step is wrong if it does not follow from the steps before it.

{_table(["signal", "AUROC", "within problems", "wrong steps"], rows)}

- The judge accepts {interval(judge["accepted_at_7"])} of the draft's steps at threshold 7; its
  reply is not a digit in {judge["not_a_digit"]:.2%} of cases. Digits 0-9: {judge["histogram"]}.
- If the draft's first wrong step stays in the context, the target's next step undoes it with
  probability {interval(repair)} ({repair["cases"]:,} cases; {repaired}). The
  draft alone does so with probability {interval(figures["self_repair"])}.
- If a right step is cut at a random place, the target finishes it correctly with probability
  {interval(figures["cut"])}."""


def _steps(figures: Figures) -> str:
    rows = [
        [
            role,
            number(figures[role]["mixed"]["steps"], 1),
            f"{figures[role]['mixed']['step_errors']:.1%}",
            _shares(figures[role]["mixed"]["errors"]),
            f"{figures[role]['mixed']['reflections']:.1%}",
            _shares(figures[role]["keywords"]),
            f"{figures[role]['mixed']['premature']:.2%}",
            f"{figures[role]['mixed']['unanswered']:.2%}",
        ]
        for role in ("draft", "target")
    ]
    head = ["model", "steps", "wrong", "kinds", "reflections", "keyword classes"]
    head += ["premature", "unanswered"]
    return f"## Steps\n\n{_table(head, rows)}"


def _arms(arms: list[Figures]) -> str:
    rows = []
    for row in arms:
        cells = [f"{row['rate']:.1f}"]
        for arm in ("continue", "replace", "random"):
            figure = row[arm]
            cells += [interval(figure), number(figure["realised_rate"])]
        rows.append(cells)
    head = ["nominal rate", "continue", "realised", "replace", "realised", "random", "realised"]
    return f"""## Taking over

ATTS takes one reasoning step a turn and has one bank for all steps. Random takeover replaces steps
at the rate that `replace` realised. Pass@1 on `mixed`, 4 samples a problem.

{_table(head, rows)}"""


LIMITS = """## Limits

- The vocabulary is the language of the problems; other text is spelled in bytes and means nothing
  to the models.
- The judge was trained on one question, word for word: the one in `training.tiny.language`.
- The target learnt to judge and repair on the mistakes of a sparring partner: a draft of the same
  shape and the same seed as the shipped one, trained a little longer. It never saw the shipped
  one, but the two are closely related: on other drafts it may be worse than the figures say."""
