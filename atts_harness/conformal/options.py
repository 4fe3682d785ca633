"""The settings of calibration and takeover control."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

import msgspec

from atts_harness.errors import SettingError
from atts_harness.turns import TurnOptions

Source = Literal["file", "online", "presample"]


class Coverage(StrEnum):
    """What a bank is kept for: the task, each turn, each problem, or each turn of each problem."""

    MARGINAL = "marginal"
    TURN = "turn"
    CONDITIONAL = "conditional"
    CONDITIONAL_TURN = "conditional+turn"

    @property
    def by_turn(self) -> bool:
        """Whether turns have banks of their own."""
        return self in (Coverage.TURN, Coverage.CONDITIONAL_TURN)

    @property
    def by_problem(self) -> bool:
        """Whether problems have banks of their own."""
        return self in (Coverage.CONDITIONAL, Coverage.CONDITIONAL_TURN)

    def bank(self, doc: int, turn: int) -> str:
        """The name of the bank that a turn of a problem belongs to, unique within a task."""
        parts = []
        if self.by_problem:
            parts.append(f"question {doc}")
        if self.by_turn:
            parts.append(f"turn {turn}")
        return "/".join(parts) or "marginal"


class CalibrationOptions(TurnOptions, frozen=True, kw_only=True):
    """Which share of the scored turns the target takes over, and how that share is kept.

    Checked by `checked`, which every user of the options calls (`make_policy` does).
    """

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("rate", "budget"),)

    rate: Annotated[
        float,
        msgspec.Meta(ge=0, le=1, description="share of scored turns that the target takes over"),
    ] = 0.4
    budget: Annotated[
        str | None,
        msgspec.Meta(description="the rate as B/m: B takeovers in m samples; instead of `rate`"),
    ] = None
    calibration: Annotated[
        Literal["auto", "file", "online", "presample"],
        msgspec.Meta(
            description="where the bank's scores come from: a file, the run's earlier scores, or "
            "each problem's first drafts; auto: file if `bank` is given, else online"
        ),
    ] = "auto"
    bank: Annotated[
        str | None,
        msgspec.Meta(description="bank file, or a folder with one for each task"),
    ] = None
    coverage: Annotated[
        Coverage,
        msgspec.Meta(
            description="which scores form one bank: those of the task (marginal), of a turn, of "
            "a problem (conditional), or of a turn of a problem"
        ),
    ] = Coverage.TURN
    pvalue: Annotated[
        Literal["pooled", "hierarchical"],
        msgspec.Meta(
            description="pooled: scores count alike (exact for exchangeable scores); "
            "hierarchical: questions count alike (a bound when questions have repeats)"
        ),
    ] = "pooled"
    ties: Annotated[
        Literal["random", "conservative"],
        msgspec.Meta(
            description="how a score ranks among equal ones: by a seeded draw, or with the larger "
            "p-value (conservative)"
        ),
    ] = "random"
    control: Annotated[
        Literal["auto", "fixed", "adaptive"],
        msgspec.Meta(
            description="the threshold: equal to the rate (fixed), or moved so that the realised "
            "rate stays near it (adaptive); auto: adaptive if scores come online, else fixed"
        ),
    ] = "auto"
    rule: Annotated[
        Literal["pvalue", "reference"],
        msgspec.Meta(description="p <= rate, or as published: percentile >= 1 - rate"),
    ] = "pvalue"

    def __post_init__(self) -> None:
        """Accept the name of a coverage, too."""
        msgspec.structs.force_setattr(self, "coverage", Coverage(self.coverage))

    @property
    def source(self) -> Source:
        """The calibration source, `auto` resolved."""
        if self.calibration == "auto":
            return "online" if self.bank is None else "file"
        return self.calibration

    @property
    def controller(self) -> Literal["fixed", "adaptive"]:
        """The control, `auto` resolved.

        Short drafts arrive first, and short is not bad. If scores rank online and the threshold is
        fixed, the realised rate of an asynchronous run drifts from the nominal one.
        """
        if self.control == "auto":
            adapts = self.source == "online" and self.rule == "pvalue"
            return "adaptive" if adapts else "fixed"
        return self.control

    @property
    def nominal(self) -> float:
        """The nominal rate r: `budget` where it is given, else `rate`.

        Raises:
            SettingError: outside [0, 1], or a budget that is not B/m.
        """
        if self.budget is None:
            if not 0.0 <= self.rate <= 1.0:
                raise SettingError(f"rate={self.rate}: must lie in [0, 1]")
            return self.rate
        head, slash, tail = self.budget.partition("/")
        try:
            takeovers, samples = _count(head), _count(tail)
        except ValueError:
            slash = ""
        if not slash or not 0 <= takeovers <= samples or samples < 1:
            raise SettingError(
                f"budget={self.budget!r}: must be B/m with 0 <= B <= m and m >= 1, such as 6/16"
            )
        if not math.isclose(self.rate, 0.4) and not math.isclose(self.rate, takeovers / samples):
            raise SettingError(
                f"budget={self.budget} and rate={self.rate} disagree: give one of them"
            )
        return takeovers / samples

    def checked(self) -> Self:
        """These options.

        Raises:
            SettingError: settings that exclude each other; the message names the remedy.
        """
        self.nominal  # noqa: B018  (raises)
        source = self.source
        if source == "file" and self.bank is None:
            raise SettingError("calibration=file needs bank=PATH; `atts calibrate` makes one")
        if source != "file" and self.bank is not None:
            raise SettingError(
                f"bank={self.bank} is not used by calibration={source}: drop one of them"
            )
        if self.pvalue == "hierarchical" and self.coverage.by_problem:
            raise SettingError(
                f"pvalue=hierarchical compares questions, and coverage={self.coverage} "
                "ranks within one: use coverage=turn or marginal, or pvalue=pooled"
            )
        if self.rule == "reference":
            self._check_reference(source)
        return self

    def _check_reference(self, source: Source) -> None:
        if source == "online":
            raise SettingError(
                "rule=reference has no percentile before the first score: give bank=PATH, or "
                "calibration=presample"
            )
        if self.pvalue != "pooled" or self.controller != "fixed":
            raise SettingError(
                "rule=reference is the published rule, without pvalue=hierarchical and "
                "control=adaptive: drop them, or rule=reference"
            )


def _count(text: str) -> int:
    """Plain digits as a number; `int` reads underscores, blanks and signs, too."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)
