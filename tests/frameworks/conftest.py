"""The same 20 chain problems x 4 for every framework, on the embedded pair, by its real commands.

`make test-frameworks` installs each framework into an environment of its own and says by
ATTS_FRAMEWORKS which are there.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.proxy import Recorder

ROOT = Path(__file__).parents[2]
# Fewer for a quick look.
PROBLEMS = int(os.environ.get("ATTS_FRAMEWORK_PROBLEMS", "20"))
REPEATS, RATE = 4, 0.2
TASK = "atts_chain"
# What the task's file says; a server or another framework's task has to be told.
TURNS = {"turn_stop": "\n\n", "draft_tokens": 96, "target_tokens": 96, "turns": 40}
DRAWN = {"temperature": 0.8, "top_p": 1.0, "max_tokens": 640}
MODEL = {"preset": "tiny-calibrated", "rate": RATE}
PROCESS = 900
"""Seconds that a framework's command may take on a machine with other work."""


def command_of(framework, name):
    """A framework's command, as its environment has it."""
    there = os.environ.get("ATTS_FRAMEWORKS", "").split(",")
    if framework not in there:
        pytest.skip(f"{framework} is not among ATTS_FRAMEWORKS; see `make test-frameworks`")
    return str(ROOT / ".venv-frameworks" / framework / "bin" / name)


def run(command, where, **variables):
    """Run a command in a folder; its output if it went well."""
    environment = {**os.environ, "HOME": str(where), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, timeout=PROCESS
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def problems():
    """The questions with their answers, in order."""
    from atts_lm_eval.framework import LmEval

    from atts_harness.framework import Evaluation

    asked = LmEval().questions(Evaluation(TASK, "", limit=PROBLEMS))
    return [(question.messages[0].content, question.document["answer"]) for question in asked]


class Reference:
    """What `lm_eval --model atts` has.

    `texts` are by document and repeat; `shares` are the shares of right answers, by document.
    """

    def __init__(self, texts, shares):
        self.texts = texts
        self.shares = shares
        self.accuracy = sum(shares) / len(shares)


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    where = tmp_path_factory.mktemp("lm_eval")
    args = ",".join(f"{name}={value}" for name, value in MODEL.items())
    run(
        [
            *(sys.executable, "-m", "atts_harness", "lm-eval", "--model", "atts"),
            *("--model_args", args, "--tasks", TASK, "--apply_chat_template"),
            *("--limit", str(PROBLEMS), "--metadata", json.dumps({"repeats": REPEATS})),
            *("--log_samples", "--output_path", "results.json"),
        ],
        where,
    )
    (log,) = where.glob("samples_*.jsonl")
    texts, shares = {}, []
    for line in log.read_text().splitlines():
        sample = json.loads(line)
        (answers,) = sample["resps"]
        texts |= {(sample["doc"]["doc_id"], n): text for n, text in enumerate(answers)}
        shares.append(sample["pass@1"])
    assert len(texts) == PROBLEMS * REPEATS
    return Reference(texts, shares)


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """Address of `atts serve`, with the file bank of the task."""
    where = tmp_path_factory.mktemp("serve")
    command = [sys.executable, "-m", "atts_harness", "serve", "--model", "atts", "--port", "0"]
    command += ["--model-args", json.dumps(MODEL | TURNS | {"max_gen_toks": 640}), "--task", TASK]
    with (where / "log").open("w+") as log:
        served = subprocess.Popen(command, cwd=where, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            found = None
            while found is None:
                line = served.stdout.readline()
                assert line, (where / "log").read_text()
                found = re.search(r"http://[\d.]+:(\d+)", line)
            yield int(found.group(1))
        finally:
            served.terminate()
            served.wait(30)


@pytest.fixture
def endpoint(service):
    """The service behind a recorder of its own: `url`, and `calls` of what was sent and came."""
    with Recorder(service) as recorder:
        yield recorder


def agrees(shares, reference):
    """Accuracies of the same problems agree within chance: paired by problem, five errors.

    Fresh seeds are drawn by chance, and five standard errors of 20 problems are passed by less than
    one run in ten thousand. Equality of texts is what holds the rest.

    Args:
        shares: by problem the share of right answers.
        reference: likewise.
    """
    differences = [a - b for a, b in zip(shares, reference, strict=True)]
    mean = sum(differences) / len(differences)
    spread = math.sqrt(sum((d - mean) ** 2 for d in differences) / (len(differences) - 1))
    error = spread / math.sqrt(len(differences))
    assert abs(mean) <= 5 * error + 1e-9, f"{mean:+.3f} with a standard error of {error:.3f}"


def told(name, capsys, **figures):
    """Print a framework's figures, for the report."""
    with capsys.disabled():
        print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
