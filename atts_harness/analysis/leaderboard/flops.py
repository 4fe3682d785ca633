"""Estimates the FLOPs of a row: 2 x parameters a token, and attention over the context.

Parameters are counted in the model's weight files if they are on this machine, else they are a
setting. They are always a setting for a mixture of experts, which computes with a part of its
weights, and for packed quantised weights. Nothing is inferred from a model's name.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Annotated, Any

import msgspec

from atts_harness.analysis.leaderboard.spent import Flops
from atts_harness.errors import SettingError
from atts_harness.files import decode, read_file
from atts_harness.records import CountedCall

MOST_HEADER = 100_000_000
MOST_WIDTH = 1 << 24
PART = re.compile(r"[\w.-]{1,200}")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}
FILES = ("config.json", "model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class ModelSize:
    """What an estimate needs to know of a model.

    Attributes:
        parameters: that a token is computed with.
        source: `weights` (counted in the files) or `setting`.
        attention: FLOPs of one token's attention for each token before it; None: not known.
    """

    parameters: float
    source: str
    attention: float | None = None


def size_of(model: str | None, parameters: float | None = None) -> ModelSize | None:
    """The size of a model.

    Args:
        model: a folder, or a hub id that is in the local cache. Nothing is downloaded.
        parameters: how many it has, from a setting; preferred to what its files say.

    Returns:
        None if it is not known on this machine.
    """
    files = _files(model) if model else {}
    config = _json(files.get("config.json"))
    attention = _attention(config)
    if parameters is not None:
        return ModelSize(parameters, "setting", attention)
    if any(config.get(name) for name in (*EXPERTS, "quantization_config")):
        return None  # not every weight works on every token, or several are packed in one number
    counted = _counted(files)
    return None if counted is None else ModelSize(float(counted), "weights", attention)


def estimate(
    computed: Mapping[str, float],
    samples: int,
    sizes: Mapping[str, ModelSize],
    pairs: Mapping[str, float] | None = None,
) -> Flops | None:
    """FLOPs a sample.

    Args:
        computed: tokens computed in all, by role.
        samples: number of samples that these are of.
        sizes: by role; roles without one are left out.
        pairs: by role the (token, token before it) pairs of all its calls, from `attended`; None
            where the calls are not known, and the estimate is without attention.

    Returns:
        None if no role's size is known, or nothing was computed.
    """
    sized = {role: size for role, size in sizes.items() if role in computed}
    if not sized or not samples:
        return None
    by_role, attention = {}, {}
    for role, size in sized.items():
        flops = 2 * size.parameters * computed[role]
        attention[role] = size.attention is not None and pairs is not None
        if size.attention is not None and pairs is not None:
            flops += size.attention * pairs.get(role, 0.0)
        by_role[role] = flops / samples
    return Flops(
        total=sum(by_role.values()) if set(sized) == set(computed) else None,
        by_role=by_role,
        parameters={role: size.parameters for role, size in sized.items()},
        source={role: size.source for role, size in sized.items()},
        attention=attention,
    )


def attended(calls: Iterable[CountedCall]) -> dict[str, float]:
    """By role the number of (token, token before it) pairs that its calls computed."""
    pairs: dict[str, float] = {}
    for call in calls:
        attend(pairs, call)
    return pairs


def attend(pairs: dict[str, float], call: CountedCall) -> None:
    """Add a call's pairs to the sum of its role.

    A call that computes positions c to n of its context adds n(n+1)/2 - c(c+1)/2.
    """
    usage = call.usage
    if usage is None:
        return
    first = usage.cached_tokens or 0
    last = usage.prompt_tokens + usage.completion_tokens
    call_pairs = (last * (last + 1) - first * (first + 1)) / 2
    pairs[call.key.role] = pairs.get(call.key.role, 0.0) + call_pairs


def parse_parameters(texts: Iterable[str]) -> dict[str, float]:
    """Numbers by role, from texts such as `draft=1.5B` and `target=32e9`.

    Raises:
        SettingError: not of this form, or not positive.
    """
    by_role: dict[str, float] = {}
    for text in (part for whole in texts for part in whole.split(",") if part.strip()):
        role, equals, number = text.strip().partition("=")
        unit = SUFFIXES.get(number[-1:].lower(), 1.0)
        try:
            value = float(number[:-1] if unit != 1.0 else number) * unit
        except ValueError:
            value = 0.0
        if not equals or role not in ("draft", "target") or not 0 < value < 1e18:
            raise SettingError(
                f"--parameters {text!r}: expected draft=NUMBER or target=NUMBER, such as "
                "draft=1.5B or target=32e9"
            )
        by_role[role] = value
    return by_role


def _files(model: str) -> dict[str, Path]:
    folder = Path(model)
    if (folder / "config.json").is_file():
        return {name: folder / name for name in FILES if (folder / name).is_file()}
    try:
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError
    except ImportError:
        return {}
    try:
        cached = {name: try_to_load_from_cache(model, name) for name in FILES}
    except HFValidationError:  # a served name or a path of another machine
        return {}
    return {name: Path(path) for name, path in cached.items() if isinstance(path, str)}


def _json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    loaded: Any = decode(read_file(path), Any, f"{path}: cannot be read")
    return loaded if isinstance(loaded, dict) else {}


def _attention(config: Mapping[str, Any]) -> float | None:
    """FLOPs of attention a pair of tokens: 2 x 2 x width, in every layer."""
    layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
    hidden = config.get("hidden_size")
    if not (isinstance(layers, int) and isinstance(heads, int) and isinstance(hidden, int)):
        return None
    if not (0 < heads < MOST_WIDTH and 0 < layers < MOST_WIDTH and 0 < hidden < MOST_WIDTH):
        return None
    head = config.get("head_dim")
    width = head if isinstance(head, int) and 0 < head < MOST_WIDTH else hidden // heads
    return 4.0 * layers * heads * width


def _counted(files: Mapping[str, Path]) -> int | None:
    """The count of numbers in the weight files, from their headers; shared tensors count once."""
    index = files.get("model.safetensors.index.json")
    if index is not None:
        listed = _json(index).get("weight_map")
        names = list(listed.values()) if isinstance(listed, dict) else []
        # Parts lie in the index's folder: a name that leads elsewhere is refused.
        if not all(isinstance(name, str) and PART.fullmatch(name) for name in names):
            raise SettingError(
                f"{index}: names a part that is not in its folder; give --parameters"
            )
        parts = [index.parent / name for name in sorted(set(names))]
    else:
        parts = [files["model.safetensors"]] if "model.safetensors" in files else []
    if not parts or not all(part.is_file() for part in parts):
        return None
    return sum(_numbers(part) for part in parts)


def _numbers(path: Path) -> int:
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else MOST_HEADER + 1
        if length > MOST_HEADER:
            raise SettingError(f"{path}: not a safetensors file; give --parameters")
        refusal = f"{path}: not a safetensors file; give --parameters"
        header: dict[str, msgspec.Raw] = decode(
            stream.read(length), dict[str, msgspec.Raw], refusal
        )
    shapes: list[_Tensor] = [
        decode(raw, _Tensor, refusal) for name, raw in header.items() if name != "__metadata__"
    ]
    return sum(prod(tensor.shape) for tensor in shapes)


class _Tensor(msgspec.Struct):
    shape: list[Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)]]
