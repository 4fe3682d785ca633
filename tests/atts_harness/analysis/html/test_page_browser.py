"""The page as a person meets it: a real browser, no network, mouse or keyboard alone."""

import json
import re

import msgspec
import pytest
import report_material as material

from atts_harness.analysis.html.page import PageOptions, write_page
from atts_harness.analysis.leaderboard.rows import Interval
from atts_harness.records import SampleId

BOARD = "#leaderboard table.board"
ROWS = f"{BOARD} tbody tr:not([hidden])"


def ids(page):
    return page.eval_on_selector_all(ROWS, "rows => rows.map(row => row.dataset.row)")


def heading(page, title):
    return page.locator(f"{BOARD} thead button.sort", has_text=re.compile(f"^{re.escape(title)}$"))


def at(data, path):
    """A figure of `leaderboard.json` by its dotted path; None if it is not there."""
    found = data
    keys = path.split(".")
    while keys:
        if not isinstance(found, dict):
            return None
        # Keys may hold dots themselves (`calls.draft/draft.per_sample` does not, but might).
        found, keys = found.get(keys[0]), keys[1:]
    return found


def tab_to(page, selector, most=200):
    """Press Tab until the element has the focus."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} cannot be reached by Tab")


def test_it_loads_with_the_network_cut_and_says_nothing(made, visit):
    _, _, path = made
    page = visit(path)
    assert ids(page) == [row.id for row in made[0].rows]
    assert page.locator("figure svg:visible").count() >= 8


def test_the_policy_stops_what_the_page_itself_would_load(made, chromium):
    page = chromium.new_page()
    page.goto(made[2].as_uri())
    refused = page.evaluate(
        """async () => {
            const image = new Image();
            const tried = new Promise((done) => { image.onerror = () => done("refused"); });
            image.src = "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=";
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const fetched = await fetch("file:///etc/hostname").catch(() => "refused");
            return [await tried, fetched, window.ran === undefined];
        }"""
    )
    page.close()
    assert refused == ["refused", "refused", True]


def test_sorting_by_mouse_turns_the_order_round_and_puts_the_unknown_last(made, visit):
    leaderboard, _, path = made
    page = visit(path)
    known = [row for row in leaderboard.rows if row.tokens.target_computed is not None]
    unknown = [row.id for row in leaderboard.rows if row.tokens.target_computed is None]
    by_tokens = sorted(known, key=lambda row: row.tokens.target_computed)
    heading(page, "target computed").click()
    assert ids(page) == [row.id for row in reversed(by_tokens)] + unknown
    heading(page, "target computed").click()
    assert ids(page) == [row.id for row in by_tokens] + unknown
    assert page.locator(f"{BOARD} th[aria-sort=ascending]").count() == 1


def test_sorting_by_keyboard_alone(made, visit):
    leaderboard, _, path = made
    page = visit(path)
    tab_to(page, f"{BOARD} th.first button.sort")
    page.keyboard.press("Enter")
    assert ids(page) == [r.id for r in sorted(leaderboard.rows, key=lambda row: row.label)]
    page.keyboard.press("Space")
    assert ids(page)[0] == max(leaderboard.rows, key=lambda row: row.label).id


def test_the_filter_holds_for_tables_comparisons_and_figures(made, visit):
    _, _, path = made
    page = visit(path)
    frontier = "[data-figure=pareto-tokens] [data-frontier] path"
    # Drawn by the same rule in the figure and in the page: filtering nothing changes nothing.
    points = len(re.findall("[ML]", page.get_attribute(frontier, "d")))
    page.fill("#words", "rate=0.3")
    assert ids(page) == ["atts-0.3"]
    assert page.text_content("#count") == "1 of 5 rows"
    pairs = page.locator("#comparisons tbody tr:visible")
    assert pairs.evaluate_all("rows => rows.map(row => row.dataset.row)") == ["atts-0.3"]
    for figure in ("pareto-tokens", "turns", "latency", "cost"):
        shown = page.locator(f"[data-figure={figure}] svg [data-row]:visible")
        assert set(shown.evaluate_all("all => all.map(e => e.dataset.row)")) == {"atts-0.3"}
    assert len(re.findall("[ML]", page.get_attribute(frontier, "d"))) == 1
    page.click("#filters button[type=reset]")
    # A function: an expression that is polled is evaluated in the page, whose policy forbids it.
    page.wait_for_function(
        "words => document.getElementById('count').textContent === words", arg="5 of 5 rows"
    )
    assert len(re.findall("[ML]", page.get_attribute(frontier, "d"))) == points
    page.fill("#words", "no such row")
    assert page.locator("#leaderboard .nothing").is_visible()


def test_filtering_by_keyboard_alone(made, visit):
    _, _, path = made
    page = visit(path)
    tab_to(page, "#words")
    page.keyboard.type("target")
    assert ids(page) == ["target"]
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    tab_to(page, "select[data-filter=strategy]")
    page.keyboard.type("hf")
    assert ids(page) == ["hf"]


@pytest.mark.parametrize("words", ["", "atts", "target"])
def test_numbers_on_the_page_are_those_of_the_json(made, visit, words):
    leaderboard, _, path = made
    data = json.loads((path.parent / "leaderboard.json").read_text())
    rows = {row["id"]: row for row in data["rows"]}
    page = visit(path)
    page.check("#columns")
    page.fill("#words", words)
    shown = page.eval_on_selector_all(
        ROWS,
        """rows => rows.map(row => [row.dataset.row, row.cells[0].dataset.value,
            [...row.cells].slice(1).map(c => [c.dataset.key, c.dataset.value,
                c.querySelector("span").innerText])])""",
    )
    assert {id_ for id_, _, _ in shown} == {
        row.id for row in leaderboard.rows if words in f"{row.label} {row.strategy}"
    }
    compared = 0
    for id_, label, cells in shown:
        assert label == rows[id_]["label"]
        for key, value, text in cells:
            expected = at(rows[id_], key)
            if expected is None:
                # A kind of call that a row never made is known to be none, as in the text tables.
                none = "0" if key.startswith("calls.") and rows[id_]["calls"] else "–"
                assert (value, text) == ("", none), (id_, key)
                continue
            if isinstance(expected, str):
                assert text == expected
                continue
            compared += 1
            assert float(value) == expected, (id_, key)
            said = re.fullmatch(r"(\d[\d,]*(?:\.(\d+))?)([kMGT]?)×?", text)
            number, unit = float(said[1].replace(",", "")), 1000 ** " kMGT".index(said[3] or " ")
            digits = len(said[2] or "")
            assert abs(number - expected / unit) <= 0.5 * 10**-digits + 1e-9, (key, text)
    assert compared > 10 * len(shown) - 10


def test_comparisons_show_the_differences_of_the_json(made, visit):
    leaderboard, _, path = made
    page = visit(path)
    shown = page.eval_on_selector_all(
        "#comparisons td[data-key=difference]",
        "cells => cells.map(c => [c.dataset.value, c.querySelector('span').innerText])",
    )
    expected = [pair.difference.value for pair in leaderboard.tables[0].comparisons]
    assert [float(value) for value, _ in shown] == expected
    assert [text for _, text in shown] == [f"{v:+.3f}".replace("-", "−") for v in expected]
    verdicts = page.locator("#comparisons td[data-key=verdict]").all_inner_texts()
    for said, pair in zip(verdicts, leaderboard.tables[0].comparisons, strict=True):
        decided = "better" if pair.difference.value > 0 else "worse"
        assert said == (decided if pair.distinguishable else pair.words)


def sample_lines(page):
    return page.locator("#sample-list tbody tr")


def test_a_sample_opens_by_mouse_and_shows_turns_scores_and_decisions(made, visit):
    _, entries, path = made
    record = next(r for r in entries["atts-0.6"].records() if any(d.takeover for d in r.decisions))
    page = visit(path)
    page.select_option("#sample-filters select[data-field=row]", "atts-0.6")
    page.fill("#sample-words", str(record.id.doc))
    page.get_by_role("button", name=f"problem {record.id.doc}, repeat {record.id.repeat}").click()
    page.wait_for_selector("#sample .turn")
    grade = entries["atts-0.6"].grades[record.id]
    body = page.inner_text("#sample-body")
    assert f"Question {record.id.doc}: what is" in body
    assert re.search(rf"answer\s+{grade.answer}\s+gold\s+{2 * record.id.doc}\s", body)
    turns = page.locator("#sample .turn")
    assert turns.count() == len({segment.turn for segment in record.segments})
    for decision in record.decisions:
        words = turns.nth(decision.turn).locator(".decision").inner_text()
        assert words.startswith("target takes over" if decision.takeover else "draft stays")
        assert f"score {decision.nonconformity:.3f}" in words
        assert re.search(rf"p {decision.p_value:.3f} (≤|>) {decision.threshold:.3f}", words)
    texts = page.locator("#sample .segment pre").evaluate_all("all => all.map(e => e.textContent)")
    assert texts == [segment.text for segment in record.segments]
    authors = page.locator("#sample .segment").evaluate_all("all => all.map(e => e.dataset.author)")
    assert authors == [segment.author for segment in record.segments]


def test_a_sample_opens_and_closes_by_keyboard_alone(made, visit):
    _, _, path = made
    page = visit(path)
    tab_to(page, "nav a[href='#samples']")
    page.keyboard.press("Enter")
    tab_to(page, "#sample-list button.open")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sample .turn, #sample .lack")
    first = page.inner_text("#sample-title")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "t => document.getElementById('sample-title').textContent !== t", arg=first
    )
    tab_to(page, "#close")
    page.keyboard.press("Escape")
    assert not page.locator("#sample").is_visible()
    assert page.evaluate("document.activeElement.matches('#sample-list button.open')")


def test_samples_can_be_found(made, visit):
    _, entries, path = made
    page = visit(path)
    total = sum(len(entry.grades) for entry in entries.values())
    assert page.text_content("#sample-count") == f"{total} of {total} samples"
    page.check("#taken")
    records = [r for e in entries.values() for r in e.records()]
    taken = sum(any(d.takeover for d in r.decisions) for r in records)
    assert page.text_content("#sample-count") == f"{taken} of {total} samples"
    page.click("#sample-filters button[type=reset]")
    page.check("#disagree")
    differ = sum(
        len(set(g.answers.values())) > 1 for e in entries.values() for g in e.grades.values()
    )
    page.wait_for_function(
        "n => document.getElementById('sample-count').textContent.startsWith(n + ' ')",
        arg=str(differ),
    )
    page.uncheck("#disagree")
    page.select_option("#sample-filters select[data-field=verdict]", "wrong")
    verdicts = sample_lines(page).locator(".verdict").all_inner_texts()
    assert set(verdicts) == {"wrong"}


HOSTILE = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    "</textarea></script></template><a href='javascript:window.hacked=3'>x</a>"
    "{{ 7 * 7 }} ${window.hacked=4} \u2028 \x00 &lt;b&gt; \"'> "
)


def test_a_hostile_sample_shows_as_text(tmp_path, visit):
    long = HOSTILE + "x</script> " * 50_000 + "y</textarea>\n" * 50_000
    material.produce(tmp_path / "run", rate=0.3, problems=2)
    inner = material.beginning_with(material.entry_of(tmp_path / "run"), long)
    id_ = SampleId(material.TASK, 0, 0)
    other = material.plain_entry({id_: long}, prompt=HOSTILE, gold=HOSTILE)
    entries = {"run": inner, "plain": other}
    rows = [
        material.row_of("run", inner, label=HOSTILE, notes=(HOSTILE,), point={"mode": HOSTILE}),
        material.row_of("plain", other, HOSTILE),
    ]
    board = material.leaderboard_of(rows, entries, warnings=(HOSTILE,))
    path = tmp_path / "report.html"
    write_page(board, entries, path, options=PageOptions(title=HOSTILE))
    page = visit(path)
    scripts = page.locator("script").count()
    for row in ("run", "plain"):
        page.select_option("#sample-filters select[data-field=row]", row)
        sample_lines(page).first.locator("button").click()
        page.wait_for_function(
            "row => !document.getElementById('sample-body').ariaBusy"
            " && document.querySelectorAll('#sample-body pre').length > 1",
            arg=row,
        )
        texts = page.locator("#sample-body pre").evaluate_all("all => all.map(e => e.textContent)")
        assert texts[0] == (HOSTILE if row == "plain" else "Question 0: what is 0 + 0?")
        assert texts[1].startswith(long)
        assert page.locator("#sample-body pre").nth(1).inner_text().startswith("<script>window")
        page.click("#close")
    assert texts[1:] == [long]
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == scripts
    assert page.locator("main img, main a[href^='javascript'], main textarea").count() == 0
    assert HOSTILE.split("\u2028")[0].strip() in page.inner_text(".warnings")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_serious(made, visit, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="see the extra `dev`")
    page = visit(made[2], scheme=scheme, width=width)
    page.check("#columns")
    page.locator("details").evaluate_all("all => all.forEach(e => { e.open = true; })")
    found = list(axe.Axe().run(page).response["violations"])
    sample_lines(page).first.locator("button").click()
    page.wait_for_selector("#sample-body h4")
    found += axe.Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in serious] == []


def test_axe_sees_a_fault(chromium):
    """The check above would notice."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="see the extra `dev`")
    page = chromium.new_page()
    page.set_content("<html><body><input></body></html>")
    assert any(v["impact"] == "critical" for v in axe.Axe().run(page).response["violations"])
    page.close()


def test_nothing_is_wider_than_a_telephone(made, visit):
    page = visit(made[2], width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_light_and_dark(made, visit):
    colour = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(made[2]), visit(made[2], scheme="dark")
    before = light.evaluate(colour)
    assert before != dark.evaluate(colour)
    light.click("#theme")
    assert light.evaluate(colour) == dark.evaluate(colour)
    line = "getComputedStyle(document.querySelector('[data-figure=turns] [data-row] path')).stroke"
    assert light.evaluate(line) == dark.evaluate(line)
    light.click("#theme")
    assert light.evaluate(colour) == before


def test_what_a_row_does_not_have_is_said_in_words(made, visit):
    page = visit(made[2])
    page.select_option("#run", "hf")
    run = page.locator(".run:visible")
    assert run.count() == 1
    assert run.locator("svg").count() == 0
    assert run.locator("figure").count() == 4
    for words in run.locator("figure p.lack").all_inner_texts():
        assert "without a run directory" in words
    assert "hf" in page.locator("[data-figure=pareto-tokens] .lack").inner_text()
    page.select_option("#sample-filters select[data-field=row]", "hf")
    sample_lines(page).first.locator("button").click()
    page.wait_for_selector("#sample-body .lack")
    assert "It is 1." in page.inner_text("#sample-body")


def test_beyond_the_cap_the_page_says_how_many_are_left_out_and_where(made, tmp_path, visit):
    leaderboard, entries, _ = made
    path = tmp_path / "report.html"
    write_page(leaderboard, entries, path, options=PageOptions(most_samples=25))
    page = visit(path)
    words = page.locator("#samples .lack").inner_text()
    assert words.startswith("20 samples are in this page")
    assert "40 more are left out" in words
    assert str(entries["atts-0.3"].run_dir) in words
    assert sample_lines(page).count() == 20


def test_a_page_without_rows_or_with_one_problem_says_so(tmp_path, visit):
    empty = tmp_path / "empty.html"
    write_page(material.leaderboard_of([], {}, tables=()), {}, empty)
    page = visit(empty)
    assert "There is no row" in page.inner_text("#leaderboard")
    assert "no samples to look at" in page.inner_text("#samples")
    material.produce(tmp_path / "run", rate=0.3, problems=1)
    entry = material.entry_of(tmp_path / "run")
    row = material.row_of("run", entry)
    assert row.pass_1.low is None
    one = tmp_path / "one.html"
    write_page(material.leaderboard_of([row], {"run": entry}), {"run": entry}, one)
    page = visit(one)
    assert "One problem only: there is no interval" in page.inner_text("#leaderboard")
    assert page.locator(f"{BOARD} td[data-key='pass_at.1.value'] small").count() == 0


def test_an_ungraded_row_is_a_dash_and_not_a_nought(tmp_path, visit):
    material.produce(tmp_path / "run", rate=0.3)
    entry = material.entry_of(tmp_path / "run")
    row = msgspec.structs.replace(material.row_of("run", entry), pass_at={})
    other = material.row_of("other", entry, pass_at={"1": Interval(value=0.0)})
    path = tmp_path / "report.html"
    write_page(material.leaderboard_of([row, other], {"run": entry}), {"run": entry}, path)
    page = visit(path)
    cells = page.locator(f"{BOARD} td[data-key='pass_at.1.value'] span").all_inner_texts()
    assert cells == ["–", "0.000"]
