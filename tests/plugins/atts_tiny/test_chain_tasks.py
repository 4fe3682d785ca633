"""The chain tasks, and that they ask what the pair was trained on."""

import pytest
from atts_tasks.chain.problems import Chain, make_problems, parse_chain, split_of

from atts_harness.errors import SettingError

pytest.importorskip("lm_eval")
LEVELS = {
    "atts_chain": {"easy", "hard"},
    "atts_chain_easy": {"easy"},
    "atts_chain_hard": {"hard"},
    "atts_chain_shifted": {"shifted"},
}


@pytest.fixture(scope="module")
def load():
    from pathlib import Path

    import atts_tasks
    from lm_eval.tasks import TaskManager

    folder = str(Path(atts_tasks.__file__).parent)

    def load_task(name, **metadata):
        manager = TaskManager(include_path=folder, include_defaults=False, metadata=metadata)
        found = manager.load([name])
        return found.get("tasks", found)[name]

    return load_task


@pytest.mark.parametrize("name", sorted(LEVELS))
def test_documents_are_the_held_out_problems_as_the_pair_knows_them(load, name):
    task = load(name, num_problems=12)
    level = name.removeprefix("atts_chain").removeprefix("_") or "mixed"
    problems = make_problems(level, "test", 12)
    docs = list(task.test_docs())
    assert [task.doc_to_text(doc) for doc in docs] == [problem.prompt for problem in problems]
    assert [task.doc_to_target(doc) for doc in docs] == [str(p.answer) for p in problems]
    assert {doc["level"] for doc in docs} == LEVELS[name]
    for doc in docs:
        chain = parse_chain(doc["expression"])
        assert isinstance(chain, Chain)
        assert split_of(chain) == "test"


def test_calibration_has_other_held_out_problems(load):
    splits = load("atts_chain", num_problems=30).dataset
    asked, other = ({row["expression"] for row in splits[name]} for name in ("test", "validation"))
    assert len(asked) == len(other) == 30
    assert not asked & other
    assert all(split_of(parse_chain(expression)) == "test" for expression in other)


def test_defaults_make_one_step_a_turn(load):
    config = load("atts_chain").config
    assert config.repeats == 16
    assert config.generation_kwargs["turn_stop"] == "\n\n"
    assert config.generation_kwargs["until"] == []
    assert len(load("atts_chain").test_docs()) == 500


def test_every_repeat_is_graded(load):
    task = load("atts_chain_easy", num_problems=2, repeats=4)
    doc = task.test_docs()[0]
    right = "...\n</think>\n\nThe answer is \\boxed{" + doc["answer"] + "}."
    wrong = "The answer is \\boxed{" + str(int(doc["answer"]) + 1) + "}."
    figures = task.process_results(doc, [[right, wrong, "no box", right]])
    assert figures["pass@1"] == 0.5
    assert figures["pass@4"] == 1.0
    assert figures["invalid"] == 0.25


@pytest.mark.parametrize("bad", [{"num_problems": 0}, {"num_problems": "x"}, {"problem_seed": -1}])
def test_bad_metadata_names_the_setting(load, bad):
    with pytest.raises(SettingError, match=next(iter(bad))):
        load("atts_chain", **bad)
