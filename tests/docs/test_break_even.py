"""The closed form on uneven turns; the page to try it on draws what the package says."""

import itertools
from pathlib import Path

import pytest

from atts_harness.simulation.breakeven import break_even_rate, relative_cost
from atts_harness.simulation.published import published_trace
from benchmarks.pays.breakeven import check
from benchmarks.pays.pairs import PAIRS

PAGE = Path(__file__).parents[2] / "docs" / "figures" / "break-even.html"
GRID = list(itertools.product((1.1, 2.0, 9.0), (0.0, 0.1, 1.2), (0.3, 1.0), (0.8, 1.0, 1.4)))


@pytest.fixture(scope="module")
def opened(chromium):
    page = chromium.new_page()
    page.asked, page.said = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.goto(PAGE.as_uri())
    yield page
    page.close()


@pytest.mark.parametrize(
    ("pair", "gpu", "cached"), [(PAIRS[0], "h100", True), (PAIRS[2], "a100", False)]
)
def test_the_closed_form_holds_where_turns_and_samples_differ_in_length(pair, gpu, cached):
    """Samples have 1 to 15 turns, and one takeover in ten has no text."""
    made = check(pair, gpu, published_trace(60, 1), rate=0.4, cached=cached)
    assert abs(made.error) < 0.02


def test_it_loads_nothing_but_itself(opened):
    assert opened.asked == [PAGE.as_uri()]
    assert opened.said == []


@pytest.mark.parametrize("rate", [0.0, 0.4, 0.9])
def test_it_counts_as_the_package_does(opened, rate):
    given = [(rho, sigma, rate, w, 1 - rate, longer) for rho, sigma, w, longer in GRID]
    drawn = opened.evaluate("all => all.map(one => relativeCost(...one))", given)
    said = [
        relative_cost(rho, sigma, rate, takeover=w, acceptance=a, longer=longer)
        for rho, sigma, rate, w, a, longer in given
    ]
    assert drawn == pytest.approx(said)


@pytest.mark.parametrize("replaces", [False, True])
def test_it_says_the_same_rates(opened, replaces):
    given = [(rho, sigma, w, replaces, longer) for rho, sigma, w, longer in GRID]
    drawn = opened.evaluate("all => all.map(one => breakEvenRate(...one))", given)
    said = [
        break_even_rate(rho, sigma, takeover=w, replaces=replaces, longer=longer)
        for rho, sigma, w, _, longer in given
    ]
    assert drawn == pytest.approx(said)


def test_every_pair_starts_from_its_own_numbers(opened):
    """No slider is too short for them."""
    wrong = opened.evaluate(
        """() => data.flatMap((one) => [true, false].filter((cached) => {
          $("pair").value = one.pair; $("gpu").value = one.gpu; $("course").value = one.course;
          $("batch").value = one.batch; $("cached").checked = cached;
          start();
          const now = state(), sigma = cached ? one.cached : one.uncached;
          return Math.abs(now.rho / one.rho - 1) > 0.01 || Math.abs(now.sigma - sigma) > 0.001;
        }).map((cached) => [one.pair, one.gpu, one.course, one.batch, cached]))"""
    )
    opened.reload()
    assert wrong == []


def test_moving_the_score_moves_the_verdict(opened):
    words = opened.locator("#said")
    opened.select_option("#pair", label="R1-8B + QwQ-32B")
    assert "times as cheap as" in words.inner_text()
    opened.locator("#sigma").fill("1.5")
    assert words.inner_text().count("times as dear as") == 2
    opened.locator("#cached").uncheck()  # back to what the pair has
    assert "times as cheap as" in words.inner_text()
