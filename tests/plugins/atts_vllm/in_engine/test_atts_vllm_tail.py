"""The engine plugin on a stand-in for vLLM: which rows come back, and when it steps aside."""

import ast
import importlib.metadata
import logging
import sys
import tomllib
from pathlib import Path

import pytest
from atts_vllm import in_engine, wire
from atts_vllm.in_engine import atts_vllm_tail as plugin

from . import standin
from .standin import BLOCK, Engine, request, value

MANAGER = "vllm.v1.core.kv_cache_manager"
SCHEDULER = "vllm.v1.core.sched.scheduler"
COORDINATOR = "vllm.v1.core.kv_cache_coordinator"
CONTEXT = tuple(range(1, 22))
SEGMENT = (31, 33, 35, 37, 39, 41)
START = len(CONTEXT)
WHOLE = CONTEXT + SEGMENT


@pytest.fixture
def classes(monkeypatch):
    """The stand-in's classes, not changed yet."""
    made = standin.modules()
    standin.put_in_place(monkeypatch, made)
    return made


@pytest.fixture
def installed(classes, monkeypatch):
    monkeypatch.setenv("ATTS_VLLM_TAIL", "1")
    plugin.install()
    return classes


def score(ids=WHOLE, start=START):
    return request(ids, atts_score_from=start)


def expected(ids=WHOLE, start=START):
    return [value(ids, at) for at in range(start, len(ids))]


def values(rows):
    return rows.logprobs[:, 0].tolist()


@pytest.mark.parametrize("runner", ["v1", "v2"])
class TestRows:
    def test_a_score_reads_the_cache_before_the_segment_and_returns_its_rows_alone(
        self, installed, runner
    ):
        engine = Engine(installed, runner)
        engine.run(request(CONTEXT, logprobs=False))
        engine.computed = 0
        (rows,) = engine.run(score())
        assert values(rows) == expected()
        assert rows.ids[:, 0].tolist() == list(SEGMENT) == rows.ranks.tolist()
        assert rows.counts is None
        hit = (START - 1) // BLOCK * BLOCK
        assert engine.computed == len(WHOLE) - hit
        # Both counters of the engine know of it.
        assert engine.manager.hits == hit

    def test_the_segment_itself_may_be_in_the_cache(self, installed, runner):
        engine = Engine(installed, runner)
        assert [values(engine.run(score())[0]) for _ in range(3)] == [expected()] * 3
        assert engine.computed < 2 * len(WHOLE)

    @pytest.mark.parametrize("chunk", [1, 3, 4, 5, 7])
    @pytest.mark.parametrize("preempt_after", [None, 1, 2, 3])
    @pytest.mark.parametrize("start", [1, 2, 4, 5, 20, 21, 26])
    def test_chunks_and_preemption(self, installed, runner, chunk, preempt_after, start):
        engine = Engine(installed, runner, chunk)
        engine.run(request(CONTEXT, logprobs=False))
        (rows,) = engine.run(score(start=start), preempt_after=preempt_after)
        assert values(rows) == expected(start=start)

    def test_many_at_once_beside_other_requests(self, installed, runner):
        engine = Engine(installed, runner, chunk=5)
        engine.run(request(CONTEXT, logprobs=False))
        spans = [(start, end) for start in (1, 9, 21, 22) for end in (23, 25, 27)]
        scores = [score(WHOLE[:end], start) for start, end in spans]
        others = [request(WHOLE, logprobs=False), request(WHOLE)]
        told = engine.run(*scores, *others)
        for rows, (start, end) in zip(told, spans, strict=False):
            assert values(rows) == expected(WHOLE[:end], start)
        assert told[-2] is None
        assert values(told[-1]) == expected(start=1)

    def test_a_request_that_does_not_name_a_start_is_computed_whole(self, installed, runner):
        engine = Engine(installed, runner)
        engine.run(request(WHOLE, logprobs=False))
        engine.computed = 0
        (rows,) = engine.run(request(WHOLE))
        assert values(rows) == expected(start=1)
        assert engine.computed == len(WHOLE)

    @pytest.mark.parametrize("start", [0, -1, len(WHOLE), 10**9, 21.0, "21", True, None, [21]])
    def test_a_start_that_cannot_be_is_as_if_it_were_not_there(self, installed, runner, start):
        engine = Engine(installed, runner)
        engine.run(request(WHOLE, logprobs=False))
        (rows,) = engine.run(score(start=start))
        assert values(rows) == expected(start=1)

    def test_rows_that_were_never_computed_are_absent(self, installed, runner, caplog):
        engine = Engine(installed, runner)
        keep = engine._rows

        def lose(request, logprobs, first):
            rows = keep(request, logprobs, first)
            return rows and type(rows)(*(part[: len(SEGMENT) - 1] for part in rows[:3]))

        engine._rows = lose
        with caplog.at_level(logging.WARNING):
            assert engine.run(score()) == [None]
        assert "no rows for request r0 (1 rows are missing)" in caplog.text


def test_a_lookup_that_ignores_the_limit_is_not_believed(installed, monkeypatch):
    engine = Engine(installed)
    engine.run(request(WHOLE, logprobs=False))
    kind = installed[COORDINATOR]["KVCacheCoordinator"]
    kind.find_longest_cache_hit = lambda self, block_hashes, max_cache_hit_length: ((), 24, 0)
    engine.computed = 0
    assert values(engine.run(score())[0]) == expected()
    assert engine.computed == len(WHOLE)


def test_nothing_of_a_lookup_stays_behind_even_if_it_fails(installed, monkeypatch):
    engine = Engine(installed)
    asked = score()

    def fail(self, block_hashes, max_cache_hit_length):
        raise RuntimeError("no blocks")

    monkeypatch.setattr(
        installed[COORDINATOR]["KVCacheCoordinator"], "find_longest_cache_hit", fail
    )
    with pytest.raises(RuntimeError):
        engine.manager.get_computed_blocks(asked)
    assert asked.skip_reading_prefix_cache
    assert "find_longest_cache_hit" not in vars(engine.manager.coordinator)


def methods(classes):
    return {
        (name, method): vars(owner)[method]
        for members in classes.values()
        for name, owner in members.items()
        for method in vars(owner)
        if not method.startswith("_")
    }


@pytest.mark.parametrize("told", [None, "", "0", "yes"])
def test_it_does_nothing_unless_it_is_told_to(classes, monkeypatch, told):
    monkeypatch.delenv("ATTS_VLLM_TAIL", raising=False)
    if told is not None:
        monkeypatch.setenv("ATTS_VLLM_TAIL", told)
    before = methods(classes)
    plugin.install()
    assert methods(classes) == before


def test_it_is_installed_once_however_often_it_is_loaded(installed):
    before = methods(installed)
    plugin.install()
    assert methods(installed) == before
    assert sum(getattr(method, plugin.MARK, False) for method in before.values()) == 3


def without(classes, module, name, method):
    delattr(classes[module][name], method)


def otherwise(classes, module, name, method):
    setattr(classes[module][name], method, lambda self, something, else_=None: None)


@pytest.mark.parametrize("change", [without, otherwise])
@pytest.mark.parametrize(
    ("module", "name", "method"),
    [(module, name, method) for module, name, method, _ in plugin.METHODS],
)
def test_it_steps_aside_where_a_method_is_not_what_it_expects(
    classes, monkeypatch, caplog, change, module, name, method
):
    change(classes, module, name, method)
    before = methods(classes)
    monkeypatch.setenv("ATTS_VLLM_TAIL", "1")
    with caplog.at_level(logging.WARNING):
        plugin.install()
    assert methods(classes) == before
    assert caplog.text.count("scores do not read the prefix cache here") == 1
    assert f"{name}.{method}" in caplog.text or f"{name} has no {method}" in caplog.text


def test_it_steps_aside_where_vllm_is_another_one(monkeypatch, caplog):
    monkeypatch.setenv("ATTS_VLLM_TAIL", "1")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with caplog.at_level(logging.WARNING):
        plugin.install()
    assert "scores do not read the prefix cache here" in caplog.text


def test_later_parameters_do_not_keep_it_away(classes, monkeypatch):
    """vLLM 0.33 gives the lookup a limit of its own."""
    owner = classes[MANAGER]["KVCacheManager"]
    original = owner.get_computed_blocks
    asked = []

    def get_computed_blocks(self, request, max_cache_hit_length=None):
        asked.append(max_cache_hit_length)
        return original(self, request)

    owner.get_computed_blocks = get_computed_blocks
    monkeypatch.setenv("ATTS_VLLM_TAIL", "1")
    plugin.install()
    engine = Engine(classes)
    assert engine.manager.get_computed_blocks(score(), max_cache_hit_length=5)[1] == 0
    assert asked == [5]
    assert values(engine.run(score())[0]) == expected()


def test_it_needs_nothing_but_vllm():
    found = set()
    for node in ast.walk(ast.parse(Path(plugin.__file__).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level
            found.add(node.module.split(".")[0])
    assert found <= sys.stdlib_module_names
    assert {module.split(".")[0] for module, *_ in plugin.METHODS} == {"vllm"}


def test_vllm_finds_it_by_either_door_under_one_name():
    """`VLLM_PLUGINS` chooses by name; a name that came twice would be loaded once."""
    folder = str(Path(in_engine.__file__).parent)
    (beside,) = importlib.metadata.distributions(path=[folder])
    (entry,) = beside.entry_points
    assert (entry.group, entry.name) == ("vllm.general_plugins", "atts_tail")
    assert entry.value == f"{Path(plugin.__file__).stem}:install"
    root = Path(plugin.__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][entry.group] == {entry.name: f"{plugin.__name__}:install"}


def test_the_backend_names_the_start_as_the_plugin_reads_it():
    assert wire.SCORE_FROM == plugin.ARGUMENT
