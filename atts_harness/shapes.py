"""A model's shape: how many weights, KV bytes and FLOPs it needs, from its `config.json`.

    shape = shape_of("Qwen/QwQ-32B")
    shape.parameters, shape.weight_bytes, shape.kv_bytes

The published pairs' configurations lie beside this module (`shapes.yaml`), so nothing is loaded
from a hub.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atts_harness.errors import SettingError

__all__ = ["ModelShape", "shape_of"]

PUBLISHED = Path(__file__).with_name("shapes.yaml")
NEEDED = (
    *("num_hidden_layers", "hidden_size", "num_attention_heads"),
    *("intermediate_size", "vocab_size"),
)
OPTIONAL = ("num_key_value_heads", "head_dim", "max_position_embeddings")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
BYTES = {"float32": 4.0, "float": 4.0, "bfloat16": 2.0, "float16": 2.0, "half": 2.0}
QUANTISED = {"fp8": 1.0, "compressed-tensors": 1.0, "awq": 0.5, "gptq": 0.5, "bitsandbytes": 0.5}
"""Bytes a weight by method, where the configuration does not say how many bits it has."""


@dataclass(frozen=True)
class ModelShape:
    """A dense decoder with grouped-query attention and a gated feed-forward block.

    Attributes:
        name: the model.
        layers, hidden, heads, kv_heads, head_dim, intermediate, vocab: as `config.json` has them.
        window: context window in tokens, as the model was trained.
        tied: whether the output matrix is the embedding.
        dtype_bytes: bytes of a number that is computed with, and of the KV cache's.
        quantised_bytes: bytes of a weight of the layers, where it is quantised.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    window: int
    tied: bool = False
    dtype_bytes: float = 2.0
    quantised_bytes: float | None = None

    @property
    def block_parameters(self) -> int:
        """Weights of all layers, without embedding and output matrix."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def parameters(self) -> int:
        """All weights; norms and biases, under 0.1 % of them, are left out."""
        return self.block_parameters + (1 if self.tied else 2) * self.hidden * self.vocab

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights; embedding and output matrix are never quantised."""
        outer = self.parameters - self.block_parameters
        return self._block_bytes + outer * self.dtype_bytes

    @property
    def step_bytes(self) -> float:
        """Bytes of weights that one step reads: every layer and the output matrix."""
        return self._block_bytes + self.hidden * self.vocab * self.dtype_bytes

    @property
    def kv_bytes(self) -> float:
        """Bytes of KV cache a token, keys and values of all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.dtype_bytes

    @property
    def _block_bytes(self) -> float:
        size = self.dtype_bytes if self.quantised_bytes is None else self.quantised_bytes
        return self.block_parameters * size

    def flops(self, tokens: float, pairs: float, rows: float) -> float:
        """FLOPs of computing tokens: two a weight and token, and attention.

        Args:
            tokens: that pass through the layers.
            pairs: (token, token before it) pairs of their attention: scores and weighted values,
                two FLOPs each.
            rows: tokens whose logits are computed.
        """
        linear = 2.0 * self.block_parameters * tokens
        attention = 4.0 * self.layers * self.heads * self.head_dim * pairs
        return linear + attention + 2.0 * self.hidden * self.vocab * rows


def shape_of(model: str, dtype: str | None = None) -> ModelShape:
    """The shape of a model: of a published pair, or of a folder that holds a `config.json`.

    Args:
        model: hub id of a published pair's model or of one in the local cache, or a folder.
            Nothing is downloaded.
        dtype: number format; None or `auto`: what the configuration says, else bfloat16.

    Raises:
        SettingError: the model is not known here, its configuration is not a dense decoder's, or
            the number format is not known.
    """
    config = _config_of(model)
    if dtype in (None, "auto"):
        dtype = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    if dtype not in BYTES:
        raise SettingError(f"dtype={dtype}: not one of {', '.join(BYTES)}")
    return _from_config(model, config, BYTES[dtype])


def _config_of(model: str) -> Mapping[str, Any]:
    published = _published()
    if model in published:
        return published[model]
    file = Path(model) / "config.json"
    if not file.is_file():
        file = _cached(model) or file
    if not file.is_file():
        raise SettingError(
            f"{model}: its shape is not known; give a folder with its config.json, or one of "
            f"{', '.join(published)}"
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(f"{file}: cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise SettingError(f"{file}: is not an object of settings")
    return config


def _cached(model: str) -> Path | None:
    """The configuration of a hub id in the local cache."""
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return None
    try:
        path = try_to_load_from_cache(model, "config.json")
    except HFValidationError:  # a served name or a path of another machine
        return None
    return Path(path) if isinstance(path, str) else None


def _quantised(model: str, config: Mapping[str, Any]) -> float | None:
    quantisation = config.get("quantization_config")
    if not isinstance(quantisation, dict):
        return None
    method = str(quantisation.get("quant_method"))
    bits = quantisation.get("bits") or quantisation.get("weight_bits")
    if isinstance(bits, int):
        return bits / 8
    if method not in QUANTISED:
        raise SettingError(f"{model}: how large its weights are is not known ({method})")
    return QUANTISED[method]


@functools.cache
def _published() -> dict[str, dict[str, Any]]:
    import yaml  # type: ignore[import-untyped]

    loaded: dict[str, dict[str, Any]] = yaml.safe_load(PUBLISHED.read_text(encoding="utf-8"))
    return loaded


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value > 0


def _from_config(model: str, config: Mapping[str, Any], dtype_bytes: float) -> ModelShape:
    missing = [name for name in NEEDED if not _is_size(config.get(name))]
    if missing:
        raise SettingError(f"{model}: its config.json has no {', '.join(missing)}")
    sizes = [name for name in OPTIONAL if config.get(name) and not _is_size(config[name])]
    if sizes:
        raise SettingError(f"{model}: in its config.json {sizes[0]} is no number above 0")
    if any(config.get(name) for name in EXPERTS):
        raise SettingError(f"{model}: mixtures of experts are not modelled")
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    return ModelShape(
        name=model,
        layers=config["num_hidden_layers"],
        hidden=hidden,
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or hidden // heads,
        intermediate=config["intermediate_size"],
        vocab=config["vocab_size"],
        window=config.get("max_position_embeddings") or 1 << 20,
        tied=bool(config.get("tie_word_embeddings")),
        dtype_bytes=dtype_bytes,
        quantised_bytes=_quantised(model, config),
    )
