"""A plan's page as a person meets it: a real browser, no network."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from atts_harness.simulation.costs import gpu_of
from atts_harness.simulation.page import write_plan
from atts_harness.simulation.plans import SimulationPlan, plan_rows
from atts_harness.simulation.published import published_trace
from atts_harness.simulation.tables import shown_plan
from atts_harness.simulation.timeline import timeline

PAIR = ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Qwen/QwQ-32B")
ROWS = "table.board tbody tr"


@pytest.fixture(scope="module")
def rows_and_page(tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "plan.html"
    with ThreadPoolExecutor(1) as threads:  # the browser has an event loop in this one
        return threads.submit(write, path).result(), path


def write(path):
    trace = published_trace(questions=2, repeats=4)
    plan = SimulationPlan(*PAIR, gpu_of("h100"), 3, trace, split=(1, 2), price=2.5)
    rows = plan_rows(plan, ["synchronous", "atts"], {"repeats": ["1", "8"]})
    write_plan(shown_plan(plan), rows, ["A further line."], path, [timeline(plan, rows)])
    return rows


def labels(page):
    return page.eval_on_selector_all(f"{ROWS} th", "all => all.map(e => e.dataset.value)")


def test_rows_sort_by_what_they_took(visit, rows_and_page):
    rows, path = rows_and_page
    page = visit(path)
    assert labels(page) == [row.label for row in rows]
    page.locator("table.board thead button.sort", has_text="makespan s").click()
    slowest_first = sorted(rows, key=lambda row: -row.makespan)
    assert labels(page) == [row.label for row in slowest_first]
    longest = page.locator(f"{ROWS}:first-child td[data-key='speed.makespan'] span").text_content()
    assert longest == f"≥{slowest_first[0].makespan:,.1f}"


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_screen(visit, rows_and_page, faults_of_figures, width):
    page = visit(rows_and_page[1], width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("figure svg:visible").count() == 5
    assert faults_of_figures(page) == []
    if width == 400:  # the table and the timeline are, and say so
        hints = page.locator(".hint:visible")
        assert hints.count() == 2
        assert "scroll sideways" in hints.first.text_content()


def test_a_stroke_of_the_timeline_says_how_many_calls_it_is(visit, rows_and_page):
    page = visit(rows_and_page[1])
    titles = page.locator("[data-figure=timeline] svg title").all_text_contents()
    assert any(title.startswith("draft: ") and title.endswith(" calls") for title in titles)


def test_the_theme_follows_the_system_and_the_button(visit, rows_and_page):
    page = visit(rows_and_page[1], scheme="dark")
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) == "rgb(255, 255, 255)" != dark


def test_print_shows_every_column_and_no_button(visit, rows_and_page):
    page = visit(rows_and_page[1])
    page.emulate_media(media="print")
    assert not page.locator("#theme").is_visible()
    assert not page.locator(".hint:visible").count()
    last = page.locator("table.board thead th").last.bounding_box()
    assert last["x"] + last["width"] <= 1280
