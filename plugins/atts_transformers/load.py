"""From a specification to a model that is ready to run, or one clear line why not."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from atts_harness.backend import BackendSpec
from atts_harness.errors import SettingError
from atts_harness.tokenizer import HuggingFaceTokenizer, load_tokenizer
from atts_harness.transcript import Message
from atts_transformers.engine import Runner
from atts_transformers.options import TransformersOptions
from atts_transformers.packed import KEY_BLOCK, PackedRunner, Work
from atts_transformers.plain import PlainRunner

log = logging.getLogger(__name__)

CPU_CACHE_BYTES = 1 << 30
CUDA_CACHE_SHARE = 0.6
# Mean difference of logits over their spread, by bytes a number: rounding, nothing else.
PACKING_TOLERANCE = {2: 5e-2, 4: 1e-4, 8: 1e-4}
# Rows beyond those that run keep the prefixes of samples that wait for the other model.
ROWS_PER_RUNNING = 2


@dataclass(frozen=True)
class Loaded:
    """A model, its tokenizer and what fits.

    Attributes:
        name: as the user named it.
        max_length: context window in tokens.
        cache_tokens: cache positions over all rows.
        max_rows: most cache rows.
        description: identity, for records.
    """

    name: str
    options: TransformersOptions
    runner: Runner
    tokenizer: HuggingFaceTokenizer
    max_length: int
    cache_tokens: int
    max_rows: int
    description: Mapping[str, Any]


def load(spec: BackendSpec) -> Loaded:
    """Load model and tokenizer, pick how to run it, and size the cache.

    Raises:
        SettingError: names the setting that cannot be used, and the remedy.
    """
    options, name = spec.options, spec.model
    assert isinstance(options, TransformersOptions)
    assert name is not None
    device = _device(options.device)
    tokenizer = _tokenizer(name, options)
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
    wanted = options.max_length or min(max_length, 2 * KEY_BLOCK)
    if cache_tokens < wanted:
        raise SettingError(
            f"kv_cache_memory_bytes: {budget} bytes hold {cache_tokens} tokens of {name}; give "
            f"{wanted * runner.bytes_per_token} or more, or lower `max_length`"
        )
    max_length = min(max_length, cache_tokens)
    rows = ROWS_PER_RUNNING * options.max_batch_size
    description = {
        "engine": "transformers",
        "version": transformers.__version__,
        "torch": str(torch.__version__),
        "model": name,
        "revision": options.revision,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(device),
        "attention": "packed" if runner.divisible else "plain",
        "max_length": max_length,
        "tokenizer": tokenizer.fingerprint,
        "template": tokenizer.template_fingerprint,
    }
    return Loaded(name, options, runner, tokenizer, max_length, cache_tokens, rows, description)


def pick_runner(model: Any, name: str, implementation: str) -> PackedRunner | PlainRunner:
    """Pack requests if the model gives the same logits that way, else run them one by one.

    Args:
        model: as loaded.
        name: for the log.
        implementation: the option `attn_implementation`; a name other than `auto` is obeyed.

    Raises:
        SettingError: the model keeps no cache, or does not know the implementation.
    """
    size = min(64, model.config.get_text_config().vocab_size)
    ids = [list(range(size // 2)), list(range(size))[::-2]]
    with torch.inference_mode():
        plain = [model(input_ids=torch.tensor([i], device=model.device)) for i in ids]
        if plain[0].get("past_key_values") is None:
            raise SettingError(
                f"model: {name} returns no `past_key_values`, so its text cannot be continued; "
                "serve it with backend=vllm or backend=sglang"
            )
        if implementation == "auto":
            found = _packed(model, [out.logits[0] for out in plain], ids)
            if isinstance(found, PackedRunner):
                return found
            log.warning("%s: requests run one by one, since %s", name, found)
        runner = PlainRunner(model)
        runner.forward([Work(0, 0, [0, 1], 1)])
    return runner


def _packed(model: Any, plain: list[Tensor], ids: list[list[int]]) -> PackedRunner | str:
    """A packed runner, or why there cannot be one."""
    before = model.config._attn_implementation
    try:
        runner = PackedRunner(model)
        cut = len(ids[0]) // 3
        # Two requests at once, one of them in two pieces: what breaks a model shows here.
        first = runner.forward([Work(1, 0, ids[1], 0), Work(0, 0, ids[0][:cut], 0)])
        rest = runner.forward([Work(0, cut, ids[0][cut:], 0)])
    except Exception as error:  # any model code may run here
        reason = f"packing failed ({type(error).__name__}: {error})"
    else:
        got = torch.cat([first, rest]).float()
        expected = torch.cat([plain[1], plain[0]]).float()
        gap = (got - expected).abs().mean() / expected.std().clamp(min=1e-6)
        if gap < PACKING_TOLERANCE[model.dtype.itemsize]:
            return runner
        reason = f"packing changes the logits (by {gap:.1e} of their spread)"
    model.set_attn_implementation(before)
    return reason


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device: {name!r} is none; use `auto`, `cpu` or `cuda`") from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise SettingError(
            f"device: {name!r} is not there ({torch.cuda.device_count()} CUDA devices); "
            "use `device=cpu`"
        )
    return device


def _tokenizer(name: str, options: TransformersOptions) -> HuggingFaceTokenizer:
    arguments = dict(options.chat_template_args)
    if options.enable_thinking is not None:
        arguments["enable_thinking"] = options.enable_thinking
    tokenizer = load_tokenizer(
        options.tokenizer or name,
        revision=options.revision,
        trust_remote_code=options.trust_remote_code,
        chat_template=options.chat_template,
        template_args=arguments,
    )
    tokenizer.render([Message("user", ".")])  # says so at once if there is no chat template
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
