"""Settings that all backends over HTTP share, and what follows from them: headers, tokenizer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec

from atts_harness.backend import BackendOptions, BackendSpec
from atts_harness.errors import SettingError
from atts_harness.tokenizer import HuggingFaceTokenizer, load_tokenizer


def _field(text: str, **bounds: Any) -> msgspec.Meta:
    return msgspec.Meta(description=text, **bounds)


class EngineOptions(BackendOptions, frozen=True, kw_only=True):
    """A served model. Without `url` the server is started, and stopped with the run."""

    url: Annotated[str | None, _field("address of a running server; absent: one is started")] = None
    served_model_name: Annotated[
        str | None, _field("name under which the server knows the model, if not the model's own")
    ] = None
    tokenizer: Annotated[str | None, _field("folder or hub id, if not the model's own")] = None
    revision: Annotated[str | None, _field("hub revision of model and tokenizer")] = None
    trust_remote_code: Annotated[bool, _field("run the repository's own code")] = False
    max_length: Annotated[int, _field("context window in tokens", ge=2)] | None = None
    chat_template: Annotated[str | None, _field("Jinja template, or a file that holds it")] = None
    chat_template_args: Annotated[
        dict[str, Any] | None, _field("further arguments of the chat template (JSON)")
    ] = None
    enable_thinking: Annotated[
        bool | None, _field("shorthand for the template argument of that name")
    ] = None
    timeout: (
        Annotated[
            float, _field("seconds a request of this role may take (draft_timeout=...)", gt=0)
        ]
        | None
    ) = None
    headers_env: Annotated[
        str | None, _field("environment variable with further HTTP headers, as a JSON object")
    ] = None
    api_key_env: Annotated[
        str, _field("environment variable with the server's key, sent as a bearer token")
    ] = "ATTS_API_KEY"

    def __hash__(self) -> int:
        """Specifications are keys; a template's arguments are a dict."""
        return hash(msgspec.json.encode(self, order="deterministic"))


def request_headers(options: EngineOptions) -> dict[str, str]:
    """HTTP headers from the environment; secrets never stand in settings.

    Raises:
        SettingError: `headers_env` names a variable that is absent or not a JSON object of texts.
    """
    headers = {}
    if key := os.environ.get(options.api_key_env):
        headers["Authorization"] = f"Bearer {key}"
    if options.headers_env is not None:
        text = os.environ.get(options.headers_env)
        if text is None:
            raise SettingError(f"headers_env: {options.headers_env} is not set in the environment")
        try:
            headers |= msgspec.json.decode(text, type=dict[str, str])
        except msgspec.DecodeError as error:
            raise SettingError(
                f"headers_env: {options.headers_env} must hold a JSON object of texts, such as "
                '{"X-Team": "a"}'
            ) from error
    return headers


def template_args(options: EngineOptions) -> dict[str, Any]:
    """Arguments of the chat template, the `enable_thinking` shorthand included."""
    args = dict(options.chat_template_args or {})
    if options.enable_thinking is not None:
        args["enable_thinking"] = options.enable_thinking
    return args


def open_tokenizer(spec: BackendSpec[EngineOptions], served: str | None) -> HuggingFaceTokenizer:
    """The model's tokenizer, loaded locally: from `tokenizer`, the model, or what is served.

    Args:
        spec: of an `EngineOptions` backend.
        served: path or hub id that the server names.

    Raises:
        MissingExtraError: `transformers` is not installed.
        SettingError: no tokenizer is named that can be loaded.
    """
    options = spec.options
    path = options.tokenizer or _loadable(spec.model, served)
    if path is None:
        raise SettingError(
            f"{spec.role}_tokenizer: the server does not say which model it serves; give a folder "
            "or hub id"
        )
    try:
        tokenizer = load_tokenizer(
            path,
            revision=options.revision,
            trust_remote_code=options.trust_remote_code,
            chat_template=options.chat_template,
            template_args=template_args(options),
            moment=spec.moment,
        )
    except SettingError as error:
        raise SettingError(
            f"{spec.role}_tokenizer: {error} (give the served model's own as a folder or hub id)"
        ) from error
    try:
        tokenizer.check()
    except SettingError as error:
        raise SettingError(f"{spec.role}_{error}") from error
    return tokenizer


def _loadable(model: str | None, served: str | None) -> str | None:
    """Name to load a tokenizer by: a folder if there is one, else a hub id, else any name."""
    names = [name for name in (model, served) if name]
    folders = [name for name in names if Path(name).expanduser().is_dir()]
    ids = [name for name in names if name.count("/") == 1]
    return next(iter([*folders, *ids, *names]), None)
