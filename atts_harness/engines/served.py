"""Checks what a server says it serves: the model that was asked for, its tokenizer, its window."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from atts_harness.backend import BackendSpec
from atts_harness.engines.http import EngineHttp
from atts_harness.engines.options import EngineOptions
from atts_harness.errors import SettingError
from atts_harness.identity import ModelIdentity
from atts_harness.tokenizer import HuggingFaceTokenizer, Tokenizer
from atts_harness.weights import model_config, model_folder, weights_digest

# Plain text only: names of special tokens mean different things to `encode` and to a server.
SAMPLE_TEXT = "Solve 12 + 3 = 15.\n\nSo the answer is \\boxed{15}. Über naïve façades, 東京, Ω ≠ ∞."
MOST_NAMED = 5


@dataclass(frozen=True)
class Served:
    """What a server reports about itself; None: it does not say.

    Attributes:
        engine: name of the engine.
        name: name to ask for.
        model: folder or hub id.
        window: context window in tokens.
        started: a text that changes with each start of the process, and only then.
    """

    engine: str
    name: str
    model: str
    window: int | None = None
    version: str | None = None
    revision: str | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    adapter: str | None = None
    speculative: dict[str, str] | None = None
    started: str | None = None


def identity_of(
    served: Served, tokenizer: Tokenizer, max_length: int, *, managed: bool
) -> ModelIdentity:
    """The identity of a served model, from the server's report and the model's files here.

    Args:
        served: the server's report.
        tokenizer: the local one.
        max_length: context window in tokens.
        managed: this run started the server, so a hub id means this machine's cache.
    """
    folder = model_folder(served.model, served.revision, hub=managed)
    config = model_config(folder)
    dtype = served.dtype
    if dtype in (None, "auto"):
        dtype = config.get("dtype") or config.get("torch_dtype") or dtype
    quantization = served.quantization
    if quantization in (None, "none"):
        quantization_config = config.get("quantization_config")
        quantization = (quantization_config or {}).get("quant_method") or quantization
    return ModelIdentity(
        engine=served.engine,
        model=served.model,
        version=served.version,
        weights=weights_digest(served.model, served.revision, hub=managed),
        revision=served.revision,
        dtype=dtype,
        quantization=quantization,
        kv_cache_dtype=served.kv_cache_dtype,
        adapter=served.adapter,
        tokenizer=tokenizer.fingerprint,
        chat_template=tokenizer.template_fingerprint,
        eos_ids=tuple(sorted(tokenizer.eos_ids)),
        moment=tokenizer.moment if isinstance(tokenizer, HuggingFaceTokenizer) else None,
        max_length=max_length,
        speculative=served.speculative,
        started=served.started,
    )


def output_ids(tokenizer: Tokenizer) -> int:
    """Number of ids that the model may write: more than the tokenizer has, if it is padded."""
    return tokenizer.output_size if isinstance(tokenizer, HuggingFaceTokenizer) else 0


class Listed(Protocol):
    """One entry of a server's list of models."""

    @property
    def id(self) -> str:
        """Name to ask for."""
        ...

    @property
    def root(self) -> str | None:
        """Folder or hub id, if the server says it."""
        ...


L = TypeVar("L", bound=Listed)


def pick_model(spec: BackendSpec[EngineOptions], http: EngineHttp, listed: Sequence[L]) -> L:
    """The listed model that was asked for; the only one if none was asked for.

    Replicas behind a router appear under one name and are one model.

    Args:
        spec: names the model, if it does.
        http: where it is served.
        listed: at least one model.

    Raises:
        SettingError: none of them fits what was asked for, or several do.
    """
    models = list({model.id: model for model in reversed(listed)}.values())[::-1]
    names = [model.id for model in models]
    options = spec.options
    requested = options.served_model_name or spec.model
    if requested is None:
        if len(models) == 1:
            return models[0]
        raise SettingError(
            f"{spec.role}_url: {http.url} serves {len(models)} models ({_list(names)}); say which "
            f"one with {spec.role}=NAME"
        )
    ways: tuple[Callable[[L], bool], ...] = (
        lambda m: m.id == requested,
        lambda m: m.root == requested,
        lambda m: any(same_model(requested, name) for name in (m.root, m.id) if name),
    )
    for matches in ways:
        candidates = [model for model in models if matches(model)]
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            raise SettingError(
                f"{spec.role}_served_model_name: {http.url} serves several models that could be "
                f"{requested} ({_list([model.id for model in candidates])}); give the name of one"
            )
    raise SettingError(_not_served(spec, http, names, requested))


def check_model(spec: BackendSpec[EngineOptions], http: EngineHttp, served: Sequence[str]) -> None:
    """Make sure that a server with one model has the one that was asked for.

    Args:
        spec: names the model, if it does.
        http: where it is served.
        served: every name and path under which the server knows its model.

    Raises:
        SettingError: it serves another one.
    """
    options = spec.options
    requested = options.served_model_name or spec.model
    if requested is not None and not any(same_model(requested, name) for name in served):
        raise SettingError(_not_served(spec, http, served, requested))


def _not_served(
    spec: BackendSpec[EngineOptions], http: EngineHttp, served: Sequence[str], requested: str
) -> str:
    return (
        f"{spec.role}_url: {http.url} serves {_list(served) or 'nothing'}, not {requested}; "
        f"correct the URL, or give {spec.role}_served_model_name if it is the same model"
    )


def _list(names: Sequence[str]) -> str:
    tail = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return " or ".join(names[:MOST_NAMED]) + tail


def same_model(requested: str, name: str) -> bool:
    """Whether two names are of one model: folders by content, others by their last part.

    A hub id has an owner, and another owner's model of the same name is another model.
    """
    if requested == name:
        return True
    if Path(requested).is_dir() and Path(name).is_dir():
        if Path(requested).resolve() == Path(name).resolve():
            return True
        digest = weights_digest(requested)
        return digest is not None and digest == weights_digest(name)
    owner, model = _parts(requested)
    other_owner, other = _parts(name)
    if None not in (owner, other_owner) and owner != other_owner:
        return False
    return model == other


def _parts(name: str) -> tuple[str | None, str]:
    """Owner and model of a hub id or of its place in a cache; of a path only the last part."""
    if cached := re.search(r"models--([^/]+?)--([^/]+)", name):
        return cached.group(1).lower(), cached.group(2).lower()
    front, slash, last = name.rstrip("/").rpartition("/")
    is_id = bool(slash) and "/" not in front and front not in ("", ".", "..", "~")
    is_id = is_id and not Path(name).is_dir()
    return (front.lower() if is_id else None), last.lower()


def check_tokenizer(
    spec: BackendSpec[EngineOptions], tokenizer: Tokenizer, theirs: Sequence[int]
) -> None:
    """Make sure that the local tokenizer is the server's.

    Args:
        spec: of the role.
        tokenizer: the local one.
        theirs: ids that the server makes of `SAMPLE_TEXT`, without special tokens.

    Raises:
        SettingError: they differ.
    """
    ours = tokenizer.encode(SAMPLE_TEXT)
    if tuple(theirs[-len(ours) :]) == ours and len(theirs) - len(ours) in (0, 1):
        return  # one more: some servers prepend a token for the beginning of the text
    at = next(
        (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    raise SettingError(
        f"{spec.role}_tokenizer: the local tokenizer is not the server's (token {at} of a sample "
        f"text differs); give the served model's own with {spec.role}_tokenizer=FOLDER_OR_HUB_ID"
    )


def check_window(spec: BackendSpec[EngineOptions], served: int) -> int:
    """The context window to use: the server's, or a smaller one that was asked for.

    Raises:
        SettingError: more was asked for than a server that runs already has.
    """
    options = spec.options
    if options.max_length is None:
        return served
    if options.max_length > served and options.url is not None:
        raise SettingError(
            f"{spec.role}_max_length: the server's window is {served} tokens, less than the "
            f"{options.max_length} asked for; lower it, or serve a longer context"
        )
    return min(options.max_length, served)
