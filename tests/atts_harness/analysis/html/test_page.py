"""What the page is made of, without a browser."""

import base64
import hashlib
import itertools
import json
import re
import subprocess
import zlib
from xml.etree import ElementTree

import msgspec
import pytest
import report_material as material
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.analysis.html.draw import marker, themed_svg
from atts_harness.analysis.html.figures import NAMES, comparing
from atts_harness.analysis.html.figures_run import memory, of_run, rate_by_turn, slots
from atts_harness.analysis.html.page import script_json, write_page
from atts_harness.analysis.html.samples import FIELDS, Browser, add_row, kept_documents
from atts_harness.analysis.html.series import COLOURED, points_of
from atts_harness.analysis.html.style import LIGHT, SERIES
from atts_harness.analysis.html.view import accuracy_within, read_row, timeline
from atts_harness.analysis.leaderboard.rows import Row, RowSource
from atts_harness.analysis.statistics import clustered_mean
from atts_harness.backend import Usage
from atts_harness.errors import SettingError
from atts_harness.journal.reader import open_run
from atts_harness.records import CallKey, CallRecord, SampleId, SampleRecord


def test_the_policy_forbids_every_load_and_names_the_page_own_script(made):
    text = made[2].read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    script = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_nothing_in_the_page_names_another_place(made):
    text = made[2].read_text()
    # Names of XML's namespaces are names, not addresses.
    named = set(re.findall(r"https?://[^\s\"'<>)]+", text))
    assert named <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert not re.search(r"@import|url\((?!#)", text)


def test_ids_in_the_page_are_unique(made):
    found = re.findall(r'\sid="([^"]+)"', made[2].read_text())
    assert len(found) == len(set(found))
    referred = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', made[2].read_text()))
    assert referred <= set(found)


def test_the_figure_of_extraction_tells_the_share_of_undecided_answers(made, tmp_path):
    leaderboard, entries, _ = made
    graded = leaderboard.rows[0]
    other = msgspec.structs.replace(graded, undecided=graded.samples)
    rows = [other if row.id == graded.id else row for row in leaderboard.rows]
    page = tmp_path / "undecided.html"
    write_page(msgspec.structs.replace(leaderboard, rows=rows), entries, page)
    (figure,) = re.findall(r'<figure [^>]*"disagree">.*?</figure>', page.read_text(), re.S)
    assert '<th scope="col" class="n">undecided</th>' in figure
    (line,) = re.findall(rf'<tr data-row="{re.escape(graded.id)}">.*?</tr>', figure, re.S)
    assert line.endswith('<td class="n">1.000</td></tr>')


def test_the_same_report_gives_the_same_page(made, tmp_path):
    leaderboard, entries, page = made
    again = tmp_path / "again.html"
    write_page(leaderboard, entries, again)
    assert again.read_bytes() == page.read_bytes()


@settings(deadline=None)
@given(st.text())
def test_json_in_a_script_element_cannot_end_it(text):
    shown = str(script_json([text]))
    assert not set("<>&") & set(shown)
    assert json.loads(shown) == [text]


def inflated(block):
    return json.loads(zlib.decompress(base64.b64decode(block), -15))


def test_every_sample_is_in_the_browser_with_its_turns(made):
    _, entries, _ = made
    entry, browser = entries["atts-0.6"], Browser()
    records = list(entry.records())
    add_row(browser, "x", entry, {0, 1, 2, 3, 4, 5})
    assert browser.count == len(records) == len(browser.lines)
    blocks = [inflated(block) for block in browser.blocks]
    for values, record in zip(browser.lines, records, strict=True):
        line = dict(zip(FIELDS, values, strict=True))
        assert SampleId(material.TASK, line["doc"], line["repeat"]) == record.id
        assert line["takeovers"] == sum(d.takeover for d in record.decisions)
        sample = blocks[line["block"]][line["place"]]
        texts = [s["text"] for turn in sample["turns"] for s in turn["segments"]]
        assert sorted(texts) == sorted(s.text for s in record.segments)
        decided = [turn["decision"]["p"] for turn in sample["turns"] if "decision" in turn]
        assert decided == [d.p_value for d in record.decisions]


def test_what_is_left_out_is_left_out_of_every_row_alike(made):
    _, entries, _ = made
    kept = kept_documents(entries, 25)
    assert set(map(frozenset, kept.values())) == {frozenset({0, 1})}
    assert kept_documents(entries, 60) == {row: set(range(6)) for row in entries}
    assert kept_documents(entries, 0) == {row: set() for row in entries}


def finished(doc, repeat, turns):
    return SampleRecord(
        id=SampleId("t", doc, repeat), strategy="s", text="", finish="eos", turns=turns
    )


def test_accuracy_within_turns_counts_later_samples_as_wrong():
    samples = [finished(0, 0, 1), finished(0, 1, 3), finished(1, 0, 2), finished(1, 1, 9)]
    right = {s.id: s.turns != 3 for s in samples[:3]}  # the last one is not graded
    found = [(w.turns, w.right, w.ended) for w in accuracy_within(samples, right)]
    # question 0: one of two right from turn 1 on; question 1: right from turn 2 on
    assert found == [(1, 0.25, 1 / 3), (2, 0.75, 2 / 3), (3, 0.75, 1.0)]


def call(n, sent, done, role="draft", kind="draft"):
    key = CallKey(SampleId("t", 0, n), kind, role, 0)
    return CallRecord(key=key, request_hash="", sent=sent, done=done)


def test_calls_take_the_lowest_free_slot_of_their_lane():
    calls = [call(0, 0, 3), call(1, 1, 2), call(2, 2, 4), call(3, 3.5, 5)]
    calls.append(call(4, 1, 2, "target", "score"))
    found = {bar.sample.repeat: (bar.lane, bar.slot) for bar in timeline(calls)}
    assert found == {
        0: ("draft", 0),
        1: ("draft", 1),
        2: ("draft", 1),
        3: ("draft", 0),
        4: ("score", 0),
    }
    assert len(timeline(calls, most=2)) == 2


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 9)), min_size=1, max_size=40))
def test_calls_on_one_slot_never_overlap(spans):
    bars = timeline([call(n, sent, sent + long) for n, (sent, long) in enumerate(spans)])
    assert len(bars) == len(spans)
    for one, two in itertools.combinations(bars, 2):
        assert one.slot != two.slot or one.done <= two.sent or two.done <= one.sent


def test_memory_is_what_the_engine_reported(made):
    _, entries, _ = made
    leaderboard = made[0]
    view = read_row(leaderboard.row("atts-0.3"), entries["atts-0.3"])
    assert {own.engine for own in view.memory} == {"draft", "target"}
    assert all(own.reported for own in view.memory)
    with open_run(entries["atts-0.3"].run_dir) as run:
        told = [figures["kv_usage"] for _, engine, figures in run.metrics() if engine == "draft"]
    assert [use for _, use in view.memory[0].points] == told
    assert "Use of the KV cache" in memory(view).caption


def test_without_figures_of_the_engine_tokens_in_flight_are_counted(tmp_path):
    material.produce(tmp_path / "run", rate=0.3, metrics_interval=0)
    entry = material.entry_of(tmp_path / "run")
    view = read_row(material.row_of("run", entry), entry)
    assert not any(own.reported for own in view.memory)
    assert "from the ledger" in memory(view).caption
    with open_run(tmp_path / "run") as run:
        usages: list[Usage] = [c.usage for c in run.calls() if c.key.role == "draft"]
    largest = max(u.prompt_tokens + u.completion_tokens for u in usages)
    draft = next(own for own in view.memory if own.engine == "draft")
    assert all(0 < use <= flying * largest for flying, use in draft.points)
    assert max(flying for flying, _ in draft.points) <= 4  # its concurrency


def test_figures_say_what_the_run_says(made):
    leaderboard, entries, _ = made
    view = read_row(leaderboard.row("atts-0.3"), entries["atts-0.3"])
    records = list(entries["atts-0.3"].records())
    decisions = [d for record in records for d in record.decisions]
    for turn, scored, taken, *_ in rate_by_turn(view).body:
        own = [d.takeover for d in decisions if d.turn == int(turn)]
        assert (int(scored), int(taken)) == (len(own), sum(own))
    calls = sum(totals.calls for record in records for totals in record.calls.values())
    assert sum(int(line[2]) for line in slots(view).body) == calls


def test_a_run_directory_that_is_gone_is_told_and_the_rest_is_shown(made, tmp_path):
    leaderboard, entries, _ = made
    lost = msgspec.structs.replace(leaderboard.row("atts-0.3"))
    names = ("task", "questions", "grades", "saved")
    kept = {name: getattr(entries["atts-0.3"], name) for name in names}
    entry = material.RowSamples(**kept, run_dir=tmp_path / "moved")
    view = read_row(lost, entry)
    assert "moved: not a run directory" in view.lacks["ledger"]
    page = tmp_path / "report.html"
    write_page(material.leaderboard_of([lost], {"atts-0.3": entry}), {"atts-0.3": entry}, page)
    assert "moved: not a run directory" in page.read_text()


def test_a_heading_of_a_group_spans_the_columns_that_are_shown(made):
    _, _, page = made
    (table,) = re.findall(r'<table class="board sortable">.*?</table>', page.read_text(), re.DOTALL)
    groups, heads = re.findall(r"<tr.*?</tr>", table, re.DOTALL)[:2]
    kinds = re.findall(r'<th scope="col" class="([^"]*)"', heads)
    shown = [kind for kind in kinds if "extra" not in kind]
    spans = re.findall(r'colspan="(\d+)" data-some="\d+" data-all="(\d+)" class="([^"]*)"', groups)
    assert sum(int(some) for some, _, kind in spans if kind != "extra") == len(shown) - 1
    assert sum(int(every) for _, every, _ in spans) == len(kinds) - 1
    assert any(some != every for some, every, _ in spans)


def test_figures_for_papers(made, tmp_path):
    leaderboard, entries, _ = made
    few = [leaderboard.row("atts-0.3"), leaderboard.row("hf")]
    board = material.leaderboard_of(few, entries)
    files = write_page(board, entries, tmp_path / "report.html", figures_dir=tmp_path / "figures")
    assert files[0] == tmp_path / "report.html"
    names = {path.name for path in files[1:]}
    assert {"mock-pareto-tokens.svg", "mock-pareto-tokens.png", "atts-0.3-slots.svg"} <= names
    assert not any(name.startswith("hf-") for name in names), "nothing to draw: no file"
    for path in files[1:]:
        if path.suffix == ".svg":
            assert "var(--" not in path.read_text()
            ElementTree.parse(path)
        elif path.suffix == ".pdf":
            # 3.25 and 6.75 inches, in points.
            box = re.search(rb"/MediaBox \[ 0 0 (\d+) \d+ \]", path.read_bytes())
            assert int(box[1]) == (234 if "1col" in path.name else 486)
        else:
            assert path.read_bytes().startswith(b"\x89PNG")
    stems = {path.name.removesuffix("-1col.pdf") for path in files if "1col" in path.name}
    assert stems == {path.stem for path in files if path.suffix == ".svg"}


def test_every_figure_of_ours_can_be_asked_for_by_its_name(made, tmp_path):
    leaderboard, entries, _ = made
    points = points_of(leaderboard.rows)
    views = {row.id: read_row(row, entries.get(row.id)) for row in leaderboard.rows}
    names = [figure.name for figure in comparing(points, views)]
    names += [figure.name for figure in of_run(views["atts-0.3"])]
    assert names == list(NAMES)


def test_a_page_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "report.html").mkdir()
    empty = material.leaderboard_of([], {}, tables=())
    with pytest.raises(SettingError, match=r"report\.html: Is a directory"):
        write_page(empty, {}, tmp_path / "report.html")


def test_a_figure_has_no_colour_of_its_own():
    def paint(drawing):
        axes = drawing.axes()
        (line,) = axes.plot([0, 1], [0, 1], "o-", color=drawing.series(0))
        drawing.mark(line, "row-1", "<b>1</b> & more")

    svg = themed_svg(paint, label='a "figure"', prefix="x")
    assert "var(--s0)" in svg
    assert "#" not in re.sub(r"url\(#[^)]*\)|href=\"#[^\"]*\"", "", svg)
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"] == 'a "figure"'
    marked = [e for e in root.iter() if e.attrib.get("data-row") == "row-1"]
    assert [e.findtext("{http://www.w3.org/2000/svg}title") for e in marked] == ["<b>1</b> & more"]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", ["LIGHT", "DARK"])
def test_series_colours_are_readable_as_text(theme):
    from atts_harness.analysis.html import style

    colours = getattr(style, theme)
    paper = luminance(colours["paper"])
    for name in (*(f"s{n}" for n in range(style.SERIES)), "ink", "muted"):
        one, two = sorted((luminance(colours[name]), paper))
        assert (two + 0.05) / (one + 0.05) >= 4.5, name
    assert set(colours) == set(LIGHT)


def test_votes_over_other_strategies_are_series_of_their_own():
    vote = material.interval(clustered_mean([1.0, 0.0, 1.0], [0, 1, 2], bounds=(0, 1)))
    rows = [
        msgspec.structs.replace(bare(inner, "esc", most=2), options={"inner": inner}, vote=vote)
        for inner in ("target-only", "atts")
    ]
    points = points_of(rows)
    assert {point.label for point in points} == {"esc target-only 2", "esc atts 2"}
    assert len({point.series for point in points}) == 2


def test_an_oracle_is_no_note_of_every_figure(made, tmp_path):
    text = made[2].read_text()
    assert not re.search(r"Not shown: [^<]*oracle", text)


def bare(id_, strategy, **point):
    return Row(
        id=id_,
        label=id_,
        strategy=strategy,
        pair=material.PAIR,
        task="t",
        point=point,
        problems=1,
        repeats=1,
        samples=1,
        source=RowSource(kind="run"),
    )


def test_rows_that_differ_in_numbers_are_points_of_one_series():
    rows = [
        bare("target", "target-only"),
        bare("b", "atts", rate=0.4, on_reject="replace"),
        bare("c", "atts", rate=0.2, on_reject="continue"),
        bare("a", "atts", rate=0.1, on_reject="replace"),
    ]
    points = points_of(rows)
    found = [(p.row.id, p.series, p.label) for p in points]
    assert found == [
        ("a", 0, "atts replace .1"),
        ("b", 0, "atts replace .4"),
        ("c", 8, "atts continue .2"),
        ("target", 2, "target-only"),
    ]


def test_votes_over_different_strategies_are_series_of_their_own():
    def vote(id_, inner, most):
        return msgspec.structs.replace(
            bare(id_, "self-consistency", most=most), options={"inner": inner}
        )

    rows = [vote("a", "target-only", 1), vote("b", "target-only", 6), vote("c", "atts", 2)]
    labels = {p.row.id: (p.series, p.label) for p in points_of(rows)}
    assert labels["a"] == (7, "self-consistency target-only 1")
    assert labels["b"] == (7, "self-consistency target-only 6")
    assert labels["c"] == (15, "self-consistency atts 2")
    assert [p.label for p in points_of(rows[:2])] == ["self-consistency 1", "self-consistency 6"]


def test_a_strategy_has_one_colour_whatever_stands_beside_it():
    def colours(*strategies):
        points = points_of([bare(name, name) for name in strategies])
        return {point.row.strategy: point.series % SERIES for point in points}

    every = (*COLOURED, "esc", "deepconf", "synchronous", "a-stranger")
    together = colours(*every)
    assert [together[name] for name in COLOURED] == list(range(SERIES))
    assert 0 not in [together[name] for name in every if name not in COLOURED]  # ATTS's alone
    assert all(colours(name) == {name: together[name]} for name in every)
    numbers = [point.series for point in points_of([bare(name, name) for name in every])]
    assert len(set(numbers)) == len(every)
    shapes = {(number % SERIES, marker(number)) for number in numbers}
    assert len(shapes) == len(every)


def test_the_wheel_would_hold_templates_and_scripts():
    """What git tracks beside the modules is what hatchling packs of a package."""
    from atts_harness.analysis.html import page

    folder = material.Path(page.__file__).parent / "templates"
    listed = subprocess.run(
        ["git", "ls-files", "--error-unmatch", *sorted(str(p) for p in folder.iterdir())],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if "not a git repository" in listed.stderr:
        pytest.skip("not a checkout: what is installed is what there is")
    assert listed.returncode == 0, listed.stderr
    assert {"page.html.j2", "page.css", *page.SCRIPTS} <= {p.name for p in folder.iterdir()}


def test_what_holds_for_every_row_is_said_once(made, tmp_path):
    leaderboard, _, _ = made
    rows = [
        msgspec.structs.replace(leaderboard.row(id_), notes=("of both", f"of {id_} alone"))
        for id_ in ("hf", "target")
    ]
    page = tmp_path / "report.html"
    write_page(material.leaderboard_of(rows, {}), {}, page)
    text = page.read_text()
    assert text.count("of both") == 1
    assert "Of every row: of both" in text
    assert text.count("of hf alone") == text.count("of target alone") == 1
