"""Whatever is wrong with this project's files, `import lm_eval.models` works as without them.

A folder in the place of site-packages with a stub of lm-eval, the start-up file and a broken state
of the package, read by a fresh interpreter in each of the ways that people start one.
"""

import shutil
import subprocess
import venv
from pathlib import Path

import pytest
from atts_lm_eval import bridge

OURS = Path(bridge.__file__).parent
CORE = Path(__file__).parents[3] / "atts_harness"

BRIDGE = "atts_lm_eval/bridge.py"
INIT = "atts_lm_eval/__init__.py"
STATES = {
    "removed": {},
    "only a folder": {"atts_lm_eval/__pycache__/left": ""},
    "a module of that name": {"atts_lm_eval.py": ""},
    "a file without its bridge": {INIT: ""},
    "empty bridge": {INIT: "", BRIDGE: ""},
    "bridge with an error of syntax": {INIT: "", BRIDGE: "def"},
    "bridge with null bytes": {INIT: "", BRIDGE: "\0\0"},
    "bridge that raises": {INIT: "", BRIDGE: "raise RuntimeError('no')"},
    "bridge that ends the process": {INIT: "", BRIDGE: "raise SystemExit(7)"},
    "bridge that recurses": {INIT: "", BRIDGE: "def f(): f()\nf()"},
    "package that ends the process": {INIT: "import sys; sys.exit('gone')"},
    "finder that raises": {INIT: "", BRIDGE: "def find_spec(*rest): raise OSError('stale')"},
    "finder that ends the process": {INIT: "", BRIDGE: "def find_spec(*rest): raise SystemExit"},
    "bridge without the core": {INIT: "", "bridge": OURS},
}
SILENT = {"removed"}

OTHER_FINDERS = {
    "none": "",
    "one without find_spec": "sys.meta_path.append(object())",
    "one whose text cannot be shown": (
        "sys.meta_path.append(type('Mute', (), {'__repr__': lambda s: 1 / 0, "
        "'find_spec': lambda *rest: None})())"
    ),
    "one whose attributes raise": (
        "sys.meta_path.append(type('Closed', (), {'name': property(lambda s: 1 / 0), "
        "'find_spec': lambda *rest: None})())"
    ),
    "one that raises for what it does not know": (
        "sys.meta_path.append(type('Strict', (), "
        "{'find_spec': lambda s, name, *rest: {}['lm_eval' in name or name]})())"
    ),
}
# How the interpreter is started, and how the folder comes to be its site-packages.
SITE = "import site; site.addsitedir({folder!r});"
BY_HAND = "sys.path.insert(0, {folder!r}); exec(open({folder!r} + '/atts.pth').read());"
STARTS = {
    "plain": ((), SITE),
    "-I": (("-I",), SITE),
    "-E": (("-E",), SITE),
    "-P": (("-P",), SITE),  # PYTHONSAFEPATH
    "-S": (("-S",), SITE),
    "-I -S by hand": (("-I", "-S"), BY_HAND),
    "-S by hand, without the file": (("-S",), "sys.path.insert(0, {folder!r});"),
}
LOOK = "import lm_eval.models; assert lm_eval.models.hf == 'hf'; print('loaded')"


def make(folder, files):
    models = {"lm_eval/__init__.py": "", "lm_eval/models/__init__.py": "hf = 'hf'"}
    models["lm_eval/tasks/__init__.py"] = "from lm_eval.tasks.manager import TaskIndex"
    models["lm_eval/tasks/manager.py"] = "class TaskIndex: pass"
    for name, text in {**models, **files}.items():
        if isinstance(text, Path):
            shutil.copytree(text, folder / "atts_lm_eval", dirs_exist_ok=True)
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copy(OURS / "autoload.pth", folder / "atts.pth")
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Runs code in a bare interpreter, which has nothing of this project."""
    root = tmp_path_factory.mktemp("bare")
    venv.create(root, with_pip=False, symlinks=True)

    def run(folder, how, code, finders=""):
        flags, way = STARTS[how]
        code = f"import sys; {finders}\n{way.format(folder=str(folder))}\n{code}"
        return subprocess.run(
            [root / "bin" / "python", *flags, "-c", code],
            capture_output=True,
            text=True,
            cwd=folder,
            check=False,
        )

    return run


def assert_loaded(done):
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["loaded"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("state", STATES)
def test_lm_eval_loads_whatever_is_left_of_this_package(start, tmp_path, state):
    done = start(make(tmp_path, STATES[state]), "plain", LOOK)
    assert_loaded(done)
    lines = done.stderr.splitlines()
    if state in SILENT:
        assert lines == []
    else:
        assert len(lines) == 1
        assert "atts-harness is not available in lm_eval.models" in lines[0]


@pytest.mark.parametrize("how", STARTS)
def test_lm_eval_loads_however_python_is_started(start, tmp_path, how):
    folder = make(tmp_path, STATES["bridge that raises"])
    done = start(folder, how, LOOK)
    assert_loaded(done)
    told = "RuntimeError: no" in done.stderr
    assert told == ("without" not in how)


@pytest.mark.parametrize("finders", OTHER_FINDERS)
@pytest.mark.parametrize("state", ["removed", "bridge without the core"])
def test_lm_eval_loads_beside_any_other_finder(start, tmp_path, state, finders):
    done = start(make(tmp_path, STATES[state]), "plain", LOOK, OTHER_FINDERS[finders])
    assert_loaded(done)


@pytest.mark.parametrize("how", [how for how in STARTS if "without" not in how])
def test_the_harness_is_reached_however_python_is_started(start, tmp_path, how):
    """The same starts with everything in place: the bridge runs and asks the core."""
    core = {"atts_harness/__init__.py": "", "atts_harness/plugins.py": "raise OSError('asked')"}
    done = start(make(tmp_path, {**STATES["bridge without the core"], **core}), how, LOOK)
    assert_loaded(done)
    assert "OSError: asked" in done.stderr


def test_a_loader_of_the_old_kind_is_left_alone(start, tmp_path):
    """It loads by `load_module` only, and so it cannot be extended; that is told."""
    folder = make(tmp_path, STATES["bridge without the core"])
    finders = """
import importlib.machinery
class Old:
    def load_module(self, name):
        module = type(sys)(name)
        module.hf = 'hf'
        sys.modules[name] = module
        return module
class Finder:
    def find_spec(self, name, *rest):
        if name == 'lm_eval.models':
            return importlib.machinery.ModuleSpec(name, Old())
sys.meta_path.insert(0, Finder())
"""
    done = start(folder, "plain", LOOK, finders)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["loaded"]
    assert "its loader is unknown" in done.stderr


def test_a_spec_can_be_copied(start, tmp_path):
    folder = make(tmp_path, STATES["bridge without the core"])
    code = (
        "import copy, importlib.util; spec = importlib.util.find_spec('lm_eval.models');"
        "again = copy.copy(spec.loader); assert again.path == spec.loader.path; print('loaded')"
    )
    assert_loaded(start(folder, "plain", code))


def test_ctrl_c_is_no_fault_of_ours(start, tmp_path):
    folder = make(tmp_path, {INIT: "", BRIDGE: "raise KeyboardInterrupt"})
    done = start(folder, "plain", LOOK)
    assert done.returncode != 0
    assert "loaded" not in done.stdout
