import random
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import rms_norm

from training.tiny.deepen import LOUD, deepen, expected_codes, token_codes
from training.tiny.examples import DRAFT_DIET, SILENT, draw_example
from training.tiny.model import (
    HEAD,
    Shape,
    hidden_states,
    init_weights,
    rope_tables,
    states_by_layer,
)
from training.tiny.optimise import Plan, Training, batch_of
from training.tiny.tokenizer import Codec

CODEC = Codec()
SMALL = Shape(2, 1, 32, 64, CODEC.size)
LARGE = replace(SMALL, layers=4, hidden=32 + HEAD)
IDS = torch.tensor([CODEC.encode("17 + 5 = 22, so 22 - 8 * 2. Let me check: 17 + 5 = 23")])
COS, SIN = (table[: IDS.shape[1]] for table in rope_tables(64))
FIRST = f"model.layers.{SMALL.layers}."


def trained():
    """A model whose layers write as much as a trained one's."""
    weights = init_weights(SMALL, 1)
    for name, tensor in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor *= 2000
    return weights


def batches():
    rows = [draw_example(random.Random(n), CODEC, DRAFT_DIET) for n in range(12)]
    return [batch_of(rows[:6], CODEC.pad), batch_of(rows[6:], CODEC.pad)]


@pytest.fixture(scope="module")
def made():
    weights = trained()
    codes = token_codes(weights, 3)
    expected = expected_codes(weights, SMALL, codes, batches())
    return weights, codes, expected, deepen(weights, SMALL, LARGE, codes, expected, 2)


def test_a_deepened_model_predicts_the_same(made):
    weights, _, _, grown = made
    before = hidden_states(weights, SMALL, IDS, COS, SIN) @ weights["model.embed_tokens.weight"].T
    after = hidden_states(grown, LARGE, IDS, COS, SIN) @ grown["model.embed_tokens.weight"].T
    assert grown.keys() == init_weights(LARGE, 1).keys()
    torch.testing.assert_close(after, before, rtol=0.02, atol=0.02 * float(before.std()))


def test_codes_are_as_long_as_their_embeddings_and_differ(made):
    weights, codes, _, _ = made
    lengths = weights["model.embed_tokens.weight"].norm(dim=1)
    torch.testing.assert_close(codes.norm(dim=1), lengths)
    assert not torch.equal(codes, token_codes(weights, 4))


def test_the_first_new_layer_takes_away_the_code_that_was_expected_one_token_back(made):
    _, codes, expected, grown = made
    states = states_by_layer(grown, LARGE, IDS, COS, SIN)
    last = states[SMALL.layers - 1][0, :, : SMALL.hidden]
    foreseen = rms_norm(last, (SMALL.hidden,)) @ expected.T
    left = states[SMALL.layers][0, 1:, SMALL.hidden :] / LOUD
    wanted = codes[IDS[0, 1:]] - foreseen[:-1]
    # The head looks back by a bias, not by a rule: a little comes from other places.
    assert (left - wanted).norm() < 0.1 * wanted.norm()


def test_the_map_to_expected_codes_is_least_squares_on_what_is_learnt(made):
    weights, codes, expected, _ = made

    def error(found, texts):
        total = 0.0
        for batch in texts:
            cos, sin = rope_tables(batch.ids.shape[1] - 1)
            states = states_by_layer(weights, SMALL, batch.ids[:, :-1], cos, sin)[-1]
            chosen = batch.counts[:, 1:] > 0
            known = rms_norm(states[chosen], (SMALL.hidden,))
            total += float((codes[batch.ids[:, 1:][chosen]] - known @ found.T).pow(2).sum())
        return total

    texts = batches()
    best = error(expected, texts)
    assert best < 0.9 * error(torch.zeros_like(expected), texts)
    for shift in (0.9, 1.1):
        assert best < error(shift * expected, texts)
    silent = [replace(batch, counts=torch.full_like(batch.counts, SILENT)) for batch in texts]
    assert not expected_codes(weights, SMALL, codes, silent).any()


def test_what_was_laid_in_is_not_learnt_and_new_layers_write_loudly(made):
    *_, grown = made
    plan = Plan(LARGE, steps=4, tokens=300, warmup=1, proofread=1.0, grown=2, loud=8.0, code=HEAD)
    training = Training(plan, grown)
    for _ in range(3):
        training.advance(lambda rng: draw_example(rng, CODEC, DRAFT_DIET), CODEC.pad)
    moved = {name: (training.weights[name] - tensor).detach() for name, tensor in grown.items()}
    for name in (FIRST + "self_attn.v_proj.weight", FIRST + "mlp.gate_proj.weight"):
        laid = HEAD if "v_proj" in name else 2 * HEAD
        assert not moved[name][:laid].any()
    for layer in range(LARGE.layers):
        name = f"model.layers.{layer}.self_attn.o_proj.weight"
        assert not moved[name][-HEAD:].any()
        assert moved[name][:-HEAD].any()
    assert not moved["model.embed_tokens.weight"][:, -HEAD:].any()
    old, new = (
        torch.linalg.matrix_norm(moved[f"model.layers.{layer}.mlp.down_proj.weight"], 2)
        for layer in (1, 3)
    )
    assert 4 < new / old < 16


def test_other_sizes_are_refused():
    weights = trained()
    codes = token_codes(weights, 1)
    with pytest.raises(ValueError, match="32 dimensions"):
        deepen(weights, SMALL, replace(LARGE, hidden=48), codes, torch.zeros(HEAD, 32), 1)
