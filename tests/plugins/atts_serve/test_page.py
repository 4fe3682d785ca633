"""The page to watch samples in a real browser, which asks nobody but its server."""

import json
import urllib.error
import urllib.request

import pytest
from atts_serve import recorded
from atts_serve.guard import Door
from atts_serve.viewer import Viewer

from atts_harness.errors import RunDirError
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId

ARGS = {
    **{"backend": "mock", "draft": "d", "target": "t", "strategy": "mock-turns", "turns": 3},
    **{"ending": 0, "draft_tokens": 12, "rate": 0.5},
}
KEY = "a-key-of-some-length"
HOSTILE = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>"


def finished(page):
    page.wait_for_function(
        "() => document.getElementById('status').textContent.startsWith('Finished')"
    )


def tab_to(page, selector, most=60):
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{selector} cannot be reached by Tab")


def serious(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="see the extra `dev`")
    found = axe.Axe().run(page).response["violations"]
    return [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found]


@pytest.fixture
def watched(serving):
    with serving(args=ARGS, problems=["What is 2 + 2?", "What is 3 + 4?"]) as server:
        yield server


def test_a_problem_is_asked_and_its_turns_arrive(watched, visit):
    page = visit(watched.port)
    page.select_option("#pick", "1")
    assert page.input_value("#problem") == "What is 3 + 4?"
    page.fill("#seed", "7")
    page.click("#start")
    finished(page)
    asked = {"model": "mock-turns", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
    answer = watched.client().chat.completions.create(**asked, seed=7, max_tokens=640)
    facts = answer.choices[0].model_extra["atts"]
    turns = page.locator("#turns > li")
    assert turns.count() == len(facts["turns"]) == 3
    written = [s for turn in facts["turns"] for s in turn["segments"]]
    assert page.locator(".segment pre").all_text_contents() == [s["text"] for s in written]
    authors = page.locator(".segment").evaluate_all("all => all.map(e => e.dataset.author)")
    assert authors == [s["author"] for s in written]
    taken = [t for t in facts["turns"] if t.get("takeover")]
    assert page.locator(".decision.taken").count() == len(taken)
    totals = page.text_content("#totals")
    assert f"target computed{facts['tokens']['target']['computed']}" in totals


def test_turns_are_shown_while_the_sample_is_written(serving, visit):
    with serving(args={**ARGS, "mock_seconds": 0.2, "turns": 30}) as server:
        page = visit(server.port)
        page.fill("#problem", "Count.")
        page.click("#start")
        page.wait_for_selector("#turns > li.turn:nth-child(2)")
        assert page.is_disabled("#start")
        assert server.do(lambda s: s.works.running) == 1
        page.click("#stop")
        page.wait_for_function(
            "document.getElementById('status').textContent.startsWith('Stopped')"
        )
        server.wait_for(lambda s: s.works.running == 0)
        assert page.locator("#turns > li").count() < 30
        assert page.is_enabled("#start")


def test_strategy_and_rate_are_chosen(serving, visit):
    names = ["mock-turns", "target-only:strategy=target-only"]
    del (args := dict(ARGS))["strategy"]
    with serving(names, args) as server:
        page = visit(server.port)
        page.locator("#model option").nth(1).wait_for(state="attached")  # asked of the service
        assert page.locator("#model option").all_text_contents() == ["mock-turns", "target-only"]
        assert page.text_content("#rate-shown") == "0.50"
        page.fill("#problem", "Count.")
        page.fill("#rate", "1")
        page.click("#start")
        finished(page)
        assert page.locator(".decision.taken").count() == 3
        page.select_option("#model", "target-only")
        assert page.is_hidden("#rate-field")
        page.click("#start")
        finished(page)
        authors = page.locator(".segment").evaluate_all("all => all.map(e => e.dataset.author)")
        assert set(authors) == {"target"}


def test_all_of_it_by_keyboard_alone(watched, visit):
    page = visit(watched.port)
    tab_to(page, "#problem")
    page.keyboard.type("What is 1 + 1?")
    tab_to(page, "#rate")
    before = page.input_value("#rate")
    page.keyboard.press("ArrowRight")
    assert float(page.input_value("#rate")) == pytest.approx(float(before) + 0.05)
    assert page.text_content("#rate-shown") == "0.55"
    tab_to(page, "#start")
    page.keyboard.press("Enter")
    finished(page)
    assert page.locator("#turns > li").count() == 3


def test_what_was_thrown_away_is_marked_and_what_is_said_stays_text(watched, visit):
    page = visit(watched.port)
    page.evaluate(
        """async (hostile) => {
            const { settle, emptySample, show } = await import("/page/turns.js");
            const segment = (author, kept) =>
              ({ author, kind: author, text: hostile, tokens: 3, kept });
            const sample = emptySample();
            const tokens = { target: { computed: 9 } };
            const turn = { turn: 0, segments: [segment("draft", false), segment("target", true)],
              takeover: true, reason: "p-value", score: 1.5, p_value: 0.125, threshold: 0.25,
              bank: hostile, bank_size: 7 };
            settle(sample, { turns: [turn], tokens, seconds: 1.25, finish: hostile });
            show(sample);
        }""",
        HOSTILE,
    )
    assert page.locator("#turns img, #turns script").count() == 0
    assert page.title() == "Watch a sample · ATTS harness"
    assert page.locator(".segment.dropped pre").all_text_contents() == [HOSTILE]
    said = page.text_content(".decision")
    assert "score 1.500 · p 0.125 ≤ 0.250" in said
    assert "(7 scores): the target takes over" in said
    assert "thrown away3" in page.text_content("#totals")


def test_what_the_server_refuses_is_said(watched, visit):
    page = visit(watched.port)
    page.fill("#problem", "x" * 200_000)
    page.click("#start")
    page.wait_for_selector("#error:visible")
    assert "context" in page.text_content("#error")
    visit.said.clear()  # the browser itself notes the status 400


def test_a_key_is_asked_for(serving, visit):
    with serving(args=ARGS, door=Door(keys=(KEY,))) as server:
        page = visit(server.port)
        page.fill("#key", KEY)
        page.locator("#key").blur()
        page.wait_for_selector("#model option", state="attached")
        page.fill("#problem", "Count.")
        page.click("#start")
        finished(page)
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        assert KEY not in page.url


def test_the_policy_stops_what_the_page_itself_would_load(watched, chromium):
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{watched.port}/")
    refused = page.evaluate(
        """async () => {
            const image = new Image();
            const tried = new Promise((done) => { image.onerror = () => done("refused"); });
            image.src = "http://127.0.0.1:9/x.gif";
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(script);
            const fetched = await fetch("http://127.0.0.1:9/").catch(() => "refused");
            return [await tried, fetched, window.ran === undefined];
        }"""
    )
    page.close()
    assert refused == ["refused", "refused", True]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(watched, visit, scheme, width):
    page = visit(watched.port, scheme=scheme, width=width)
    assert serious(page) == []
    page.fill("#problem", "word " * 60 + "w" * 300)
    page.click("#start")
    finished(page)
    assert serious(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.fixture
def viewing(serving, viewer, tmp_path):
    """`atts view` of a folder with two runs; gives its port and the folder."""

    with serving(args={**ARGS, "run_dir": str(tmp_path)}) as server:
        client = server.client().chat.completions
        for doc in range(30):
            for more in ({"rate": 0.9}, {}) if doc == 0 else ({},):
                client.create(
                    model="mock-turns",
                    messages=[{"role": "user", "content": f"Question {doc}"}],
                    n=1 + (doc == 0),
                    extra_body={"atts": {"task": "t", "doc": doc, **more}},
                )
    with viewer(tmp_path) as port:
        yield port, tmp_path


def test_recorded_samples_are_listed_and_shown(viewing, visit):
    port, folder = viewing
    page = visit(port)
    page.wait_for_selector("#samples tbody tr")
    assert page.locator("#samples tbody tr").count() == 25
    assert page.text_content("#place") == "1–25 of 31"
    page.click("#later")
    assert page.locator("#samples tbody tr").count() == 6
    page.fill("#words", "0")
    assert page.locator("#samples .open").all_text_contents() == ["t 0·0", "t 0·1"]
    page.locator("#samples .open").nth(1).click()
    page.wait_for_selector("#turns > li.turn")
    with open_run(folder / "mock-turns") as run:
        record = next(s for s in run.samples() if (s.id.doc, s.id.repeat) == (0, 1))
    texts = [segment.text for segment in record.segments]
    assert page.locator(".segment pre").all_text_contents() == texts
    assert page.evaluate("document.activeElement.id") == "watch"
    assert "ended by turns" in page.text_content("#status")
    assert serious(page) == []
    page.select_option("#run", index=1)
    page.wait_for_function("() => document.querySelectorAll('#samples tbody tr').length === 2")


def test_a_run_that_goes_on_is_shown_as_it_goes(serving, visit, tmp_path, viewer):
    with serving(args={**ARGS, "run_dir": str(tmp_path), "mock_seconds": 0.05}) as server:
        client = server.client().chat.completions
        asked = {"model": "mock-turns", "messages": [{"role": "user", "content": "Count."}]}
        client.create(**asked, extra_body={"atts": {"task": "t", "doc": 0}})
        with viewer(tmp_path) as port:
            page = visit(port)
            page.wait_for_selector("#samples tbody tr")
            client.create(**asked, extra_body={"atts": {"task": "t", "doc": 1}})
            page.wait_for_function(
                "() => document.querySelectorAll('#samples tbody tr').length === 2"
            )


def test_a_sample_that_is_not_finished_has_its_calls_and_decisions(serving, tmp_path):
    args = {**ARGS, "run_dir": str(tmp_path), "mock_seconds": 0.1, "turns": 50, "rate": 1}
    place = {"task": "t", "doc": 0}
    asked = {"model": "mock-turns", "messages": [{"role": "user", "content": "Count."}]}
    with serving(args=args) as server:
        parts = server.client().chat.completions.create(
            **asked, stream=True, extra_body={"atts": {**place, "events": True}}
        )
        for part in parts:
            event = (part.choices[0].model_extra.get("atts") or {}).get("event", {})
            if event.get("turn") == 1:
                break
        told = recorded.sample(tmp_path / "mock-turns", SampleId("t", 0, 0))
        listed = recorded.samples(tmp_path / "mock-turns")
        parts.close()
    first = told["turns"][0]
    assert told["finish"] is None
    assert (first["segments"][0]["author"], first["segments"][0]["text"]) == ("draft", "")
    assert first["segments"][0]["tokens"] > 0
    assert isinstance(first["score"], float)
    assert first["takeover"] is True
    assert len(first["calls"]) == 3
    assert listed["going"]
    assert [line["finish"] for line in listed["samples"]] == [None]
    assert recorded.sample(tmp_path / "mock-turns", SampleId("t", 9, 0)) is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_recorded_samples_fit_a_telephone(viewing, visit, scheme):
    page = visit(viewing[0], width=390, scheme=scheme)
    page.wait_for_selector("#samples tbody tr")
    page.locator("#samples .open").first.click()
    page.wait_for_selector("#turns > li.turn")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert serious(page) == []


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(RunDirError, match="no run here or in a folder"):
        Viewer(tmp_path)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/recorded/samples?run=../../etc", 404),
        ("/recorded/sample?run=&task=t&doc=x&repeat=0", 400),
        ("/recorded/sample?run=mock-turns&task=t&doc=99&repeat=0", 404),
        ("/page/../command.py", 404),
        ("/page/index.html", 404),
    ],
)
def test_paths_lead_nowhere_else(viewing, path, status):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://127.0.0.1:{viewing[0]}{path}", timeout=20)
    assert caught.value.code == status
    assert set(json.loads(caught.value.read())["error"]) == {"message", "type", "param", "code"}
