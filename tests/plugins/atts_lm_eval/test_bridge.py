"""What the start-up file does and leaves alone, and how each half steps aside."""

import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from types import SimpleNamespace

import lm_eval.models
import pytest
from atts_lm_eval import bridge, upstream
from lm_eval.api import registry

from atts_harness import plugins
from atts_harness.errors import SettingError
from atts_harness.plugins import Registered

START_UP_FILE = Path(bridge.__file__).parent / "autoload.pth"


@pytest.fixture
def models(monkeypatch):
    """lm-eval's registry as released, put back afterwards."""
    monkeypatch.delattr(registry, "load_plugins", raising=False)
    own = dict(lm_eval.models.MODEL_MAPPING)
    monkeypatch.setattr(registry.model_registry, "_objs", own)
    return registry.model_registry


def finders():
    return [f for f in sys.meta_path if getattr(f, "name", None) == bridge.FINDER]


@pytest.fixture
def meta_path(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [f for f in sys.meta_path if f not in finders()])


def run_line():
    exec(START_UP_FILE.read_text(), {"sys": sys})


def test_the_start_up_file_is_one_line_that_imports_only_sys():
    (line,) = START_UP_FILE.read_text().splitlines()
    assert line.startswith("import sys; ")
    assert line.count("import ") == 1


def test_it_may_run_twice(meta_path):
    run_line()
    run_line()
    assert len(finders()) == 1


def test_it_can_be_switched_off(meta_path, monkeypatch):
    monkeypatch.setenv("ATTS_NO_AUTOLOAD", "1")
    run_line()
    assert not finders()


def test_it_imports_nothing_and_finds_nothing_else():
    code = (
        f"import os, sys; before = set(sys.modules); exec({START_UP_FILE.read_text()!r});"
        "assert set(sys.modules) == before, set(sys.modules) - before;"
        "import json, wsgiref.util;"
        "assert not [m for m in sys.modules if m.startswith('atts')]"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_without_the_package_lm_eval_loads_as_always(tmp_path):
    package = tmp_path / "lm_eval"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text("loaded = True")
    code = (
        f"import os, sys; sys.path.insert(0, {str(tmp_path)!r});"
        f"exec({START_UP_FILE.read_text()!r});"
        "import lm_eval.models; assert lm_eval.models.loaded"
    )
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_a_module_is_extended_once_it_is_loaded(meta_path, tmp_path, monkeypatch):
    (tmp_path / "some_module.py").write_text("value = 1")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    monkeypatch.setitem(bridge.EXTENSIONS, "some_module", lambda module: seen.append(module.value))
    bridge.install()
    import some_module

    assert seen == [1]
    assert type(some_module.__loader__).__name__ == "SourceFileLoader"
    assert some_module.__spec__.loader is some_module.__loader__


def test_every_strategy_becomes_a_model_and_lm_evals_own_stay(pair, models):
    bridge.extend_models(lm_eval.models)
    assert models._objs["atts"] == "atts_lm_eval.models:atts"
    assert {"hf", "vllm", "sglang", "dummy"} <= set(models)
    for name in plugins.strategies():
        assert models.get(name).strategy == name


def test_extending_twice_changes_nothing(pair, models):
    bridge.extend_models(lm_eval.models)
    models.get("draft-only")
    before = dict(models._objs)
    bridge.extend_models(lm_eval.models)
    assert models._objs == before


def test_a_name_of_lm_evals_own_is_kept_and_told(pair, models, monkeypatch, caplog):
    strategies = {"hf": Registered("hf", object, "plugin", "dist")}
    monkeypatch.setattr(plugins, "strategies", lambda: strategies)
    bridge.extend_models(lm_eval.models)
    assert models._objs["hf"] == "lm_eval.models.huggingface:HFLM"
    assert "lm-eval has one of that name" in caplog.text


def test_models_that_upstream_finds_are_left_to_it(pair, models, monkeypatch):
    monkeypatch.setattr(registry, "load_plugins", lambda group, reg: [], raising=False)
    offered = EntryPoints([EntryPoint("atts", "atts_lm_eval.models:atts", bridge.GROUP)])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: offered)
    bridge.extend_models(lm_eval.models)
    assert "atts" not in models
    assert "draft-only" in models  # announced to the harness, but not to lm-eval


def test_a_fault_of_ours_is_told_and_takes_nothing_away(models, monkeypatch, caplog):
    def broken():
        raise SettingError("plugins: an installed plugin cannot be imported: x")

    monkeypatch.setattr(plugins, "discovery", broken)
    bridge._guarded(bridge.extend_models, lm_eval.models)
    assert "cannot be imported: x" in caplog.text
    assert "hf" in models


class Index:
    read = ()

    @staticmethod
    def build(paths, **options):
        Index.read = list(paths)
        return {}


@pytest.fixture
def task_manager(monkeypatch, tmp_path):
    """A stand-in for lm-eval's task manager module, with a plugin's folder."""
    plugin = tmp_path / "plugin"
    entry = Registered(str(plugin), plugin, "tasks", "dist")
    monkeypatch.setattr(plugins, "task_dirs", lambda: {str(plugin): entry})
    module = SimpleNamespace(
        TaskIndex=Index, __file__=str(tmp_path / "own" / "manager.py"), __name__=upstream.TASKS
    )
    bridge.extend_tasks(module)
    return module


def test_task_folders_come_between_lm_evals_own_and_the_users(task_manager, tmp_path):
    task_manager.TaskIndex().build([tmp_path / "own", tmp_path / "user"])
    assert [path.name for path in Index.read] == ["own", "plugin", "user"]


def test_task_folders_that_are_read_anyway_are_not_read_twice(task_manager, tmp_path):
    task_manager.TaskIndex().build([tmp_path / "own", tmp_path / "user" / ".." / "plugin"])
    assert [path.name for path in Index.read] == ["own", "plugin"]


def test_without_lm_evals_own_tasks_there_are_none_of_ours(task_manager, tmp_path):
    task_manager.TaskIndex().build([tmp_path / "user"])
    assert [path.name for path in Index.read] == ["user"]


def test_a_fault_of_ours_leaves_lm_evals_own_tasks(task_manager, monkeypatch, tmp_path, caplog):
    def broken():
        raise SettingError("plugins: x cannot be imported")

    monkeypatch.setattr(plugins, "task_dirs", broken)
    task_manager.TaskIndex().build([tmp_path / "own"])
    assert [path.name for path in Index.read] == ["own"]
    assert "x cannot be imported" in caplog.text


def test_the_task_index_is_extended_once(task_manager):
    extended = task_manager.TaskIndex
    bridge.extend_tasks(task_manager)
    assert task_manager.TaskIndex is extended


def test_the_entry_points_are_the_built_in_strategies():
    """What upstream will read is what the harness has; needs an installed package."""
    try:
        own = importlib.metadata.distribution("atts-harness").entry_points
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("atts-harness is not installed here")
    ours = {n for n, s in plugins.strategies().items() if s.distribution == "atts-harness"}
    declared = own.select(group=bridge.GROUP)
    assert {entry.name for entry in declared} == ours
    assert all(entry.value == bridge.target_of(entry.name) for entry in declared)
