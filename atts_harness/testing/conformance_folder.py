"""Makes a tiny model folder, for tests of a backend that have no other model to serve.

The weights are random but not flat: a temperature of 0.8 draws varied text, and the next token
depends on the ones before it, so restarts, dropped tokens and separators show.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NAMES = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<think>", "</think>")
CORPUS = (
    "Compute 17 + 5 - 8 * 2 + 9 (left to right).\n\n17 + 5 = 22, so 22 - 8 * 2 + 9.\n\n",
    "The answer is \\boxed{37}.\n\nCheck: the step before was wrong.\n\n",
    "naïve café, 東京, emoji 🙂🙃, tabs\tand  two spaces",
)


def train_tokenizer(
    corpus: Iterable[str] = CORPUS,
    *,
    size: int = 400,
    names: Iterable[str] = NAMES,
    chat_template: str | None = CHATML,
    metaspace: bool = False,
) -> Any:
    """Train a small tokenizer.

    Args:
        corpus: texts to learn merges from.
        size: vocabulary, named tokens included.
        names: special tokens; the first one ends a turn.
        chat_template: Jinja text.
        metaspace: SentencePiece-like (a space becomes part of the next word, unknown characters
            fall back to bytes) instead of byte-level.

    Returns:
        A `transformers` fast tokenizer.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    names = list(names)
    if metaspace:
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token=None, fuse_unk=True))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁|\\d"), "merged_with_next")
        tokenizer.decoder = decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=[*names, *(f"<0x{byte:02X}>" for byte in range(256))],
            show_progress=False,
        )
        tokenizer.train_from_iterator(corpus, trainer)
        # The byte tokens are ordinary ones: only the names are special.
        state = _without_special_bytes(tokenizer.to_str())
        tokenizer = Tokenizer.from_str(state)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=names,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(corpus, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=names[0])
    fast.chat_template = chat_template
    return fast


def _without_special_bytes(state: str) -> str:
    import json

    data = json.loads(state)
    data["added_tokens"] = [
        token for token in data["added_tokens"] if not token["content"].startswith("<0x")
    ]
    return json.dumps(data)


def write_model_folder(
    path: Path,
    *,
    layers: int = 2,
    hidden: int = 64,
    heads: int = 2,
    key_heads: int | None = None,
    max_length: int = 512,
    seed: int = 0,
    spread: float = 0.25,
    tokenizer: Any = None,
) -> Path:
    """Write a random Llama with a tokenizer; needs torch and transformers.

    Args:
        path: folder to write; made if absent.
        layers: decoder layers.
        hidden: width; every attention head has 32 dimensions, whatever the width.
        heads: attention heads.
        key_heads: key/value heads; as many as `heads` if None.
        max_length: context window in tokens.
        seed: of the weights.
        spread: standard deviation of the weights; more makes sharper distributions.
        tokenizer: as of `train_tokenizer`.

    Returns:
        `path`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer or train_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=hidden,
                intermediate_size=2 * hidden,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                num_key_value_heads=key_heads or heads,
                head_dim=32,
                attention_bias=True,
                tie_word_embeddings=True,
                max_position_embeddings=max_length,
                initializer_range=spread,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=None,
            )
        )
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
