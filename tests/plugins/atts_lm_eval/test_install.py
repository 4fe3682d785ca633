"""Installed from a wheel, editable and by `--target`: the stock `lm_eval` command finds all.

Fresh virtual environments on top of this interpreter's packages, without a network. lm-eval is
copied into them with one of its task folders (its index of all 13,000 takes ten seconds a start),
and a third party's package brings a scripted pair, a task and a strategy.

`ATTS_LM_EVAL_COPIES` may name folders that hold other releases of `lm_eval` (unpacked wheels,
joined by the path separator); then the wheel is tested on those too.
"""

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
STUB = Path(__file__).parent / "third_party"
OTHERS = [Path(p) for p in os.environ.get("ATTS_LM_EVAL_COPIES", "").split(os.pathsep) if p]
PAIR = ("--model_args", "preset=scripted-pair,rate=0")
KEPT_TASKS = "gsm8k"
# What a test brings itself, and what it can do without; nothing here opens a real model.
LEFT_OUT = ("lm_eval", "atts", "_editable", "torch", "transformers", "accelerate", "peft")

pytestmark = [
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("hatchling", "editables", "pip"))),
        reason="building the package needs hatchling, editables and pip (extra `dev`)",
    ),
]


@dataclass
class Environment:
    """A virtual environment under test."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def base(self) -> Path:
        return self.root / "base"

    @property
    def site(self) -> Path:
        (site,) = self.root.glob("lib/python*/site-packages")
        return site

    def run(self, *args, **env):
        """Run Python in it; our own checkout is not on its path."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ATTS"))}
        return subprocess.run(
            [self.python, *map(str, args)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
            env={**clean, "HF_HUB_OFFLINE": "1", "COLUMNS": "200", **env},
        )

    def lm_eval(self, *args, **env):
        """The stock command: what its console script runs."""
        return self.run("-m", "lm_eval", *args, **env)


def copy_lm_eval(source: Path, site: Path) -> None:
    """One release of lm-eval, with one task folder."""

    def others(folder, names):
        if Path(folder) != source / "lm_eval" / "tasks":
            return ["__pycache__"]
        return [n for n in names if Path(folder, n).is_dir() and n != KEPT_TASKS]

    shutil.copytree(source / "lm_eval", site / "lm_eval", ignore=others)
    (metadata,) = source.glob("lm_eval-*.dist-info")
    shutil.copytree(metadata, site / metadata.name)


def make_environment(root: Path, lm_eval: Path) -> Environment:
    """Without pip, on top of most packages of this interpreter."""
    venv.create(root, with_pip=False, symlinks=True)
    made = Environment(root)
    base = root / "base"
    base.mkdir()
    for folder in (Path(p) for p in sys.path if p.endswith("-packages")):
        for entry in folder.iterdir():
            if not entry.name.lower().startswith(LEFT_OUT) and not (base / entry.name).exists():
                (base / entry.name).symlink_to(entry)
    (made.site / "zz_base.pth").write_text(f"{base}\n")
    copy_lm_eval(lm_eval, made.site)
    shutil.copytree(STUB, made.site, dirs_exist_ok=True)
    return made


def pip_install(environment: Environment, *what: object) -> None:
    command = [sys.executable, "-m", "pip", "--python", environment.python, "install", "-q"]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    subprocess.run([*command, *options, *map(str, what)], check=True)


INSTALLED = Path(importlib.util.find_spec("lm_eval").origin).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", folder, PROJECT], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def build(wheel, tmp_path_factory):
    """Environments by kind of installation and release of lm-eval, each made once."""

    @functools.cache
    def made(kind: str, lm_eval: Path) -> Environment:
        environment = make_environment(tmp_path_factory.mktemp("env") / kind, lm_eval)
        pip_install(environment, *(["-e", PROJECT] if kind == "editable" else [wheel]))
        return environment

    return made


def test_the_wheel_holds_every_file_of_every_package(wheel):
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    packages = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    wanted = {
        str(path.relative_to((PROJECT / package).parent))
        for package in packages
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert wanted - held == {"atts_lm_eval/autoload.pth"}  # beside the packages, by another name
    assert "atts_harness_autoload.pth" in held
    assert {Path(name).suffix for name in wanted} >= {
        ".css",
        ".js",
        ".json",
        ".safetensors",
        ".yaml",
    }


WHEELS = [("wheel", lm_eval) for lm_eval in (INSTALLED, *OTHERS)]


def _name(param):
    kind, lm_eval = param
    (metadata,) = lm_eval.glob("lm_eval-*.dist-info")
    return f"{kind}-{metadata.name.removesuffix('.dist-info')}"


@pytest.fixture(scope="module", params=WHEELS, ids=_name)
def from_wheel(request, build):
    return build(*request.param)


@pytest.fixture(scope="module")
def editable(build):
    return build("editable", INSTALLED)


@pytest.fixture(scope="module", params=[*WHEELS, ("editable", INSTALLED)], ids=_name)
def environment(request, build):
    return build(*request.param)


LOOK = """
import json, sys
from lm_eval.api.registry import get_model, model_registry
started = sorted(m for m in sys.modules if m.startswith("atts"))
named = {name: get_model(name).strategy for name in ("atts", "specreason", "third-party")}
own = [name for name in ("hf", "vllm", "sglang", "dummy") if name in model_registry]
from lm_eval.tasks import TaskManager
tasks = [name for name in TaskManager().all_tasks if name in ("third_sums", "gsm8k")]
print(json.dumps([started, named, own, tasks]))
"""


def test_models_and_tasks_are_found_and_lm_evals_own_stay(environment):
    done = environment.run("-c", LOOK)
    assert done.returncode == 0, done.stderr
    started, named, own, tasks = json.loads(done.stdout)
    assert started == []
    assert named == {name: name for name in ("atts", "specreason", "third-party")}
    assert own == ["hf", "vllm", "sglang", "dummy"]
    assert tasks == ["gsm8k", "third_sums"]


def test_it_can_be_switched_off(from_wheel):
    done = from_wheel.run("-c", LOOK, ATTS_NO_AUTOLOAD="1")
    assert "no model for this name found" in done.stderr


LM_EVALS_OWN = """
import lm_eval.models
from lm_eval.api.registry import get_model, model_registry
assert "hf" in model_registry and get_model("dummy").__name__ == "DummyLM"
print("atts" in model_registry)
"""


@pytest.mark.parametrize("flags", [(), ("-I",), ("-E",), ("-P",)])
def test_both_are_found_however_python_is_started(from_wheel, flags):
    done = from_wheel.run(*flags, "-c", LM_EVALS_OWN)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_without_site_lm_evals_own_are_found(from_wheel):
    by_hand = f"import sys; sys.path[:0] = [{str(from_wheel.site)!r}, {str(from_wheel.base)!r}]\n"
    done = from_wheel.run("-S", "-c", by_hand + LM_EVALS_OWN)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("atts_lm_eval/bridge.py", None),
        ("atts_lm_eval/bridge.py", "import sys; sys.exit(7)"),
        ("atts_harness/plugins.py", None),
        ("atts_harness/plugins.py", "import sys; sys.exit(7)"),
    ],
)
@pytest.mark.parametrize("flags", [(), ("-I",)])
def test_a_damaged_installation_takes_no_model_of_lm_evals_away(from_wheel, file, text, flags):
    path = from_wheel.site / file
    aside = path.with_suffix(".aside")
    path.rename(aside)
    try:
        if text is not None:
            path.write_text(text)
        done = from_wheel.run(*flags, "-B", "-c", LM_EVALS_OWN)
    finally:
        aside.replace(path)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert "atts-harness is not available in lm_eval.models" in done.stderr


def test_the_stock_command_evaluates(from_wheel, tmp_path):
    output = tmp_path / "results.json"
    run = ("--tasks", "third_sums", "--limit", 2, "--output_path", output, "--log_samples")
    done = from_wheel.lm_eval("--model", "atts", *PAIR, *run)
    assert done.returncode == 0, done.stderr
    (written,) = tmp_path.glob("results_*.json")
    results = json.loads(written.read_text())
    assert results["results"]["third_sums"]["exact_match,none"] == 1.0
    assert results["config"]["atts"]["statistics"]["third_sums"]["samples"] == 4
    (logged,) = tmp_path.glob("samples_third_sums_*.jsonl")
    assert len(logged.read_text().splitlines()) == 2


def test_a_config_file_names_model_and_tasks(editable, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(
        "model: third-party\nmodel_args: {preset: scripted-pair}\ntasks: [third_sums]\nlimit: 1\n"
    )
    done = editable.lm_eval("run", "--config", config)
    assert done.returncode == 0, done.stderr
    assert "|third_sums|" in done.stdout


def test_ls_and_validate_know_the_tasks(from_wheel):
    assert "third_sums" in from_wheel.lm_eval("ls", "tasks").stdout
    assert "All tasks found" in from_wheel.lm_eval("validate", "--tasks", "third_sums").stdout


def test_bad_input_is_one_line_and_a_failure(from_wheel):
    wrong = ("--model_args", "preset=scripted-pair,rat=0.2")
    done = from_wheel.lm_eval("--model", "atts", "--tasks", "third_sums", *wrong)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith("lm_eval: error: model_args: unknown setting 'rat'; did you mean rate")
    assert "Traceback" not in done.stderr


def test_plugins_tells_how_everything_is_reached(from_wheel):
    shown = from_wheel.run("-m", "atts_harness", "plugins").stdout
    (row,) = [line for line in shown.splitlines() if "--model third-party" in line]
    assert "third-party-strategies" in row
    assert "start-up file" in row


def test_a_target_install_needs_no_start_up_code(wheel, tmp_path):
    made = make_environment(tmp_path / "env", INSTALLED)
    pip_install(made, "--target", tmp_path / "target", wheel)
    path = str(tmp_path / "target")
    run = ("--tasks", "third_sums", "--limit", "1", *PAIR)
    stock = made.lm_eval("--model", "atts", *run, PYTHONPATH=path)
    assert "third_sums" in stock.stderr.splitlines()[-1]  # not found
    assert stock.returncode == 1
    ours = made.run("-m", "atts_harness", "lm-eval", "--model", "atts", *run, PYTHONPATH=path)
    assert ours.returncode == 0, ours.stderr
    assert "|third_sums|" in ours.stdout
