"""A run as a user meets it: harness, summary, signals, log, resume command."""

import io
import json
import logging
import re
import sys
import types
from pathlib import Path

import msgspec
import pytest

from atts_harness import plugins
from atts_harness.errors import (
    SAMPLES_FAILED,
    ContextLengthError,
    JournalMismatchError,
    RunDirError,
    SettingError,
    TooManyFailuresError,
)
from atts_harness.hookspecs import hookimpl
from atts_harness.journal.reader import open_run
from atts_harness.running import interrupts, logs, progress
from atts_harness.running.engine import Engine, Outage
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.testing.mock_faults import FaultPlan
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups

pytestmark = pytest.mark.usefixtures("mock_installed")

OPTIONS = MockOptions(turns=3, draft_tokens=8, target_tokens=8)


def harness(**settings):
    given = {"strategy": "mock-turns", "backend": "mock", "draft": "d", "target": "t"}
    return Harness(parse_settings({"progress": "off", **given, **settings}))


def produce(groups=None, **settings):
    with harness(**settings) as made:
        records = made.run(groups or make_groups(3, 2, MockTurns(OPTIONS)))
        return records, made.summary


def test_a_run_in_memory_has_a_summary():
    records, summary = produce()
    assert len(records) == 6
    assert (summary.state, summary.failed, summary.missing) == ("finished", [], [])
    assert summary.exit_status == 0
    assert summary.ledger["samples"]["finished"] == 6
    json.dumps(msgspec.to_builtins(summary))


def test_a_resumed_run_has_the_books_of_all_its_sessions(tmp_path):
    _, first = produce(run_dir=str(tmp_path))
    records, again = produce(run_dir=str(tmp_path))
    assert len(records) == 6
    for name, account in first.ledger["calls"].items():
        assert again.ledger["calls"][name]["completion_tokens"] == account["completion_tokens"]
    assert again.ledger["samples"] == first.ledger["samples"]
    with open_run(tmp_path) as run:
        assert run.sessions()[-1].summary["ledger"] == msgspec.to_builtins(again.ledger)
        assert run.record.roles["draft"]["model"] == "d-0"


def test_a_resumed_run_says_so_and_from_where(tmp_path, capsys):
    _, first = produce(run_dir=str(tmp_path))
    assert "resumed" not in capsys.readouterr().err
    calls = sum(account["calls"] for account in first.ledger["calls"].values())
    records, _ = produce(make_groups(4, 2, MockTurns(OPTIONS)), run_dir=str(tmp_path))
    told = f"atts: resumed from {tmp_path}: 6 of 8 samples and {calls} calls are recorded there"
    assert told in capsys.readouterr().err
    assert len(records) == 8


def test_a_run_with_another_model_is_refused(tmp_path):
    produce(run_dir=str(tmp_path))
    with pytest.raises(JournalMismatchError, match=r"models\.draft\.model was 'd-0', now 'd-7'"):
        produce(run_dir=str(tmp_path), draft_mock_seed=7)
    with pytest.raises(JournalMismatchError, match=r"settings\.seed was 1234, now 5"):
        produce(run_dir=str(tmp_path), seed=5)
    groups = make_groups(3, 2, MockTurns(msgspec.structs.replace(OPTIONS, turns=2)))
    with pytest.raises(JournalMismatchError, match=r"task mock: options\.turns was 3, now 2"):
        produce(groups, run_dir=str(tmp_path))


def test_a_directory_in_use_is_refused_before_anything_is_opened(tmp_path):
    with harness(run_dir=str(tmp_path)):
        with pytest.raises(RunDirError, match="another run"):
            harness(run_dir=str(tmp_path))
        with pytest.raises(RunDirError, match="another run"):
            harness(run_dir=str(tmp_path), resume=False)
    harness(run_dir=str(tmp_path)).close()


def test_failed_samples_are_listed_and_have_an_exit_status_of_their_own():
    with harness(retries=0) as made:
        engine = made.backends["draft"].engine
        engine.faults = FaultPlan({"truncated": 0.3})
        records = made.run(make_groups(6, 2, MockTurns(OPTIONS)))
        failed = [f"mock/{r.id.doc}/{r.id.repeat}" for r in records if r.failed]
        assert 0 < len(failed) < 12
        assert made.summary.failed == failed
        assert made.summary.exit_status == SAMPLES_FAILED


def test_a_run_that_is_given_up_tells_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/sh", "--model", "atts", "--args", "a b"])
    with harness(retries=0, max_failures=1, live_samples=1, run_dir=str(tmp_path)) as made:
        made.backends["draft"].engine.faults = FaultPlan({"truncated": 1.0})
        with pytest.raises(TooManyFailuresError) as caught:
            made.run(make_groups(6, 2, MockTurns(OPTIONS)))
        assert "to continue: sh --model atts --args 'a b'" in str(caught.value)
        assert caught.value.exit_status == 1
        assert len(caught.value.missing) == len(made.summary.missing) >= 1
        assert made.summary.exit_status == 1


def test_without_a_directory_nothing_can_be_continued_and_that_is_said():
    assert "run_dir=DIR" in interrupts.resume_hint(None)


def test_an_over_long_prompt_is_refused_before_anything_is_generated():
    with harness() as made:
        with pytest.raises(ContextLengthError, match="max_gen_toks"):
            made.run(make_groups(1, 1, MockTurns(OPTIONS), max_tokens=1 << 20))
        assert made.backends["draft"].engine.log == []


@pytest.mark.parametrize(
    "price", ["cheap", "1", "1/2/3/4", "-1/2", "nan/1", "1/inf", "1/1e999", "1_0/2", "١/2"]
)
def test_a_malformed_price_is_refused(price):
    with pytest.raises(SettingError, match="draft_price: expected dollars per million"):
        harness(draft_price=price)


def test_prices_become_costs():
    _, summary = produce(draft_price="1/2", target_price="10/1/20")
    calls = summary.ledger["calls"]
    draft = calls["draft/draft"]
    expected = (draft["prompt_tokens"] * 1 + draft["completion_tokens"] * 2) / 1e6
    assert summary.ledger["cost"]["draft"] == pytest.approx(expected)
    assert summary.ledger["cost"]["target"] > summary.ledger["cost"]["draft"]


def test_plugins_hear_of_everything():
    heard = []

    class Listener:
        @hookimpl
        def atts_call_finished(self, record):
            heard.append(record.key.kind)

        @hookimpl
        def atts_run_finished(self, run, samples):
            heard.append(samples)

    listener = Listener()
    plugins.manager().register(listener)
    try:
        _, summary = produce()
    finally:
        plugins.manager().unregister(listener)
    calls = summary.ledger["calls"].values()
    assert len(heard) == sum(account["calls"] for account in calls) + 1
    assert heard[-1] == {"finished": 6, "failed": 0, "missing": 0}


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
@pytest.mark.parametrize(
    "hook",
    ["run_started", "call_finished", "decision_made", "sample_finished", "run_finished"],
)
def test_an_observer_that_raises_does_not_end_a_run(hook, error, caplog):
    asked = []

    def raises(self, **what):
        asked.append(what)
        raise error

    # pluggy reads the names of the arguments.
    arguments = {"run_started": "run", "run_finished": "run, samples"}.get(hook, "record")
    scope = {"raises": raises}
    exec(f"def listen(self, {arguments}): raises(self)", scope)
    listener = type("Listener", (), {f"atts_{hook}": hookimpl(scope["listen"])})()
    known = plugins.discovery()
    plugins.manager().register(listener, name="bad-listener")
    try:
        records, summary = produce()
    finally:
        plugins.manager().unregister(listener)
        told = [key for key in known.left_out if key[0] == "bad-listener"]
        for key in told:
            del known.left_out[key]
    assert summary.state == "finished"
    assert len(records) == 6
    assert [what for _, _, what in told] == [f"atts_{hook}"]
    assert len(asked) == 1  # it is not asked again
    assert caplog.text.count("bad-listener") == 1


def test_engines_figures_are_recorded(tmp_path):
    produce(run_dir=str(tmp_path), mock_seconds=0.05, metrics_interval=0.01)
    with open_run(tmp_path) as run:
        figures = list(run.metrics())
    assert {engine for _, engine, _ in figures} == {"draft", "target"}
    assert max(told["kv_usage"] for _, _, told in figures) > 0


def test_the_last_look_at_the_engines_is_when_the_run_has_ended(tmp_path):
    _, summary = produce(run_dir=str(tmp_path), metrics_interval=1000)
    with open_run(tmp_path) as run:
        looks = [f["generation_tokens"] for _, engine, f in run.metrics() if engine == "draft"]
    first, last = looks
    written = summary.ledger["calls"]["draft/draft"]["completion_tokens"]
    assert last - first == written > 0


def test_the_log_file_hears_of_everything_but_secrets_and_prompts(tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh-very-secret")
    console = io.StringIO()
    handler = logging.StreamHandler(console)
    logging.getLogger().addHandler(handler)
    try:
        with harness(run_dir=str(tmp_path), retries=3) as made:
            made.backends["draft"].engine.faults = FaultPlan({"truncated": 0.3}, most=2)
            logger = logging.getLogger("atts_harness.test")
            groups = make_groups(4, 2, MockTurns(OPTIONS), prompt="The prompt {doc}")
            with logs.log_to(tmp_path / "extra.log"):
                logger.debug("key abcdefgh-very-secret and sk-1234567890abcdef")
                logger.info("https://user:pass1234@host/v1, Authorization: Bearer abc.def-12345")
            made.run(groups)
    finally:
        logging.getLogger().removeHandler(handler)
    extra = (tmp_path / "extra.log").read_text()
    for secret in ("very-secret", "sk-1234567890abcdef", "pass1234", "abc.def-12345"):
        assert secret not in extra
    assert extra.count(logs.HIDDEN) >= 4
    text = (tmp_path / "run.log").read_text()
    assert "try 1 failed" in text
    shown = console.getvalue()
    assert "try 1 failed" not in shown  # what is for the file does not reach the screen
    for line in text.splitlines():
        if " DEBUG " not in line:
            assert "The prompt" not in line


def test_plain_progress_ends_with_a_line_that_says_it_all():
    out = io.StringIO()
    tally = progress.ProgressTally(10, nominal=0.4)
    tally.resumed(4, 1)
    with progress.show_progress(tally, "plain", out):
        tally.done += 2
        tally.fresh += 2
        tally.judged, tally.taken, tally.retries = 20, 9, 3
    (line,) = out.getvalue().splitlines()
    assert line.startswith("atts: 6/10 samples")
    for part in ("takeovers 0.45 (nominal 0.40)", "3 retries", "1 failed", "left"):
        assert part in line


def test_progress_names_the_engine_that_is_gone_and_how_long_it_is_waited_for():
    class Clock:
        at = 100.0

        def now(self):
            return self.at

    clock = Clock()
    engines = [Engine(name, None, None, clock, patience=900) for name in ("draft", "target")]
    tally = progress.ProgressTally(2, engines=lambda: engines)
    assert "gone" not in tally.line().lower()
    engines[1].outages.append(Outage("target", 100.0, "nobody listens there"))
    clock.at += 75
    assert "0/2 samples, target IS GONE, waited for 1:15 of 15:00" in tally.line()
    engines[1].outages[0].ended = clock.at
    assert "gone" not in tally.line().lower()


def test_a_terminal_gets_a_live_display_and_anything_else_lines():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert progress.resolve_mode("auto", Terminal()) == "rich"
    assert progress.resolve_mode("auto", io.StringIO()) == "plain"
    assert progress.resolve_mode("off", Terminal()) == "off"
    out = Terminal()
    tally = progress.ProgressTally(2)
    with progress.show_progress(tally, "rich", out):
        tally.done = 2
    assert "2/2" in out.getvalue()


def test_a_notebook_without_widgets_gets_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    assert progress.resolve_mode("auto", io.StringIO()) == "plain"


def test_progress_counts_what_a_run_does():
    with harness(mock_seconds=0.001) as made:
        tally = progress.ProgressTally(6)
        made.run(make_groups(3, 2, MockTurns(OPTIONS)), tally.observers())
    assert (tally.done, tally.failed) == (6, 0)
    assert tally.judged > 0
    assert tally.tokens_per_second("draft") > 0


def test_the_page_on_watching_works_as_it_stands(capsys):
    page = (Path(__file__).parents[3] / "docs" / "runs.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "@hookimpl" in c]
    hooks = types.ModuleType("watching")
    exec(code, vars(hooks))
    plugins.manager().register(hooks)
    try:
        produce()
    finally:
        plugins.manager().unregister(hooks)
    said = capsys.readouterr().out
    assert said.count("SampleId(") == 6
    assert "{'finished': 6, 'failed': 0, 'missing': 0}" in said
