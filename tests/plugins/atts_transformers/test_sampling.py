"""Draws against the distribution they are drawn from, and filters against their definition."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from atts_transformers.sampling import draw, uniform

from atts_harness.backend import Sampling

relaxed = settings(deadline=None)
PROBABILITIES = [0.4, 0.3, 0.15, 0.1, 0.05]
LOGITS = torch.tensor([PROBABILITIES]).log()


def frequencies(sampling: Sampling, count: int = 2000) -> list[float]:
    """Shares of each id over evenly spaced uniform numbers: exact to 1 / count."""
    uniforms = [(n + 0.5) / count for n in range(count)]
    drawn = draw(LOGITS.expand(count, -1), [sampling] * count, uniforms)
    return [float((drawn == id_).double().mean()) for id_ in range(len(PROBABILITIES))]


def normalised(weights: list[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize(
    ("sampling", "weights"),
    [
        (Sampling(temperature=1.0), PROBABILITIES),
        (Sampling(temperature=0.5), [p**2 for p in PROBABILITIES]),
        (Sampling(temperature=2.0), [math.sqrt(p) for p in PROBABILITIES]),
        (Sampling(temperature=0.0), [1, 0, 0, 0, 0]),
        (Sampling(temperature=1.0, top_k=2), [0.4, 0.3, 0, 0, 0]),
        (Sampling(temperature=1.0, top_k=99), PROBABILITIES),
        # The token that reaches top_p is kept.
        (Sampling(temperature=1.0, top_p=0.71), [0.4, 0.3, 0.15, 0, 0]),
        (Sampling(temperature=1.0, top_p=0.69), [0.4, 0.3, 0, 0, 0]),
        (Sampling(temperature=1.0, top_p=1e-9), [1, 0, 0, 0, 0]),
        (Sampling(temperature=1.0, min_p=0.3), [0.4, 0.3, 0.15, 0, 0]),
        (Sampling(temperature=1.0, min_p=1.0), [1, 0, 0, 0, 0]),
        # top_k first, then top_p of what is left.
        (Sampling(temperature=1.0, top_k=2, top_p=0.5), [1, 0, 0, 0, 0]),
        (Sampling(temperature=1.0, top_k=4, min_p=0.5), [0.4, 0.3, 0, 0, 0]),
    ],
    ids=str,
)
def test_shares_are_the_probabilities(sampling: Sampling, weights: list[float]) -> None:
    assert frequencies(sampling) == pytest.approx(normalised(weights), abs=2e-3)


def test_rows_have_settings_of_their_own() -> None:
    samplings = [
        Sampling(temperature=0.0),
        Sampling(temperature=1.0),
        Sampling(temperature=1.0, top_k=1),
    ]
    assert draw(LOGITS.expand(3, -1), samplings, [0.99, 0.99, 0.99]).tolist() == [0, 4, 0]


@relaxed
@given(
    st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=20),
    st.floats(0.1, 3),
    st.integers(0, 5),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.integers(0, 2**48 - 1),
)
def test_a_draw_does_not_depend_on_its_neighbours(
    logits: list[float], heat: float, top_k: int, top_p: float, min_p: float, number: int
) -> None:
    sampling = Sampling(temperature=heat, top_k=top_k, top_p=top_p, min_p=min_p)
    row = torch.tensor([logits])
    u = number / 2**48
    alone = int(draw(row, [sampling], [u]))
    among = torch.cat([torch.randn(3, len(logits)), row, torch.randn(2, len(logits))])
    others = [Sampling(temperature=0.0), Sampling(), Sampling(top_p=0.5)]
    together = draw(among, [*others, sampling, *others[:2]], [0.1, 0.9, 0.5, u, 0.2, 0.3])
    assert int(together[3]) == alone
    assert 0 <= alone < len(logits)
    # Never something that has no probability.
    assert torch.softmax(row.double() / heat, -1)[0, alone] > 0


def test_streams_stay_below_one_and_repeat() -> None:
    first, second = random.Random(5), random.Random(5)
    values = [uniform(first) for _ in range(1000)]
    assert values == [uniform(second) for _ in range(1000)]
    assert 0 <= min(values) < max(values) < 1
    assert len(set(values)) == 1000
