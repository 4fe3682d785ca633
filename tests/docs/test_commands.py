"""Every command of the README and the docs runs as it stands, or says in a list why it does not.

The commands run in a scratch copy of the checkout, with mock engines behind the ports that the
pages name, a few rows of each benchmark, and a stand-in for the judge's endpoint. `make test` runs
the README's; `make test-docs` runs all of them.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import lm_eval
import pytest
import shell
from atts_tiny.paths import draft_path

COMMANDS = list(shell.commands())
EVERY_PAGE = os.environ.get("ATTS_TEST_DOCS") == "1"
PORTS = {"sglang": ("30000", "30001"), "vllm": ("8000", "8101", "8102")}
EVALUATES = "--log_samples --output_path runs/math500/results.json"  # what later pages read
COPIED = ("examples", "plugins", "benchmarks")

ROWS = {
    "math500/test.jsonl": {
        "problem": "What is 2 + 3?",
        "solution": "5",
        "answer": "5",
        "subject": "Algebra",
        "level": 1,
        "unique_id": "test/algebra/{}.json",
    },
    "aime24/train.jsonl": {"id": 60, "problem": "What is 2 + 3?", "answer": "5"},
}


def test_blocks_say_what_they_are():
    for page, line, language, text in shell.blocks():
        where = f"{page}:{line}"
        assert language, f"{where}: say `sh` for commands, `text` for what a terminal shows"
        assert language == "sh" or not shell.begins_like_a_command(text), f"{where}: is `sh`"
        assert "$ " not in text[:2] or language != "sh", f"{where}: leave the prompt out"


def test_the_reader_of_blocks_finds_continued_lines_and_drops_comments():
    texts = [command.text for command in COMMANDS if command.page == "README.md"]
    assert any("--apply_chat_template --log_samples" in text for text in texts)
    assert not any("#" in text or "\\" in text for text in texts)


@pytest.mark.parametrize("entry", shell.ENTRIES, ids=lambda entry: entry["begins"][:40])
def test_every_entry_of_the_list_is_a_command_that_is_there(entry):
    assert any(command.entry is entry for command in COMMANDS), "delete the entry"
    assert entry["reason"]
    assert len(entry.keys() & {"adds", "fails", "checks"}) == 1


class Place:
    """A scratch copy of the checkout in which commands run."""

    def __init__(self, folder):
        self.folder = folder
        self.ports = {}
        self.env = {
            **os.environ,
            "ATTS_DATA_DIR": str(folder / "data"),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_CACHE": str(folder / "cache"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")]),
            "COLUMNS": "120",
        }

    def run(self, text):
        for port, real in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{real}")
        return subprocess.run(
            ["bash", "-euc", text],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        (folder / name).symlink_to(shell.ROOT / name)
    for file, row in ROWS.items():
        path = folder / "data" / file
        path.parent.mkdir(parents=True)
        lines = [json.dumps(row).replace("{}", str(number)) for number in range(2)]
        path.write_text("\n".join(lines) + "\n")
    _lm_eval_without_its_tasks(folder / "site")
    place = Place(folder)
    servers = []
    try:
        for dialect, ports in PORTS.items():
            for port in ports:
                server = _mock(dialect)
                servers.append(server)
                place.ports[port] = server.stdout.readline().strip().rpartition(":")[2]
        yield place
    finally:
        for server in servers:
            server.terminate()
            server.wait()


def _lm_eval_without_its_tasks(site):
    """Reading lm-eval's own thousands of tasks takes ten seconds a command."""
    source = Path(lm_eval.__file__).parent
    tasks = source / "tasks"

    def left_out(folder, names):
        return [n for n in names if Path(folder) == tasks and Path(folder, n).is_dir()]

    shutil.copytree(source, site / "lm_eval", ignore=left_out)


def _mock(dialect):
    command = ["atts_harness.testing.mock_server", "--dialect", dialect, "--tokenizer"]
    return subprocess.Popen(
        [sys.executable, "-m", *command, str(draft_path()), "--length", "8"],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def evaluated(place):
    """The run that the README's first command makes."""
    (command,) = [c for c in COMMANDS if c.page == "README.md" and EVALUATES in c.text]
    return place.run(command.text)


def runs(command):
    return not (command.entry and "checks" in command.entry)


CHOSEN = [command for command in COMMANDS if runs(command)]


@pytest.mark.parametrize("command", CHOSEN, ids=str)
def test_it_runs(command, place, evaluated, chat_server):
    if command.page != "README.md" and not EVERY_PAGE:
        pytest.skip("make test-docs runs the commands of every page")
    place.env |= {"OPENAI_API_KEY": "key", "OPENAI_MODEL": "judge"}
    place.env["OPENAI_BASE_URL"] = chat_server.url
    entry = command.entry or {}
    if EVALUATES in command.text:
        done = evaluated
    else:
        done = place.run(" ".join([command.text, entry.get("adds", "")]))
    shown = done.stdout + done.stderr
    if "fails" in entry:
        assert done.returncode != 0, shown
        last = [line for line in shown.splitlines() if line.strip()][-1]
        assert re.search(entry["fails"], last), shown
        assert "Traceback" not in shown or command.text.startswith("lm_eval --model hf"), shown
    else:
        assert done.returncode == 0, shown


@pytest.mark.parametrize("command", [c for c in COMMANDS if not runs(c)], ids=str)
def test_what_is_not_run_is_checked(command):
    checks = command.entry["checks"]
    if checks == "make":
        makefile = (shell.ROOT / "Makefile").read_text()
        for target in command.text.split()[1:]:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    elif checks == "extras":
        project = tomllib.loads((shell.ROOT / "pyproject.toml").read_text())["project"]
        for extras in re.findall(r"\[([\w,-]+)\]", command.text):
            assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    elif checks == "syntax":
        assert len(shlex.split(command.text)) > 1
    else:
        assert checks == "prose"
