"""Cells that take a second and no lm-eval, and servers of mock engines: all else is as ever.

A cell is a process of its own with a run directory, and so is a calibration; servers are started
by `atts serve-models`, guarded, and speak SGLang's dialect.
"""

import json
import sys
import time
from pathlib import Path

from atts_sglang.options import SGLangOptions

from atts_harness.backend import BackendKind, ServerKind
from atts_harness.framework import EvaluationOutcome, TaskSize
from atts_harness.hookspecs import hookimpl
from atts_harness.testing import mock_plugin

TASK = "mock"
CALIBRATED = {"calibration": "online", "control": "fixed", "strategy": "atts"}


class MockCells:
    """An evaluation framework with one task: numbered problems."""

    name = "mock"
    packages = ()

    def tasks(self, names, include_path):
        return [TASK]

    def sizes(self, evaluation):
        return [TaskSize(documents=1000)]

    def command(self, evaluation, folder):
        fields = {
            "settings": {**evaluation.settings, "run_dir": str(folder)},
            "strategy": evaluation.strategy,
            "problems": evaluation.limit or 4,
            "repeats": int(evaluation.metadata.get("repeats", 2)),
        }
        return ["mock-cell", json.dumps(fields), "--folder", str(folder)]

    def outcome(self, folder):
        files = sorted(folder.glob("results_*.json"))
        if not files:
            return None
        return EvaluationOutcome(files[-1], "share", json.loads(files[-1].read_text())["share"])

    def documents(self, task, system_instruction=None, metadata=None):
        return []

    def questions(self, evaluation):
        return []

    def probe(self, evaluation, samples):
        raise NotImplementedError

    def calibrate(self, run):
        settings = {**run.model_args, **CALIBRATED, "run_dir": str(run.run_dir)}
        settings.pop("bank", None)
        evaluate(settings, "atts", run.questions or 4, 1)
        return "numbers"


def evaluate(settings, strategy, problems, repeats):
    """Run a strategy; the records of its samples."""
    from atts_harness.running.harness import Harness
    from atts_harness.settings import parse_settings
    from atts_harness.testing.mock_runs import make_groups

    with Harness(parse_settings({**settings, "strategy": strategy})) as harness:
        instance = harness.strategy({}, {"task": TASK})
        return harness.run(make_groups(problems, repeats, instance, task=TASK, max_tokens=4096))


def add_mock_cell(app):
    """Add `atts mock-cell`."""
    import typer

    def mock_cell(told: str, folder: Path = typer.Option()) -> None:  # noqa: B008
        """Run a cell of the mock framework."""
        given = json.loads(told)
        records = evaluate(
            given["settings"], given["strategy"], given["problems"], given["repeats"]
        )
        right = sum(len(record.text) % 2 for record in records)
        found = {
            "share": right / len(records),
            "texts": {f"{r.id.doc}/{r.id.repeat}": r.text for r in records},
        }
        (folder / f"results_{time.time_ns()}.json").write_text(json.dumps(found))

    app.command("mock-cell")(mock_cell)


async def _open(spec):
    from atts_sglang.backend import answers, connect

    from atts_harness.engines.backend import open_engine

    return await open_engine(spec, connect, _launch, answers)


def _launch(spec):
    from atts_harness.engines.logs import log_of
    from atts_harness.engines.managed import devices_of, flags, port_of
    from atts_harness.engines.servers import Launch

    port = port_of(spec.options)
    argv = [sys.executable, "-m", "atts_harness.testing.mock_server", "--dialect", "sglang"]
    argv += ["--host", spec.options.host, "--port", str(port), "--tokenizer", str(spec.model)]
    argv += flags(spec.options.server_args)
    devices = ",".join(devices_of(spec))
    return Launch(
        role=spec.role,
        argv=argv,
        env={"CUDA_VISIBLE_DEVICES": devices},
        host=spec.options.host,
        port=port,
        log=log_of(spec, "mock"),
        timeout=spec.options.start_timeout,
        note=f"{spec.role} on devices {devices or 'cpu'}",
    )


async def _recognise(url):
    return False


@hookimpl
def atts_frameworks():
    return [MockCells()]


@hookimpl
def atts_strategies():
    return mock_plugin.atts_strategies()


@hookimpl
def atts_backends():
    served = BackendKind(
        "mock-served", SGLangOptions, _open, "a mock engine behind a server",
        server=ServerKind(_recognise, starts=True),
    )  # fmt: skip
    return [*mock_plugin.atts_backends(), served]


@hookimpl
def atts_cli(app):
    add_mock_cell(app)
