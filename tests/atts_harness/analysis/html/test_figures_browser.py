"""Figures and print as a browser lays them out: with few rows, and with many long names."""

import pytest
import report_material as material

from atts_harness.analysis.html.page import write_page


@pytest.fixture(scope="module")
def crowded(made, tmp_path_factory):
    path = tmp_path_factory.mktemp("crowd") / "report.html"
    write_page(*material.crowd(made[1]), path)
    return path


@pytest.mark.parametrize("width", [1280, 400])
def test_no_text_of_a_figure_lies_on_another_or_leaves_it(
    made, crowded, visit, faults_of_figures, width
):
    for path in (made[2], crowded):
        page = visit(path, width=width)
        assert faults_of_figures(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_name_in_the_key_stays_while_one_of_its_rows_is_shown(crowded, visit):
    page = visit(crowded)
    names = page.locator("[data-figure=pareto-tokens] [data-any]")
    rows = names.evaluate_all("all => all.map(e => e.dataset.row.split(' '))")
    assert rows
    several = next((ids for ids in rows if len(ids) > 1), rows[0])
    page.fill("#words", several[0])
    page.wait_for_function("() => document.getElementById('count').textContent.startsWith('1 of ')")
    shown = page.locator("[data-figure=pareto-tokens] [data-any]:visible")
    assert shown.evaluate_all("all => all.map(e => e.dataset.row.split(' ')[0])")
    assert all(
        several[0] in ids.split() for ids in shown.evaluate_all("a => a.map(e => e.dataset.row)")
    )


def test_a_print_is_light_and_has_every_column_and_the_colours_of_the_key(made, visit):
    page = visit(made[2], scheme="dark")
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    colour = "getComputedStyle(document.body).color"
    dark = page.evaluate(colour)
    page.emulate_media(media="print")
    assert page.evaluate(colour) == "rgb(27, 31, 36)" != dark
    assert not page.locator(".hint:visible").count()
    ends = "all => all.map(e => e.getBoundingClientRect().right)"
    assert max(page.locator("table:visible").evaluate_all(ends)) <= 1280
    key = "getComputedStyle(document.querySelector('.board .key')).printColorAdjust"
    assert page.evaluate(key) == "exact"
