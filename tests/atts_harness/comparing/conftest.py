"""A comparison whose cells are small scripts in place of lm-eval."""

import json
import sys

import pytest
from typer.testing import CliRunner

from atts_harness import cli, plugins
from atts_harness.comparing import local
from atts_harness.comparing.cells import expand
from atts_harness.comparing.plan import read_plan
from atts_harness.framework import EvalFramework, EvaluationOutcome
from atts_harness.hookspecs import hookimpl

PLAN = """\
out: out
limit: 2
repeats: 2
seed: 1
tasks: sums
strategies:
  - draft-only
  - {strategy: atts, points: {rate: [0.1, 0.2]}}
  - {strategy: random-takeover, settings: {rate_of: atts-rate=0.2}}
"""

# Does what the file says under its row: writes results, fails, waits for a signal, ...
CELL = """
import json, pathlib, signal, sys, time
if sys.argv[1] == "calibrate":
    with open("calibrated", "a") as file: print(sys.argv[2], file=file)
    if pathlib.Path("broken").exists(): sys.exit("atts: error: no scores")
    pathlib.Path(sys.argv[2]).write_text("bank")
    sys.exit()
folder, row, behaviour = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
told = json.loads(pathlib.Path(behaviour).read_text()).get(row, "done")
folder.mkdir(parents=True, exist_ok=True)
signal.signal(signal.SIGINT, lambda *_: sys.exit("atts: error: SIGINT: stopped"))
if told in ("wait", "deaf"):
    if told == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    (folder / "ready").touch()
    time.sleep(60)
print("working")
if told == "fail":
    print("Traceback (most recent call last):", "  File x", "ValueError: no such thing", sep="\\n")
    print("tail")
    sys.exit(1)
if told == "refuse":
    sys.exit("lm_eval: error: max_gen_toks=9: too many")
if told in ("done", "some failed"):
    figures = {"results": {"sums": {"pass@1,all": 0.5}}}
    (folder / "results_2026.json").write_text(json.dumps(figures))
if told == "some failed":
    print("lm_eval: 1 of 4 samples failed for good (exit status 3)", file=sys.stderr)
    sys.exit(3)
"""


class Sums(EvalFramework):
    """A plugin with an evaluation framework of one task."""

    name = "sums"
    packages = ()

    @hookimpl
    def atts_frameworks(self):
        return [self]

    def tasks(self, names, include_path):
        return ["sums", "products"]

    def command(self, asked, folder):
        return [str(folder), folder.name, "behaviour.json", json.dumps(asked.settings)]

    def outcome(self, folder):
        found = sorted(folder.glob("results_*.json"))
        return EvaluationOutcome(found[-1], "pass@1", 0.5) if found else None


@pytest.fixture
def place(pair, tmp_path, monkeypatch):
    """A folder with a plan and its task, where every cell is the script."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "ATTS", (sys.executable, "-S", "-c", CELL))
    plugins.manager().register(Sums())
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "behaviour.json").write_text("{}")
    return tmp_path


@pytest.fixture
def compare(place):
    """Runs `atts compare`; cells do as told, by row."""
    app = cli.build_app()

    def compare(*args, **told):
        behaviour = {row.replace("_", "-"): what for row, what in told.items()}
        (place / "behaviour.json").write_text(json.dumps(behaviour))
        result = CliRunner().invoke(app, ["compare", "plan.yaml", "--no-report", *args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return compare


@pytest.fixture
def status(place):
    return lambda: json.loads((place / "out" / "compare.json").read_text())


@pytest.fixture
def cells(status):
    return lambda: {cell["row"]: cell for cell in status()["cells"]}


CALIBRATED = PLAN.replace(
    "points: {rate: [0.1, 0.2]}", "points: {rate: [0.1, 0.2]}, calibrate: {turns: 1}"
)


@pytest.fixture
def banks(place, monkeypatch):
    """Calibrations that do as told; they leave a line each."""
    (place / "plan.yaml").write_text(CALIBRATED)
    monkeypatch.setattr(
        "atts_harness.comparing.calibrations.calibrate_command",
        lambda cell, plan, bank, servers: ["calibrate", str(bank)],
    )
    return lambda: (place / "calibrated").read_text().split()


GRID = """\
out: out
limit: 40
repeats: 4
settings: {preset: pair, rate: 0.3, target_device: cpu}
pairs:
  one: {device: cpu}
  two: {draft_device: cuda}
tasks: [sums, products]
strategies:
  - draft-only
  - strategy: atts
    name: replace
    settings: {on_reject: replace}
    points: {rate: [0.1, 0.2]}
  - strategy: random-takeover
    settings: {on_reject: replace, rate_of: replace-rate=0.2}
"""


@pytest.fixture
def read(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text=GRID):
        (tmp_path / "plan.yaml").write_text(text)
        return read_plan("plan.yaml")

    return read


@pytest.fixture
def expanded(read):
    def expanded(text=GRID):
        return {cell.name: cell for cell in expand(read(text))}

    return expanded
