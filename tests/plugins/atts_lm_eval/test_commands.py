"""The `atts` command: what it shows, what it passes on, how it fails."""

import subprocess
import sys

import pytest
from atts_lm_eval import excepthook, upstream
from atts_lm_eval import plugin as lm_eval_plugin
from typer.testing import CliRunner

from atts_harness import __version__, cli, plugins
from atts_harness.errors import SAMPLES_FAILED, SettingError


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

    monkeypatch.setattr(plugins, "discovery", broken)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert capsys.readouterr().err == "atts: error: plugins: x cannot be imported\n"


def test_a_fault_has_its_traceback_on_request(monkeypatch):
    def broken():
        raise SettingError("x")

    monkeypatch.setattr(plugins, "discovery", broken)
    monkeypatch.setenv("ATTS_TRACEBACK", "1")
    with pytest.raises(SettingError):
        cli.main()


def uncaught(code, program="/usr/bin/lm_eval"):
    """What an interpreter prints for an uncaught error after our hook is installed."""
    start = f"import sys; sys.argv[0] = {program!r};"
    start += "import lm_eval._cli, atts_lm_eval.excepthook as hook; hook.install(); hook.install();"
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


FAILED = """
from atts_harness.records import SampleId, SampleRecord
from atts_lm_eval import ending
def sample(n, failed=None):
    return SampleRecord(
        id=SampleId("t", n, 0), strategy="s", text="", finish="failed", failed=failed
    )
bad = [sample(n, "BackendTimeoutError: x") for n in range({failed})]
ending.add([*bad, sample(99)], {run_dir!r})
print("table")
"""


def test_failed_samples_are_told_last_and_have_a_status_of_their_own():
    done = uncaught(FAILED.format(failed=2, run_dir=None))
    assert done.returncode == SAMPLES_FAILED == 3
    assert done.stdout == "table\n"
    assert done.stderr == (
        "lm_eval: 2 of 3 samples failed for good, count as wrong and are counted apart: t/0/0, "
        "t/1/0 (exit status 3)\n"
    )


def test_many_failed_samples_are_counted_and_can_be_tried_again():
    done = uncaught(FAILED.format(failed=25, run_dir="runs/a"))
    assert "t/19/0 and 5 more; the same command with retry_failed=true tries them" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["/x/lm_eval/__main__.py", "/x/atts", "C:/x/lm-eval.exe"])
def test_the_command_is_known_by_each_of_its_names(program):
    assert uncaught(FAILED.format(failed=1, run_dir=None), program).returncode == SAMPLES_FAILED


@pytest.mark.parametrize("program", ["/usr/bin/pytest", "/x/ipykernel/__main__.py", ""])
def test_a_program_that_only_imports_the_command_ends_as_it_likes(program):
    done = uncaught(FAILED.format(failed=1, run_dir=None), program)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_failed_samples_a_run_ends_well():
    done = uncaught(FAILED.format(failed=0, run_dir=None))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_error_after_failed_samples_keeps_its_status():
    done = uncaught(FAILED.format(failed=1, run_dir=None) + "int('x')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "failed for good" not in done.stderr


def test_from_python_nothing_is_changed(monkeypatch):
    monkeypatch.delitem(sys.modules, upstream.COMMAND_LINE, raising=False)
    before = sys.excepthook
    excepthook.install()
    assert sys.excepthook is before
