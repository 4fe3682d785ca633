"""Every way a model may be run gives the logits of a plain forward pass."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers
from atts_transformers.packed import PackedRunner, PassPart
from atts_transformers.pick import pick_runner
from atts_transformers.plain import PlainRunner

from atts_harness.errors import SettingError

BASE = {
    "vocab_size": 200,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
WITHOUT_GROUPS = {k: v for k, v in BASE.items() if k != "num_key_value_heads"}
# Grouped keys, a sliding window, a bound on the scores, sinks, learned positions; then models that
# cannot be packed: position biases, and states that do not grow.
MODELS: dict[str, tuple[str, dict[str, Any], type, str]] = {
    "llama": ("LlamaConfig", BASE, PackedRunner, "sdpa"),
    "qwen3": ("Qwen3Config", {**BASE, "head_dim": 16}, PackedRunner, "sdpa"),
    "mistral": ("MistralConfig", {**BASE, "sliding_window": 16}, PackedRunner, "sdpa"),
    "gemma2": (
        "Gemma2Config",
        {**BASE, "head_dim": 16, "sliding_window": 16, "attn_logit_softcapping": 2.0},
        PackedRunner,
        "eager",
    ),
    "gpt_oss": (
        "GptOssConfig",
        {
            **BASE,
            "head_dim": 16,
            "sliding_window": 16,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "rope_scaling": {"rope_type": "default", "rope_theta": 10000.0},
        },
        PackedRunner,
        "eager",
    ),
    "gpt2": (
        "GPT2Config",
        {"vocab_size": 200, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 256}
        | {"bos_token_id": 0, "eos_token_id": 1},
        PackedRunner,
        "sdpa",
    ),
    "bloom": (
        "BloomConfig",
        {"vocab_size": 200, "hidden_size": 64, "n_layer": 2, "n_head": 4},
        PlainRunner,
        "",
    ),
    "mamba": (
        "MambaConfig",
        {"vocab_size": 200, "hidden_size": 64, "num_hidden_layers": 2},
        PlainRunner,
        "",
    ),
}
IDS = [(n * 37) % 199 for n in range(90)]
OTHER = [(n * 53 + 7) % 199 for n in range(70)]


def make(name: str) -> Any:
    config, options, _, _ = MODELS[name]
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, config)(**options)
    ).eval()


def logprobs(logits: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(logits.double(), dim=-1)


@pytest.mark.parametrize("name", MODELS)
def test_pieces_in_company_equal_a_plain_pass(name: str) -> None:
    _, _, kind, attention = MODELS[name]
    model = make(name)
    with torch.inference_mode():
        plain = [model(input_ids=torch.tensor([ids])).logits[0] for ids in (IDS, OTHER)]
        runner = pick_runner(model, name, "auto")
        assert type(runner) is kind
        runner.resize(6, 128)
        # Long pieces, single tokens and another request, in rows that are not neighbours.
        got = [
            runner.forward([PassPart(5, 0, IDS[:50], 0)]),
            *(runner.forward([PassPart(5, n, [IDS[n]], 0)]) for n in range(50, 53)),
        ]
        both = runner.forward([PassPart(5, 53, IDS[53:], 0), PassPart(0, 0, OTHER, 0)])
    got.append(both[: len(IDS) - 53])
    expected = logprobs(plain[0])
    assert torch.allclose(logprobs(torch.cat(got)), expected, atol=1e-4)
    assert torch.allclose(logprobs(both[len(IDS) - 53 :]), logprobs(plain[1]), atol=1e-4)
    if attention:
        # The plain pass was made before the attention was replaced: not the same function twice.
        model.set_attn_implementation(attention)
        with torch.inference_mode():
            again = model(input_ids=torch.tensor([IDS]), use_cache=False).logits[0]
        assert torch.allclose(logprobs(again), expected, atol=1e-4)


def test_copied_and_moved_rows_hold_their_keys() -> None:
    model = make("llama")
    with torch.inference_mode():
        expected = logprobs(model(input_ids=torch.tensor([IDS])).logits[0])
        runner = pick_runner(model, "llama", "auto")
        runner.resize(2, 64)
        runner.forward([PassPart(1, 0, IDS[:40], 0)])
        runner.resize(5, 128)
        runner.copy(1, 4, 30)
        rest = runner.forward([PassPart(4, 30, IDS[30:], 0)])
    assert torch.allclose(logprobs(rest), expected[30:], atol=1e-4)


def test_only_the_wanted_logits_come_back() -> None:
    model = make("llama")
    with torch.inference_mode():
        expected = logprobs(model(input_ids=torch.tensor([IDS])).logits[0])
        runner = pick_runner(model, "llama", "auto")
        runner.resize(3, 128)
        nothing = runner.forward([PassPart(0, 0, IDS[:40], 40)])
        some = runner.forward([PassPart(0, 40, IDS[40:], 30), PassPart(2, 0, IDS[:9], 8)])
    assert nothing.shape == (0, 200)
    wanted = torch.cat([expected[70:], expected[8:9]])
    assert torch.allclose(logprobs(some), wanted, atol=1e-4)


def test_what_a_row_held_before_does_not_matter() -> None:
    model = make("llama")
    with torch.inference_mode():
        runner = pick_runner(model, "llama", "auto")
        runner.resize(3, 128)
        clean = runner.forward([PassPart(0, 0, IDS[:30], 0)])
        runner.forward([PassPart(2, 0, OTHER, 0)])
        dirty = runner.forward([PassPart(2, 0, IDS[:30], 0)])
    assert torch.equal(clean, dirty)


def test_a_cleared_row_keeps_no_nan() -> None:
    model = make("llama")
    with torch.inference_mode():
        runner = pick_runner(model, "llama", "auto")
        assert isinstance(runner, PackedRunner)
        runner.resize(2, 64)
        clean = runner.forward([PassPart(0, 0, IDS[:20], 0)])
        for pair in runner.store.layers.values():
            for tensor in pair:
                tensor[1] = float("nan")
        runner.clear(1)
        after = runner.forward([PassPart(1, 0, IDS[:20], 0)])
    assert torch.equal(clean, after)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_do_not_depend_on_company(dtype: torch.dtype) -> None:
    """To the last bit in what a sample is made of, the token; noise stays below 1e-5 here."""
    model = make("llama").to(dtype)
    with torch.inference_mode():
        runner = pick_runner(model, "llama", "auto")
        runner.resize(40, 128)
        runner.forward([PassPart(0, 0, IDS[:30], 0)])
        alone = runner.forward([PassPart(0, 30, IDS[30:31], 0)])
        runner.forward([PassPart(n, 0, OTHER[: 20 + n], 0) for n in range(1, 33)])
        company = [PassPart(n, 20 + n, [OTHER[n]], 0) for n in range(1, 33)]
        together = runner.forward([*company[:7], PassPart(0, 30, IDS[30:31], 0), *company[7:]])[7:8]
    assert torch.allclose(logprobs(alone), logprobs(together), atol=1e-5)


def test_a_named_attention_is_obeyed_and_still_right() -> None:
    model = make("llama")
    with torch.inference_mode():
        expected = logprobs(model(input_ids=torch.tensor([IDS])).logits[0])
        runner = pick_runner(model, "llama", "sdpa")
        assert isinstance(runner, PlainRunner)
        got = torch.cat(
            [
                runner.forward([PassPart(3, 0, IDS[:50], 0)]),
                runner.forward([PassPart(3, 50, IDS[50:], 0)]),
            ]
        )
    assert torch.allclose(logprobs(got), expected, atol=1e-4)


def test_a_model_without_a_cache_is_refused() -> None:
    model = make("llama")
    forward = model.forward

    def forgetful(**arguments: Any) -> Any:
        arguments["use_cache"] = False
        return forward(**arguments)

    model.forward = forgetful
    with pytest.raises(SettingError, match="keeps no cache"):
        pick_runner(model, "forgetful", "sdpa")
