"""The identity of a served model, and the only comparison of two identities.

An identity is compared when a backend is opened, after every outage, when a run is resumed, with
a bank, and between the rows of a table. Each field has a level: a difference in one that *decides*
means another model, one that *warns* is shown as a warning, one that *informs* is only recorded.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from atts_harness import neutral
from atts_harness.differences import value_in_words, words_of_difference

__all__ = [
    "GREEDY_AGREEMENT",
    "LEVELS",
    "PROBE_AGREEMENT",
    "Change",
    "Level",
    "ModelIdentity",
    "changes",
    "decisive",
    "greedy_agreement",
    "in_words",
    "read_identity",
    "score_routes",
]

Level = Literal["decides", "warns", "informs"]

PROBE_AGREEMENT = 0.25
"""Mean absolute difference, in nats a token, up to which two probes are of one model.

The same weights in bfloat16 on other kernels differ by some 0.05; other models by 0.5 and more.
"""
GREEDY_AGREEMENT = 1 / 3
"""Share of greedy texts, up to where they first differ, from which on two are of one model.

On other kernels, or in another batch, the same weights may choose otherwise where two tokens are
nearly as likely, and all behind it differs: seldom, and not behind every prompt at its beginning.
Texts of two models part within the first tokens. Weights that were only quantised often agree for
long: greedy texts cannot tell them apart, and such a small difference is only reported.
"""
_NOT_COMPARED = frozenset({"probe", "greedy", "weights_full"})
"""Fields that may be missing in one of two identities without a warning."""


class ModelIdentity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a model and of what serves it. None: not known.

    Attributes:
        engine: name of the engine, such as `vllm`.
        model: folder, hub id or served name. It decides only where the weights are not known:
            the same weights may lie at another path.
        version: of the engine.
        weights: digest of the weights, large files by their header and sampled blocks; see
            `atts_harness.weights`.
        weights_full: digest of every byte, where `weights` only samples.
        revision: as asked for on the hub; decides only where the weights are not known.
        dtype: number format of the weights.
        quantization: how the weights are quantized; `none` where it is known that they are not.
        kv_cache_dtype: number format of the key-value cache, where it is not the weights'.
        adapter: what was put on top of the weights or in their place: the name of a LoRA, SGLang's
            `weight_version`.
        tokenizer: fingerprint of the vocabulary.
        chat_template: fingerprint of the chat template and its arguments.
        eos_ids: ids that end a turn.
        moment: what the chat template was told as the date, ISO 8601, where it asks for one.
        probe: log-probabilities of a fixed text, in nats, where the engine told them.
        greedy: where it tells none: prompt tokens and greedy text behind each of a few fixed
            prompts.
        max_length: context window in tokens.
        speculative: settings of token-level speculative decoding.
        platform: versions and devices that change rounding: torch, device, attention.
        started: when the server started, or what else is new with each start.
        server: where it is reached and what it was found to do.
    """

    engine: str
    model: str
    version: str | None = None
    weights: str | None = None
    weights_full: str | None = None
    revision: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    adapter: str | None = None
    tokenizer: str | None = None
    chat_template: str | None = None
    eos_ids: tuple[int, ...] | None = None
    moment: str | None = None
    probe: tuple[float, ...] | None = None
    greedy: tuple[tuple[int, str], ...] | None = None
    max_length: int | None = None
    speculative: dict[str, str] | None = None
    platform: dict[str, str] = {}
    started: str | None = None
    server: dict[str, Any] = {}

    def record(self) -> dict[str, Any]:
        """Plain data for records; what is not known is left out."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def score_routes(roles: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """By role, the way in which an engine that has several gives scores.

    Args:
        roles: recorded identities.
    """
    routes = {
        role: (identity.get("server") or {}).get("score_route") for role, identity in roles.items()
    }
    return {role: str(route) for role, route in routes.items() if route}


LEVELS: Mapping[str, Level] = {
    "engine": "warns",
    "model": "decides",
    "version": "warns",
    "weights": "decides",
    "weights_full": "decides",
    "revision": "decides",
    "dtype": "decides",
    "quantization": "decides",
    "kv_cache_dtype": "decides",
    "adapter": "decides",
    "tokenizer": "decides",
    "chat_template": "decides",
    "eos_ids": "decides",
    "moment": "warns",
    "probe": "decides",
    "greedy": "decides",
    "max_length": "warns",
    "speculative": "warns",
    "platform": "warns",
    "started": "informs",
    "server": "informs",
}
_ABSENT = frozenset(
    {"revision", "adapter", "speculative", "platform", "server", "kv_cache_dtype", "moment"}
)
"""Fields for which a missing value means something: no adapter, the default revision."""


@dataclass(frozen=True)
class Change:
    """One field in which two identities differ.

    Attributes:
        name: the field.
        level: what the difference means.
        before: its value then, in words.
        after: its value now.
    """

    name: str
    level: Level
    before: str
    after: str

    def __str__(self) -> str:
        """In words."""
        return words_of_difference(self.name, self.before, self.after)


def changes(before: ModelIdentity, after: ModelIdentity) -> list[Change]:
    """Every field in which two identities differ, the most important first.

    What only one of them tells cannot be compared: that is worth a warning where it would decide.
    """
    order = ("decides", "warns", "informs")
    return sorted(_changes(before, after), key=lambda change: order.index(change.level))


def decisive(before: ModelIdentity, after: ModelIdentity) -> list[Change]:
    """The differences that mean another model."""
    return [change for change in changes(before, after) if change.level == "decides"]


def in_words(differing: Sequence[Change]) -> str:
    """Differences as one line."""
    return "; ".join(map(str, differing))


def read_identity(record: Mapping[str, Any]) -> ModelIdentity:
    """An identity from a record, also from one that an earlier release wrote.

    Raises:
        msgspec.ValidationError: a field holds something else than it should.
    """
    fields = {name: record[name] for name in LEVELS if name in record}
    if "template" in record:  # what an early release called it
        fields.setdefault("chat_template", record["template"])
    fields.setdefault("engine", "unknown")
    fields.setdefault("model", "unknown")
    return msgspec.convert(fields, ModelIdentity)


def _changes(before: ModelIdentity, after: ModelIdentity) -> Iterator[Change]:
    by_content = before.weights is not None and after.weights is not None
    for name, level in LEVELS.items():
        old, new = getattr(before, name), getattr(after, name)
        if old == new or (name == "probe" and _agree(old, new)):
            continue
        if name == "greedy" and old and new and greedy_agreement(old, new) >= GREEDY_AGREEMENT:
            level = "warns"
        if name in ("model", "revision") and by_content:
            level = "informs"
        elif (old is None or new is None) and name not in _ABSENT and level == "decides":
            level = "informs" if name in _NOT_COMPARED else "warns"
        yield Change(name, level, _shown(name, old), _shown(name, new))


def _agree(before: Sequence[float] | None, after: Sequence[float] | None) -> bool:
    if before is None or after is None or len(before) != len(after) or not before:
        return False
    gaps = (abs(a - b) for a, b in zip(before, after, strict=True))
    return statistics.fmean(gaps) <= PROBE_AGREEMENT


def greedy_agreement(before: Sequence[tuple[int, str]], after: Sequence[tuple[int, str]]) -> float:
    """The share of greedy texts up to where they first differ; the mean over the prompts.

    0 where the prompts do not have as many tokens: that is another tokenizer.
    """
    if [count for count, _ in before] != [count for count, _ in after]:
        return 0.0
    shares = [
        _alike(old, new) / max(len(old), len(new))
        for (_, old), (_, new) in zip(before, after, strict=True)
        if old or new
    ]
    return statistics.fmean(shares) if shares else 1.0


def _alike(first: str, second: str) -> int:
    """Characters up to where two texts first differ."""
    pairs = zip(first, second, strict=False)
    shorter = min(len(first), len(second))
    return next((at for at, (a, b) in enumerate(pairs) if a != b), shorter)


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "the default" if name == "revision" else "not known"
    if name == "greedy":
        text = neutral.line(" / ".join(text for _, text in value))
        return f"{sum(count for count, _ in value)} prompt tokens and {text[:80]!r}"
    if name == "probe":
        return f"a mean log-probability of {statistics.fmean(value or [0.0]):.3f}"
    return value_in_words(value)
