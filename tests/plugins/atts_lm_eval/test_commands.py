"""The `atts` command: what it shows, what it passes on, how it fails."""

import subprocess
import sys

import pytest
from atts_lm_eval import excepthook
from atts_lm_eval import plugin as lm_eval_plugin
from typer.testing import CliRunner

from atts_harness import __version__, cli, plugins
from atts_harness.errors import SettingError


@pytest.fixture
def app(pair, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    plugins.manager().register(lm_eval_plugin)
    return cli.build_app()


@pytest.fixture
def run(app):
    return lambda *args: CliRunner().invoke(app, list(args))


def test_version(run):
    assert run("--version").output == f"atts-harness {__version__}\n"


def test_plugins_shows_what_is_registered_and_how_it_is_reached(run, monkeypatch):
    monkeypatch.setattr("atts_lm_eval.bridge.start_up_file_ran", lambda: True)
    output = run("plugins").output
    for expected in ("random-takeover", "scripted", "pair (default)", "--model atts"):
        assert expected in output
    assert "start-up file" in output


def test_plugins_says_what_to_do_where_nothing_registers(run, monkeypatch):
    monkeypatch.setattr("atts_lm_eval.bridge.start_up_file_ran", lambda: False)
    assert "use `atts lm-eval`" in run("plugins").output


def test_lm_eval_gets_everything_behind_the_name(run, monkeypatch):
    seen = []
    monkeypatch.setattr("lm_eval.__main__.cli_evaluate", lambda: seen.append(list(sys.argv)))
    monkeypatch.setattr("atts_lm_eval.bridge.install", lambda: None)
    before = list(sys.argv)
    result = run("lm-eval", "--model", "atts", "-a", "rate=.2", "--help", "--", "x")
    assert result.exit_code == 0
    assert seen == [["lm-eval", "--model", "atts", "-a", "rate=.2", "--help", "--", "x"]]
    assert sys.argv == before


def test_a_fault_is_one_line_and_a_failure(monkeypatch, capsys):
    def broken():
        raise SettingError("plugins: x cannot be imported")

    monkeypatch.setattr(plugins, "manager", broken)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err == "atts: error: plugins: x cannot be imported\n"


def test_a_fault_has_its_traceback_on_request(monkeypatch):
    def broken():
        raise SettingError("x")

    monkeypatch.setattr(plugins, "manager", broken)
    monkeypatch.setenv("ATTS_TRACEBACK", "1")
    with pytest.raises(SettingError):
        cli.main()


def uncaught(code):
    """What an interpreter prints for an uncaught error after our hook is installed."""
    start = "import lm_eval._cli, atts_lm_eval.excepthook as hook; hook.install(); hook.install();"
    return subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=False
    )


def test_under_lm_evals_command_errors_are_one_line():
    done = uncaught(
        "from atts_harness.errors import SettingError\n"
        "try: int('x')\n"
        "except ValueError as error: raise SettingError('rate: no number') from error"
    )
    assert (done.returncode, done.stderr) == (1, "lm_eval: error: rate: no number\n")


def test_an_error_may_bring_an_exit_status():
    done = uncaught(
        "from atts_harness.errors import RunInterruptedError\n"
        "raise RunInterruptedError('stopped', exit_status=130)"
    )
    assert (done.returncode, done.stderr) == (130, "lm_eval: error: stopped\n")


def test_under_lm_evals_command_other_errors_stay_as_they_are():
    done = uncaught("int('x')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_from_python_nothing_is_changed(monkeypatch):
    monkeypatch.delitem(sys.modules, excepthook.COMMAND_LINE, raising=False)
    before = sys.excepthook
    excepthook.install()
    assert sys.excepthook is before
