import hashlib
import random

import pytest
from atts_tasks.chain.problems import (
    LEVELS,
    MIXTURES,
    VALUE_MAX,
    VALUE_MIN,
    Chain,
    draw_problem,
    make_problems,
    parse_chain,
    split_of,
)
from hypothesis import given
from hypothesis import strategies as st

from atts_harness.errors import SettingError


@pytest.mark.parametrize("mixture", sorted(MIXTURES))
@pytest.mark.parametrize("split", ["train", "test"])
def test_same_arguments_give_same_problems_and_longer_lists_begin_with_shorter(mixture, split):
    problems = make_problems(mixture, split, 60, seed=7)
    assert problems == make_problems(mixture, split, 60, seed=7)
    assert make_problems(mixture, split, 20, seed=7) == problems[:20]
    assert make_problems(mixture, split, 60, seed=8) != problems
    assert len({problem.chain for problem in problems}) == 60


def test_the_generator_is_pinned_because_shipped_weights_and_banks_depend_on_it():
    text = "\n".join(
        f"{problem.prompt}={problem.answer}"
        for mixture in sorted(MIXTURES)
        for problem in make_problems(mixture, "test", 50)
    )
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "d8796d77b83af93e"


@given(st.integers(), st.sampled_from(sorted(LEVELS)))
def test_every_drawn_problem_is_of_its_split_and_level(seed, level):
    train = draw_problem(random.Random(seed), level, "train")
    test = draw_problem(random.Random(seed), level, "test")
    assert split_of(train.chain) == "train"
    assert split_of(test.chain) == "test"
    for problem in (train, test):
        bounds = LEVELS[level]
        assert bounds.operations[0] <= len(problem.chain.operations) <= bounds.operations[1]
        for op, operand in problem.chain.operations:
            low, high = bounds.factor if op == "*" else bounds.addend
            assert low <= operand <= high
        assert problem.level == level
        assert str(problem.chain) in problem.prompt


def test_train_and_test_are_disjoint_whatever_their_seeds():
    train = {p.chain for seed in range(5) for p in make_problems("easy", "train", 2000, seed)}
    test = {p.chain for seed in range(5) for p in make_problems("easy", "test", 500, seed)}
    assert len(test) > 1000
    assert not train & test


def test_test_share_is_near_one_eighth():
    rng = random.Random(0)
    chains = {Chain(rng.randint(1, 99), (("+", n % 19 + 1), ("-", n // 19))) for n in range(4000)}
    share = sum(split_of(chain) == "test" for chain in chains) / len(chains)
    assert 0.10 < share < 0.15


@given(st.integers(), st.sampled_from(sorted(LEVELS)))
def test_answers_equal_python_and_values_stay_in_bounds(seed, level):
    chain = draw_problem(random.Random(seed), level, "test").chain
    value = chain.start
    for op, operand in chain.operations:
        assert VALUE_MIN <= value <= VALUE_MAX
        value = {"+": value + operand, "-": value - operand, "*": value * operand}[op]
        chain = chain.step()
        assert chain.start == value
    assert VALUE_MIN <= value <= VALUE_MAX
    assert chain.operations == ()
    assert chain.step() == chain


@given(st.integers(), st.sampled_from(sorted(LEVELS)))
def test_text_and_chain_are_one_to_one(seed, level):
    chain = draw_problem(random.Random(seed), level, "train").chain
    assert parse_chain(str(chain)) == chain


@pytest.mark.parametrize("text", ["", "17 +", "17+5", "17 + 5.", "+ 5", "17 / 5", "17 + 5 -"])
def test_other_text_is_no_chain(text):
    assert parse_chain(text) is None


def test_mixed_takes_easy_and_hard_in_turn():
    assert [p.level for p in make_problems("mixed", "test", 4)] == ["easy", "hard", "easy", "hard"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("simple", "test", 1), "level"),
        (("easy", "dev", 1), "split"),
        (("easy", "test", -1), "num"),
    ],
)
def test_bad_arguments_name_the_setting(arguments, name):
    with pytest.raises(SettingError, match=name):
        make_problems(*arguments)
