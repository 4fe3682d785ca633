"""Every format of files that is read: how a sound one is made, and how it is read."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from atts_controls.realised import realised_rates
from atts_speculative_thinking.options import SpeculativeThinkingOptions, resolve

from atts_harness import plugins
from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.flops import size_of
from atts_harness.analysis.leaderboard.loading import Options, load
from atts_harness.analysis.leaderboard.outputs.json_file import read_json, write_json
from atts_harness.comparing.cells import expand
from atts_harness.comparing.plan import read_plan
from atts_harness.comparing.status import Folder, merged, read_status
from atts_harness.conformal import Provenance, bank_of, read_bank, write_bank
from atts_harness.journal.reader import open_run
from atts_harness.judging.calls import JudgeCalls
from atts_harness.judging.llm import ChatReply
from atts_harness.results.find import find, read, saved_tasks
from atts_harness.results.published import read_traces
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.simulation.costs import gpu_of
from atts_harness.testing import mock_plugin
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups
from atts_harness.testing.mutations import mutate, mutate_database

LOGS = Path(__file__).parents[2] / "tests/atts_harness/analysis/leaderboard/data"
PLAN = """
name: sums
limit: 4
settings: &own {seed: 7, rate: 0.3}
pairs: {one: tiny, two: {preset: tiny, draft_temperature: 0.5}}
tasks: [atts_chain, {task: atts_chain_easy, limit: 2, metadata: {x: 1}}]
strategies:
  - draft-only
  - {strategy: atts, name: a, settings: {<<: *own}, points: {rate: [0.1, 0.2], turns: [4]}}
  - {strategy: random-takeover, settings: {rate_of: a-rate=0.1-turns=4}}
"""
RULES = "begin: true\nbegin_token_num: 50\nmax_recap_token_num: 200\ndtype: x\n"


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: for people.
        make: writes a sound file (with what belongs to it) into a folder and returns its path.
        read: what a file says, in plain values.
        sealed: whether it has a checksum, so that no change goes unseen.
        mutate: changes the file for a seed.
        beside: whether what lies beside the file has to be read whatever is wrong with it.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    sealed: bool = False
    mutate: Callable[[Path, int], None] | None = None
    beside: Callable[[Path], bool] | None = None

    def changed(self, path: Path, seed: int) -> None:
        """Mutate a file in place."""
        if self.mutate is not None:
            self.mutate(path, seed)
        else:
            path.write_bytes(mutate(path.read_bytes(), seed))


def _bank(suffix: str) -> Callable[[Path], Path]:
    rows = [(q, t, 0.125 + q / 7 + t) for q in range(12) for t in range(3)]
    bank = bank_of(rows, provenance=Provenance(task="t", draft="d"), rate=0.4, origin="made")
    return lambda folder: write_bank(bank, folder / f"bank.{suffix}")


def _array(folder: Path) -> Path:
    path = folder / "ppls_math_large_small_s4_t500_temp0.8_ct1.npy"
    np.save(path, np.linspace(1.1, 3.0, 40))
    return path


def _questions(folder: Path) -> Path:
    path = folder / "bank.json"
    path.write_text(json.dumps({str(n): [1.5, 2.0 + n, 1.25] for n in range(9)}))
    return path


def _results(folder: Path) -> Path:
    shutil.copytree(LOGS / "hf", folder / "hf")
    return next((folder / "hf").glob("results_*.json"))


def _ours(folder: Path) -> Path:
    shutil.copytree(LOGS / "atts", folder / "atts")
    return next((folder / "atts").glob("results_*.json"))


def _log(folder: Path) -> Path:
    return next(_results(folder).parent.glob("samples_*.jsonl"))


def _both(folder: Path) -> Path:
    _ours(folder)
    return _results(folder)


def _rows(path: Path) -> Any:
    """The rows of a folder with results of two runs, one of them mutated."""
    sources, refused = find([path.parents[1]])
    loaded, further = load(sources, Options())
    rows = [msgspec.to_builtins(one.row) for one in loaded]
    return rows, [msgspec.to_builtins(one.reason) for one in (*refused, *further)]


def _other_row_is_there(path: Path) -> bool:
    rows, _ = _rows(path)
    return any("/atts/" in str(row["source"]["results"]) for row in rows)


def _trace_lines() -> bytes:
    lines = [
        {
            "question_index": q,
            "question_id": f"q{q}",
            "question": "?",
            "repeat": r,
            "gold": "12",
            "answer": "12",
            "answer_regex": "invalid",
            "turns": [
                {"turn": 0, "draft": "so", "ppl": 1.5, "percentile": 0.1},
                {"turn": 1, "draft": "is", "ppl": 2.5, "percentile": 0.7, "target": r"\boxed{12}"},
            ],
        }
        for q in range(3)
        for r in range(2)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _traces(folder: Path) -> Path:
    path = folder / "run.jsonl"
    path.write_bytes(_trace_lines())
    return path


def _packed(folder: Path) -> Path:
    path = folder / "run.jsonl.gz"
    path.write_bytes(gzip.compress(_trace_lines(), mtime=0))
    return path


def _traces_read(path: Path) -> Any:
    whole = [msgspec.to_builtins(trace) for trace in read_traces(path)]
    return whole, _saved(path)


def _saved(path: Path) -> Any:
    tasks = saved_tasks(path)
    read_ = [
        (q.question.name, [msgspec.to_builtins(s) for s in q.all_samples()], q.missing())
        for task in tasks
        for q in task
    ]
    return read_


def _plan(folder: Path) -> Path:
    path = folder / "plan.yaml"
    path.write_text(PLAN)
    return path


def _cells(path: Path) -> Any:
    return [(cell.name, dict(cell.settings), cell.needs) for cell in expand(read_plan(str(path)))]


def _status(folder: Path) -> Path:
    plan = read_plan(str(_plan(folder)))
    directory = Folder(folder / "out")
    status = merged(None, expand(plan), plan.plan, "plan.yaml")
    for number, cell in enumerate(status.cells):
        cell.starts, cell.state, cell.accuracy = 1, "done", number / 10
    directory.write(status)
    directory.close()
    return folder / "out" / "compare.json"


def _status_read(path: Path) -> Any:
    status = read_status(path.parent)
    if status is None:
        raise ValueError("it is not there")
    return msgspec.to_builtins(status)


def _calls(folder: Path) -> Path:
    path = folder / "llm-extractions.jsonl"
    calls = JudgeCalls(lambda request: ChatReply(f"ANSWER: {request}", False, 3, 4), path, "m")
    for number in range(6):
        calls.read(str(number), lambda reply: reply.text)
    return path


def _calls_read(path: Path) -> Any:
    calls = JudgeCalls(lambda request: ChatReply(f"ANSWER: {request}", False, 3, 4), path, "m")
    return [calls.read(str(number), lambda reply: reply.text) for number in range(6)]


def _journal(folder: Path) -> Path:
    """A finished run on the mock engines."""
    manager = plugins.manager()
    ours = not manager.is_registered(mock_plugin)
    if ours:
        manager.register(mock_plugin)
    try:
        model_args = {"strategy": "mock-turns", "backend": "mock", "draft": "d", "target": "t"}
        settings = parse_settings({**model_args, "progress": "off", "run_dir": str(folder / "run")})
        turns = MockTurns(MockOptions(turns=3, draft_tokens=8, rate=0.5))
        with Harness(settings) as harness:
            harness.run(make_groups(2, 2, turns))
    finally:
        if ours:
            manager.unregister(mock_plugin)
    return folder / "run" / "journal.sqlite3"


def _run(path: Path) -> Any:
    with open_run(path.parent) as run:
        return msgspec.to_builtins(
            [
                run.record,
                [(str(sample), digest) for sample, digest in run.planned().items()],
                list(run.samples()),
                list(run.decisions()),
                list(run.calls()),
                list(run.call_figures()),
                list(run.sample_figures()),
                list(run.metrics()),
                [str(sample) for sample in run.missing()],
                run.complete,
            ],
            str_keys=True,
        )


def _database(path: Path, seed: int) -> None:
    """Bytes of the file, or a value in a table."""
    if seed % 2:
        mutate_database(path, seed)
    else:
        path.write_bytes(mutate(path.read_bytes(), seed))


def _leaderboard(folder: Path) -> Path:
    _both(folder)
    path = folder / "leaderboard.json"
    write_json(report([folder]).leaderboard, path)
    return path


def _model(folder: Path) -> Path:
    """A model's folder: its configuration, and headers of weights in two parts."""
    config = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64, "head_dim": 16}
    (folder / "config.json").write_text(json.dumps(config))
    parts = ("model-1.safetensors", "model-2.safetensors")
    for part in parts:
        header = json.dumps({f"{part}.w": {"dtype": "F32", "shape": [8, 8]}}).encode()
        (folder / part).write_bytes(len(header).to_bytes(8, "little") + header)
    index = {"weight_map": {f"{part}.w": part for part in parts}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _of_model(name: str) -> Callable[[Path], Path]:
    return lambda folder: _model(folder) / name


def _size(path: Path) -> Any:
    return size_of(str(path.parent))


def _gpus(folder: Path) -> Path:
    path = folder / "gpus.yaml"
    path.write_text("h: {memory: 80, bandwidth: 3000, flops: 900, link: 400}\n")
    return path


def _rules(folder: Path) -> Path:
    path = folder / "rules.yaml"
    path.write_text(RULES)
    return path


def _rules_read(path: Path) -> Any:
    return msgspec.to_builtins(resolve(SpeculativeThinkingOptions(config=str(path))))


FORMATS = (
    Format("bank.json", _bank("json"), lambda p: msgspec.to_builtins(read_bank(p)), sealed=True),
    Format("bank.npz", _bank("npz"), lambda p: msgspec.to_builtins(read_bank(p)), sealed=True),
    Format("published bank.npy", _array, lambda p: msgspec.to_builtins(read_bank(p))),
    Format("published bank by question", _questions, lambda p: msgspec.to_builtins(read_bank(p))),
    Format("results of lm-eval", _results, read),
    Format("results of our runs", _ours, read),
    Format("sample log", _log, _saved),
    Format("report beside another", _both, _rows, beside=_other_row_is_there),
    Format("published traces", _traces, _traces_read),
    Format("published traces, packed", _packed, _traces_read),
    Format("plan", _plan, _cells),
    Format("status of a comparison", _status, _status_read, sealed=True),
    Format("kept replies", _calls, _calls_read, sealed=True),
    Format("journal", _journal, _run, sealed=True, mutate=_database),
    Format("leaderboard.json", _leaderboard, lambda p: msgspec.to_builtins(read_json(p))),
    Format("model's configuration", _of_model("config.json"), _size),
    Format("index of weights", _of_model("model.safetensors.index.json"), _size),
    Format("header of weights", _of_model("model-1.safetensors"), _size),
    Format("GPUs", _gpus, lambda p: vars(gpu_of("h", p))),
    Format("rules of speculative thinking", _rules, _rules_read),
    Format("realised rates of results", _ours, lambda p: realised_rates(str(p))),
)
