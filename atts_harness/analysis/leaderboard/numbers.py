"""How numbers are written, the same in every output."""

from __future__ import annotations

from atts_harness.analysis.leaderboard.rows import Interval

UNKNOWN = "–"


def share(value: float) -> str:
    """A share to three places."""
    return f"{value:.3f}"


def ends(interval: Interval | None) -> str:
    """The interval of a share; "" if there is none."""
    if interval is None or interval.low is None or interval.high is None:
        return ""
    return f"{interval.low:.3f}–{interval.high:.3f}"


def signed_ends(interval: Interval) -> str:
    """The interval of a difference."""
    if interval.low is None or interval.high is None:
        return UNKNOWN
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


def count(value: float) -> str:
    """A number of samples."""
    return f"{value:,.0f}"


def mean(value: float) -> str:
    """A mean number of tokens."""
    return f"{value:,.1f}" if 0 < value < 100 else f"{value:,.0f}"


def seconds(value: float) -> str:
    """Seconds, with fewer decimals for larger values."""
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def figure(value: float) -> str:
    """Three figures."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ratio(value: float) -> str:
    """How many times."""
    return f"{value:.2f}×"


def probability(value: float | None) -> str:
    """A p-value."""
    if value is None:
        return UNKNOWN
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(level: float) -> str:
    """A level of confidence."""
    return f"{100 * level:g} %"


def short(value: float) -> str:
    """Three figures and a letter for the power of ten: 1.5k, 20M, 3.2T."""
    for power, letter in (
        *((1e18, "E"), (1e15, "P"), (1e12, "T")),
        *((1e9, "G"), (1e6, "M"), (1e3, "k")),
    ):
        if abs(value) >= power:
            return f"{value / power:.3g}{letter}"
    return f"{value:.3g}"
