import random
from dataclasses import replace

import pytest
import torch
from atts_tiny.examples import DRAFT_DIET, TARGET_DIET, draw_example
from atts_tiny.model import Shape, init_weights
from atts_tiny.optimise import (
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
from atts_tiny.tokenizer import Codec
from atts_tiny.train import train

from atts_harness.errors import SettingError

CODEC = Codec()
PLAN = Plan(Shape(1, 1, 32, 32, CODEC.size), steps=POOL + 3, tokens=300, warmup=2)


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
    torch.save({**state, "torch": "1.0"}, path)
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
