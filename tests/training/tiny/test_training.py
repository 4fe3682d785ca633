import random
from collections import Counter
from dataclasses import replace

import pytest
import torch
from atts_tasks.chain.problems import Chain, ChainProblem, parse_chain

from atts_harness.errors import SettingError
from training.tiny.examples import (
    DRAFT_DIET,
    RIGHT,
    TARGET_DIET,
    UNKNOWN,
    WRONG,
    draw_example,
    score_of,
)
from training.tiny.language import corrected
from training.tiny.model import Shape, init_weights
from training.tiny.muon import Muon, orthogonal
from training.tiny.onpolicy import Case, balanced, case_example
from training.tiny.optimise import (
    POOL,
    READER,
    READER_BIAS,
    Plan,
    Training,
    batch_of,
    loss_of,
    model_weights,
    pool_of,
)
from training.tiny.tokenizer import Codec
from training.tiny.train import cases_of, mean_of, recipe, train

CODEC = Codec()
PLAN = Plan(Shape(1, 1, 32, 32, CODEC.size), steps=POOL + 3, tokens=300, warmup=2)


SIZES = ((32, 32), (64, 32), (32, 64))


def draw(rng):
    return draw_example(rng, CODEC, DRAFT_DIET)


def quiet(_):
    pass


def run(work, plan=PLAN, **options):
    work.mkdir(exist_ok=True)
    return train("draft", plan, draw, work, CODEC, every=4, report=quiet, **options)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_resumed_training_equals_uninterrupted_training(tmp_path):
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", stop_at=3)
    run(tmp_path / "parts", stop_at=POOL + 1)
    parts = run(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_proofreading_moves_all_but_the_last_layer_and_is_not_shipped(tmp_path):
    plan = Plan(Shape(2, 1, 32, 32, CODEC.size), steps=2, tokens=300, warmup=1, proofread=1.0)
    diet = replace(TARGET_DIET, spoiled=0.5)
    batch = batch_of([draw_example(random.Random(n), CODEC, diet) for n in range(8)], CODEC.pad)
    training = Training(plan, init_weights(plan.shape, 1))
    with torch.no_grad():
        training.weights[READER].fill_(0.1)
    both = loss_of(training.weights, plan, batch)
    alone = loss_of(training.weights, replace(plan, proofread=0.0), batch)
    (both - alone).backward()
    moved = {name for name, tensor in training.weights.items() if tensor.grad is not None}
    assert (both - alone).item() > 0
    assert {READER, READER_BIAS, "model.layers.0.mlp.up_proj.weight"} <= moved
    assert not any(training.weights[name].grad.any() for name in moved if ".layers.1." in name)
    assert model_weights(training.weights).keys() == init_weights(plan.shape, 1).keys()


def test_another_seed_gives_other_weights(tmp_path):
    one = run(tmp_path / "one", stop_at=2)
    other = run(tmp_path / "other", replace(PLAN, seed=9), stop_at=2)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_checkpoint_of_another_plan_is_refused_by_name(tmp_path):
    run(tmp_path / "work", stop_at=2)
    with pytest.raises(SettingError, match="steps"):
        run(tmp_path / "work", replace(PLAN, steps=99))


def test_another_torch_version_goes_on_and_says_so(tmp_path):
    run(tmp_path / "work", stop_at=2)
    path = tmp_path / "work" / "draft.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "machine": {**state["machine"], "torch": "1.0"}}, path)
    lines = []
    train("draft", PLAN, draw, tmp_path / "work", CODEC, stop_at=3, report=lines.append)
    assert any("1.0" in line and "differ" in line for line in lines)


def test_pools_are_the_same_whenever_they_are_asked_for():
    first, again = pool_of(draw, PLAN, 3), pool_of(draw, PLAN, 3)
    assert first == again
    assert pool_of(draw, PLAN, 4) != first
    assert len(first) == POOL
    assert all(first)
    assert isinstance(random.Random(0).random(), float)


def test_muon_steps_are_orthogonal_and_those_of_torch():
    torch.manual_seed(0)
    found = torch.linalg.svdvals(orthogonal(torch.randn(3, 32, 64)))
    assert found.min() > 0.6
    assert found.max() < 1.3
    own, theirs = ([torch.zeros(size, requires_grad=True) for size in SIZES] for _ in range(2))
    optimisers = (
        Muon(own, lr=0.1, precision=torch.bfloat16),
        torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0),
    )
    for _ in range(3):
        for a, b in zip(own, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for a, b in zip(own, theirs, strict=True):
        assert (a - b).norm() < 0.03 * b.norm()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("17 + 5 = 23, so 23 - 8 * 2.", "17 + 5 = "),
        ("Wait, 17 + 6 = 23, now 23 - 8 * 2.", "Wait, 17 + "),
        ("17 + 5 = 22, leaving 22 - 8 * 3.", "17 + 5 = 22, leaving 22 - 8 * "),
        ("17 + 5 = 22, so 22 - 8.", "17 + 5 = 22, so 22 - 8"),
    ],
)
def test_the_first_wrong_token_of_a_step_is_flagged(written, kept):
    chain = Chain(17, (("+", 5), ("-", 8), ("*", 2)))
    found = parse_chain(written.rstrip(".").rpartition(", ")[2].partition(" ")[2])
    case = Case(
        ChainProblem(chain, f"Compute {chain}.", chain.answer(), "easy"),
        (tuple(CODEC.encode(written + "\n\n")),),
        chain,
        found,
        "result",
        1,
    )
    example = case_example(random.Random(1), CODEC, TARGET_DIET, case, locate=True)
    flags = example.flags[len(CODEC.prompt(case.problem.prompt)) :]
    same, size = len(CODEC.encode(kept)), len(case.steps[0])
    assert flags[:same] == [RIGHT] * same
    assert flags[same] == flags[size - 1] == WRONG
    assert set(flags[same + 1 : size - 1]) <= {UNKNOWN}
    assert corrected(written, chain).endswith("22 - 8 * 2.")
    whole = case_example(random.Random(1), CODEC, TARGET_DIET, case)
    assert whole.ids == example.ids
    assert whole.weights == example.weights
    assert whole.flags.count(WRONG) == example.flags.count(WRONG) - 1


def case_of(error, judged=False):
    chain = Chain(17, (("+", 5),))
    problem = ChainProblem(chain, "Compute 17 + 5.", 22, "easy")
    steps = (tuple(CODEC.encode("17 + 5 = 22, so 22.\n\n")),)
    return Case(problem, steps, chain, chain.step(), error, 0, judged)


@pytest.fixture
def collected(monkeypatch):
    """Numbers of problems that mistakes were collected on, a call each."""
    calls = []

    def collect(partner, codec, problems, seed, *, judged):
        calls.append(problems)
        return [case_of("result", judged)]

    monkeypatch.setattr("training.tiny.train.collect_cases", collect)
    return calls


@pytest.fixture
def partnered(tmp_path):
    """Writes the checkpoint of a sparring partner of a seed; returns the recipe."""

    def write(seed):
        plan = replace(PLAN, steps=1, seed=seed)
        (tmp_path / "sparring.pt").unlink(missing_ok=True)
        train("sparring", plan, draw, tmp_path, CODEC, report=quiet)
        return replace(recipe(CODEC.size), sparring=plan, problems=7)

    return write


def test_mistakes_are_collected_once(tmp_path, collected, partnered):
    plans = partnered(1)
    cases = cases_of("cases", plans, CODEC, tmp_path)
    more = cases_of("more-cases", plans, CODEC, tmp_path)
    assert [case.judged for case in (*cases, *more)] == [False, True]
    assert cases_of("cases", plans, CODEC, tmp_path) == cases
    assert cases_of("more-cases", plans, CODEC, tmp_path) == more
    assert collected == [7, 14]


def test_mistakes_of_another_partner_are_collected_anew(tmp_path, collected, partnered):
    cases_of("cases", partnered(1), CODEC, tmp_path)
    cases_of("cases", partnered(2), CODEC, tmp_path)
    cases_of("cases", replace(partnered(2), problems=9), CODEC, tmp_path)
    assert collected == [7, 7, 9]


def test_balanced_cases_hold_each_mistake_as_often_and_right_steps_as_often_as_mistakes():
    rare = [case_of("restatement")] * 2 + [case_of("operands")]
    counts = Counter(
        case.error for case in balanced([*[case_of("result")] * 5, *rare, *[case_of(None)] * 4])
    )
    assert counts == {"result": 5, "restatement": 5, "operands": 5, None: 15}


def test_a_sure_judge_gives_what_is_wrong_mostly_one_digit():
    rng = random.Random(0)
    sure = Counter(score_of(rng, "result", 1, sure=True) for _ in range(400))
    unsure = Counter(score_of(rng, "result", 1) for _ in range(400))
    assert sure.keys() == {0, 1}
    assert sure[1] > 250
    assert max(unsure.values()) < 200


def test_what_is_there_to_be_judged_teaches_the_digit_alone():
    example = case_example(random.Random(1), CODEC, TARGET_DIET, case_of("result", judged=True))
    learnt = [token for token, weight in zip(example.ids, example.weights, strict=True) if weight]
    assert learnt[0] in CODEC.digits
    assert learnt[1:] == list(CODEC.encode("<|end|>"))
    assert example.flags.count(WRONG) == 1


def test_the_mean_of_two_models_is_halfway_between_them():
    shape = Shape(1, 1, 32, 32, CODEC.size)
    one, other = init_weights(shape, 1), init_weights(shape, 2)
    name = "model.layers.0.mlp.up_proj.weight"
    torch.testing.assert_close(2 * mean_of(one, other)[name], one[name] + other[name])
    assert mean_of(one, one).keys() == one.keys()
