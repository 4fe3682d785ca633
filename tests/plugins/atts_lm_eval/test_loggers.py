"""lm-eval's own loggers, the real classes, on stand-ins for W&B and Trackio."""

import contextlib
import copy
import io
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import atts_tasks
import pytest
from atts_lm_eval.model import AttsLM
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

COSTS = ("target_tokens", "draft_tokens", "turns", "seconds", "takeover_rate")


class Run:
    """What a W&B run takes: configuration, summary, steps, artifacts."""

    def __init__(self):
        self.config = Settings()
        self.summary = {}
        self.logged = {}
        self.artifacts = {}

    def log(self, values, step=None):
        for value in values.values():
            if not hasattr(value, "columns"):
                json.dumps(value)  # W&B takes numbers, texts and lists of them
        self.logged |= values

    def log_artifact(self, artifact):
        self.artifacts[artifact.name] = artifact.text


class Settings(dict):
    def update(self, values, allow_val_change=False):
        json.dumps(values, default=str)
        super().update(values)


class Table:
    def __init__(self, columns):
        self.columns, self.data = columns, []

    def add_data(self, *row):
        assert len(row) == len(self.columns)
        self.data.append(row)


class Artifact:
    def __init__(self, name, type):
        self.name, self.type, self.text = name, type, ""

    @contextlib.contextmanager
    def new_file(self, name, mode, encoding):
        file = io.StringIO()
        yield file
        self.text = file.getvalue()


@pytest.fixture
def wandb(monkeypatch):
    run = Run()
    module = ModuleType("wandb")
    module.__version__ = "0.21.0"
    module.run = None
    module.init = lambda **_: run
    module.Table, module.Artifact = Table, Artifact
    printer = ModuleType("wandb.sdk.lib.printer")
    printer.new_printer = lambda: None
    for name in ("wandb.sdk", "wandb.sdk.lib"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setitem(sys.modules, "wandb.sdk.lib.printer", printer)
    return run


@pytest.fixture
def trackio(monkeypatch):
    module = ModuleType("trackio")
    module.run = Run()
    module.config = module.run.config
    module.init = lambda **_: module.run
    module.traces = []
    module.Trace = lambda messages, metadata: SimpleNamespace(messages=messages, metadata=metadata)

    def log(values, step=None):
        for name, value in values.items():
            if name.endswith("/sample"):
                module.traces.append(value)
            else:
                module.run.logged[name] = value

    module.log = log
    monkeypatch.setitem(sys.modules, "trackio", module)
    return module


@pytest.fixture
def results(pair):
    """Of a run on a task of ours: every other draft is taken over."""
    pair.target.scores = lambda asked: float(asked.number)
    model = AttsLM(rate=0.5)
    folder = Path(atts_tasks.__file__).parent / "chain"
    try:
        yield simple_evaluate(
            model=model,
            tasks=["atts_chain"],
            task_manager=TaskManager(
                include_path=str(folder), include_defaults=False, metadata={"repeats": 2}
            ),
            limit=3,
            bootstrap_iters=0,
            apply_chat_template=True,
        )
    finally:
        model.close()


def figures(results):
    return results["config"]["atts"]["statistics"]["atts_chain"]


def test_the_figures_are_metrics_of_the_task(results):
    found = results["results"]["atts_chain"]
    told = figures(results)
    assert found["target_tokens,all"] == pytest.approx(told["tokens_per_sample"]["target_computed"])
    assert found["draft_tokens,all"] == pytest.approx(told["tokens_per_sample"]["draft_computed"])
    assert found["turns,all"] == pytest.approx(told["turns_per_sample"])
    assert found["takeover_rate,all"] == pytest.approx(told["takeover"]["realised_rate"])
    assert told["takeover"]["judged_turns"] > 0
    assert found["seconds,all"] > 0


def test_wandb_gets_them_as_metrics_and_all_of_it_as_configuration(results, wandb):
    from lm_eval.loggers import WandbLogger

    logger = WandbLogger({"project": "p"})
    logger.post_init(results)
    logger.log_eval_result()
    logger.log_eval_samples(copy.deepcopy(results["samples"]))
    for name in COSTS:
        logged = wandb.logged[f"atts_chain/{name},all"]
        assert isinstance(logged, int | float)
        assert logged == results["results"]["atts_chain"][f"{name},all"]
    atts = wandb.config["cli_configs"]["atts"]
    assert atts["statistics"]["atts_chain"] == figures(results)
    assert atts["run"]["ledger"]["calls"]["target/score"]["calls"] > 0
    rows = {row[4]: row[5] for row in wandb.logged["evaluation/eval_results"].data}
    assert set(COSTS) <= rows.keys()
    assert json.loads(wandb.artifacts["results"])["config"]["atts"]["strategy"] == "atts"
    assert len(wandb.logged["atts_chain_eval_results"]) == 3
    assert len(json.loads(wandb.artifacts["atts_chain"])) == 3


def test_trackio_gets_them_too(results, trackio):
    from lm_eval.loggers import TrackioLogger

    logger = TrackioLogger({"project": "p"})
    logger.post_init(results)
    logger.log_eval_result()
    logger.log_eval_samples(results["samples"])
    for name in COSTS:
        found = results["results"]["atts_chain"][f"{name},all"]
        assert trackio.run.logged[f"atts_chain/{name},all"] == found
    atts = trackio.config["cli_configs"]["atts"]
    assert atts["statistics"]["atts_chain"] == figures(results)
    assert len(trackio.traces) == 3
    assert trackio.traces[0].metadata["target_tokens"] > 0
