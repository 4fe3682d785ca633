"""lm-eval's results files (`results_DATE.json`, from `--output_path`), from release 0.4.9 on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from atts_harness.conformal.provenance import fingerprint
from atts_harness.errors import SettingError
from atts_harness.records import SCHEMA_VERSION, RunRecord
from atts_harness.results import plain_json
from atts_harness.results.statistics import TaskStatistics
from atts_harness.results.values import Conditions, Results, ResultsFormat, TaskResults
from atts_lm_eval import sample_log

DATED = re.compile(r"_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+)\.json$")
"""How lm-eval names results files: its date, to which the sample logs' names fit."""
PROMPT_FIELDS = (
    *("doc_to_text", "description", "gen_prefix", "fewshot_config", "num_fewshot"),
    *("fewshot_delimiter", "target_delimiter"),
)
"""Of a task's configuration: what its prompts are made with."""
BUDGETS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
MOST_SAMPLES = 2_000_000
"""Of a task."""
MODEL = "model"
GREEDY = 0.0
PARAMETERS = ("temperature", "top_p", "top_k", "min_p")
GRADED = "graded,all"
"""Tasks of this project count their samples under this name."""
PASS_1, PASS_1_INTERVAL = "pass@1,all", "pass@1_interval,all"
VOTE = "vote,all"
"""The accuracy of a strategy whose samples vote."""
OTHER_RUN = ("random_seed", "numpy_seed", "torch_seed", "fewshot_seed", "limit", "gen_kwargs")
"""Of the command's configuration: what tells runs of one model apart, beside its arguments."""


class _File(msgspec.Struct):
    results: dict[str, dict[str, Any]]
    configs: dict[str, dict[str, Any]]
    config: dict[str, Any]
    versions: dict[str, Any] = {}
    counts: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict, name="n-samples")
    shots: dict[str, Any] = msgspec.field(default_factory=dict, name="n-shot")
    higher_is_better: dict[str, Any] = {}
    chat_template: Any = None
    system_instruction: Any = None
    fewshot_as_multiturn: Any = None
    model_name: Any = None


class _Atts(msgspec.Struct):
    statistics: dict[str, TaskStatistics] = {}
    run: dict[str, Any] = {}


def results_format() -> ResultsFormat:
    """lm-eval's files, for the hook `atts_read_results`."""
    return ResultsFormat(
        name="lm-eval",
        files=files,
        read=read,
        logs=sample_log.newest,
        is_log=sample_log.is_log,
        samples=sample_log.saved,
    )


def files(folder: Path) -> list[Path]:
    """Results files at or below a folder."""
    return [file for file in sorted(folder.rglob("*.json")) if DATED.search(file.name)]


def read(path: Path) -> Results:
    """Read a results file.

    Raises:
        SettingError: it is not a results file, or is from another version of this package.
    """
    kind = "a results file of lm-eval"
    data = plain_json.read(path, kind)
    parts = ("results", "configs", "config")
    if not isinstance(data, dict) or not all(isinstance(data.get(p), dict) for p in parts):
        raise SettingError(
            f"{path}: not {kind} (no `results`, `configs` and `config`); give "
            "a run directory, results_*.json from --output_path, or a folder with them"
        )
    try:
        file = msgspec.convert(data, _File)
        run, atts = _ours(file, path)
        tasks = {
            name: _task(file, name, path, run, atts)
            for name in file.results
            if name in file.configs  # groups have no configuration
        }
    except msgspec.ValidationError as error:
        raise SettingError(f"{path}: not {kind}: {error}") from error
    if not tasks:
        raise SettingError(f"{path}: holds no task's results")
    return Results(
        path=path,
        model=str(file.config.get("model") or "unknown"),
        name=_model_name(file),
        run=run,
        ledger=_mapping(atts.run.get("ledger")),
        tasks=tasks,
        identity=tuple(_identity(file, tasks)),
    )


def _ours(file: _File, path: Path) -> tuple[RunRecord | None, _Atts]:
    section = file.config.get("atts")
    if not section:
        return None, _Atts()
    schema = section.get("schema") if isinstance(section, dict) else None
    if schema not in range(1, SCHEMA_VERSION + 1):
        harness = section.get("harness") if isinstance(section, dict) else None
        raise SettingError(
            f"{path}: was written by a run of schema {schema}, this reads up to "
            f"{SCHEMA_VERSION}; report it with version {harness or 'that wrote it'} of the harness"
        )
    return msgspec.convert(section, RunRecord), msgspec.convert(section, _Atts)


def _task(file: _File, name: str, path: Path, run: RunRecord | None, atts: _Atts) -> TaskResults:
    config = file.configs[name]
    metrics = {
        key: plain_json.number(value)
        for key, value in file.results[name].items()
        if "," in key and "_stderr," not in key and not isinstance(value, list)
    }
    ours = GRADED in file.results[name] or PASS_1_INTERVAL in file.results[name]
    accuracy = _accuracy(file, name, metrics)
    if ours:
        accuracy = VOTE if VOTE in metrics else PASS_1
    log = _log(path, name)
    ends = file.results[name].get(f"{str(accuracy).partition(',')[0]}_interval,all")
    stderr = _stderr(file, name, accuracy)
    problems = _count(file.counts.get(name, {}).get("effective"))
    repeats = max(1, _count(config.get("repeats")))
    if problems < 0 or problems * repeats > MOST_SAMPLES:
        raise SettingError(
            f"{path}: {name}: {problems} problems x {repeats} samples cannot be: it is damaged"
        )
    return TaskResults(
        task=name,
        conditions=_conditions(file, name, run, ours, accuracy),
        metrics=metrics,
        problems=problems,
        repeats=repeats,
        accuracy=accuracy,
        graded_here=ours,
        log=log,
        samples=None
        if log is None
        else sample_log.saved(log, None if ours else accuracy, _no_target(config)),
        statistics=atts.statistics.get(name),
        interval=_ends(ends) if ours else None,
        stderr=stderr,
    )


def _accuracy(file: _File, name: str, metrics: Mapping[str, float | None]) -> str | None:
    """The first metric of a task's own list that is better when higher, under its first filter."""
    better = _mapping(file.higher_is_better.get(name))
    listed = file.configs[name].get("metric_list")
    order = [m.get("metric") for m in listed if isinstance(m, dict)] if listed else []
    names = list(dict.fromkeys([*map(str, order), *(key.partition(",")[0] for key in metrics)]))
    for metric in names:
        if better.get(metric, True) is False:
            continue
        for key, value in metrics.items():
            if key.partition(",")[0] == metric and value is not None and 0 <= value <= 1:
                return key
    return None


def _stderr(file: _File, name: str, accuracy: str | None) -> float | None:
    if accuracy is None:
        return None
    metric, _, filter_ = accuracy.partition(",")
    return plain_json.number(file.results[name].get(f"{metric}_stderr,{filter_}"))


def _ends(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    low, high = map(plain_json.number, value)
    return None if low is None or high is None else (low, high)


def _no_target(config: Mapping[str, Any]) -> bool:
    """Whether a task's configuration names a constant in place of a target, as IFEval's does."""
    return isinstance(config.get("doc_to_target"), int | float)


def _conditions(
    file: _File, name: str, run: RunRecord | None, ours: bool, metric: str | None
) -> Conditions:
    config = file.configs[name]
    prompt_fields = {field: config.get(field) for field in PROMPT_FIELDS}
    prompt_fields["system"] = file.system_instruction
    version = file.versions.get(name)
    conditions: dict[str, Any] = {
        "version": None if version is None else str(version),
        "prompt": fingerprint(json.dumps(prompt_fields, sort_keys=True, default=str)),
    }
    generation = _mapping(config.get("generation_kwargs"))
    if run is not None:
        metadata = _mapping(config.get("metadata"))
        conditions["extractor"] = _first(metadata.get("extractor")) if ours else metric
        return Conditions(**conditions)
    budget = next((generation[b] for b in BUDGETS if type(generation.get(b)) is int), None)
    return Conditions(
        **conditions,
        template="chat" if file.chat_template else "raw",
        sampling={MODEL: _sampling_of(generation)},
        budget=budget,
        until=texts(generation.get("until")),
        extractor="boxed" if ours else metric,
    )


def _sampling_of(generation: Mapping[str, Any]) -> dict[str, float | None]:
    """lm-eval's own models are greedy unless `do_sample` or a temperature says otherwise."""
    temperature = generation.get("temperature")
    sampled = generation.get("do_sample", bool(temperature))
    if not sampled or temperature == 0:
        return {"temperature": GREEDY}
    return {name: plain_json.number(generation.get(name)) for name in PARAMETERS}


def texts(until: Any) -> tuple[str, ...] | None:
    """Texts that end a sample, in an order of their own; None if they are not told."""
    if isinstance(until, str):
        return (until,)
    return tuple(sorted(map(str, until))) if isinstance(until, list | tuple) else None


def _identity(file: _File, tasks: Mapping[str, TaskResults]) -> Iterator[str]:
    """What tells this run from another run of the same model in the same folder."""
    config = file.config
    yield _text([config.get("model"), config.get("model_args")])
    yield _text([config.get(name) for name in OTHER_RUN])
    yield _text([file.system_instruction, file.chat_template, file.fewshot_as_multiturn])
    yield _text({name: [file.shots.get(name), file.counts.get(name)] for name in tasks})
    fields = (*PROMPT_FIELDS, "generation_kwargs", "repeats", "metadata")
    yield _text({name: [file.configs[name].get(field) for field in fields] for name in tasks})


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _log(path: Path, task: str) -> Path | None:
    date = DATED.search(path.name)
    if date is None:
        return None
    log = path.parent / f"samples_{task}_{date[1]}.jsonl"
    return log if log.is_file() else None


def _model_name(file: _File) -> str | None:
    args = file.config.get("model_args") or {}
    if isinstance(args, str):  # as releases before 0.4.10 wrote them
        args = dict(part.partition("=")[::2] for part in args.split(","))
    named = args.get("pretrained") or args.get("model") if isinstance(args, dict) else None
    name = named or file.model_name
    return None if name is None else str(name)


def _first(extractor: Any) -> str | None:
    return str(extractor).partition("+")[0] if extractor else None


def _count(value: Any) -> int:
    number = plain_json.number(value)
    return 0 if number is None else int(number)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
