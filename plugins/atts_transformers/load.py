"""From a specification to a model that is ready to run, or one clear line why not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from atts_harness.backend import BackendSpec
from atts_harness.errors import SettingError
from atts_harness.identity import ModelIdentity
from atts_harness.tokenizer import HuggingFaceTokenizer, load_tokenizer
from atts_harness.weights import full_weights_digest, model_config, model_folder, weights_digest
from atts_transformers.engine import ModelRunner
from atts_transformers.options import TransformersOptions
from atts_transformers.packed import KEY_BLOCK
from atts_transformers.pick import pick_runner

CPU_CACHE_BYTES = 1 << 30
CUDA_CACHE_SHARE = 0.6
# Rows beyond those that run keep the prefixes of samples that wait for the other model.
ROWS_PER_RUNNING = 2


@dataclass(frozen=True)
class LoadedModel:
    """A model, its tokenizer and what fits.

    Attributes:
        name: as the user named it.
        max_length: context window in tokens.
        cache_tokens: cache positions over all rows.
        max_rows: most cache rows.
        identity: who answers.
        output_ids: ids that the model can take and write are below it.
    """

    name: str
    options: TransformersOptions
    runner: ModelRunner
    tokenizer: HuggingFaceTokenizer
    max_length: int
    cache_tokens: int
    max_rows: int
    identity: ModelIdentity
    output_ids: int


def load(spec: BackendSpec[TransformersOptions]) -> LoadedModel:
    """Load model and tokenizer, pick how to run it, and size the cache.

    Raises:
        SettingError: names the setting that cannot be used, and the remedy.
    """
    options, name = spec.options, spec.model
    assert name is not None
    if name.startswith(("/", "./", "../", "~")) and not Path(name).is_dir():
        raise SettingError(
            f"{spec.role}={name}: there is no such folder; give a model's folder or its Hub id"
        )
    device = _device(options.device)
    tokenizer = _tokenizer(name, options, spec)
    model = _model(spec.role, name, options, device)
    window = _window(model.config)
    max_length = options.max_length or window
    if max_length > window:
        raise SettingError(
            f"max_length: {max_length} is more than the {window} positions of {name}; lower it"
        )
    runner = pick_runner(model, name, options.attn_implementation)
    budget = options.kv_cache_memory_bytes or _default_budget(device)
    # A state that does not grow with the text is bounded by the number of rows alone.
    cache_tokens = budget // max(runner.bytes_per_token, 1)
    needed = options.max_length or min(max_length, 2 * KEY_BLOCK)
    if cache_tokens < needed:
        raise SettingError(
            f"kv_cache_memory_bytes: {budget} bytes hold {cache_tokens} tokens of {name}; give "
            f"{needed * runner.bytes_per_token} or more, or lower `max_length`"
        )
    max_length = min(max_length, cache_tokens)
    rows = ROWS_PER_RUNNING * options.max_batch_size
    config = model_config(model_folder(name, options.revision, hub=True))
    quantized = config.get("quantization_config") or {}
    identity = ModelIdentity(
        engine="transformers",
        version=transformers.__version__,
        model=name,
        weights=weights_digest(name, options.revision, hub=True),
        weights_full=full_weights_digest(name, options.revision, hub=True),
        revision=options.revision,
        dtype=str(model.dtype).removeprefix("torch."),
        quantization=quantized.get("quant_method", "none"),
        tokenizer=tokenizer.fingerprint,
        chat_template=tokenizer.template_fingerprint,
        eos_ids=tuple(sorted(tokenizer.eos_ids)),
        moment=tokenizer.moment,
        max_length=max_length,
        platform={
            "torch": str(torch.__version__),
            "device": str(device),
            "attention": "packed" if runner.divisible else "plain",
        },
    )
    size = getattr(model.config.get_text_config(), "vocab_size", 0)
    return LoadedModel(
        name,
        options,
        runner,
        tokenizer,
        max_length,
        cache_tokens,
        rows,
        identity,
        max(size, tokenizer.vocab_size),
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(
            f"device: {name!r} is not a device; use `auto`, `cpu` or `cuda`"
        ) from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise SettingError(
            f"device: {name!r} is not there ({torch.cuda.device_count()} CUDA devices); "
            "use `device=cpu`"
        )
    return device


def _tokenizer(
    name: str, options: TransformersOptions, spec: BackendSpec[TransformersOptions]
) -> HuggingFaceTokenizer:
    arguments = dict(options.chat_template_args)
    if options.enable_thinking is not None:
        arguments["enable_thinking"] = options.enable_thinking
    tokenizer = load_tokenizer(
        options.tokenizer or name,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
        chat_template=options.chat_template,
        template_args=arguments,
        moment=spec.moment,
    )
    try:
        tokenizer.check()
    except SettingError as error:
        raise SettingError(f"{spec.role}_{error}") from error
    return tokenizer


def _model(role: str, name: str, options: TransformersOptions, device: torch.device) -> Any:
    dtype: Any = "auto" if options.dtype == "auto" else getattr(torch, options.dtype)
    if dtype == "auto" and device.type == "cpu":
        dtype = torch.float32  # halves are slow there and round away small probabilities
    attention = options.attn_implementation
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            name,
            dtype=dtype,
            revision=options.revision,
            trust_remote_code=options.trust_remote_code,
            **({} if attention == "auto" else {"attn_implementation": attention}),
        )
        model.to(device)
    except torch.OutOfMemoryError as error:
        raise SettingError(f"{role}: {name} does not fit on {device}; try `dtype`") from error
    except (OSError, ValueError, KeyError, ImportError) as error:
        lines = str(error).strip().splitlines()
        raise SettingError(
            f"{role}: cannot load {name!r}: {lines[0] if lines else error!r}"
        ) from error
    return model.eval()


def _window(config: Any) -> int:
    text = config.get_text_config()
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        value = getattr(text, key, None)
        if isinstance(value, int) and value > 0:
            return value
    return 2048


def _default_budget(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return math.floor(free * CUDA_CACHE_SHARE)
    return CPU_CACHE_BYTES
