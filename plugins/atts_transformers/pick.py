"""How a model is run: all requests packed into one pass if it allows that, else one by one.

No list of architectures says which; a comparison with a plain forward pass of the model does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atts_harness import neutral
from atts_harness.errors import SettingError
from atts_transformers.packed import PackedRunner, PassPart
from atts_transformers.plain import CACHE_NAMES, PlainRunner

log = neutral.logger(__name__)

# Mean difference of logits over their spread, by bytes a number: rounding, nothing else.
PACKING_TOLERANCE = {2: 5e-2, 4: 1e-4, 8: 1e-4}
PROBE = 64


def pick_runner(model: Any, name: str, implementation: str) -> PackedRunner | PlainRunner:
    """Pack requests if the model gives the same logits that way, else run them one by one.

    Args:
        model: as loaded.
        name: for the log.
        implementation: the option `attn_implementation`; a name other than `auto` is obeyed.

    Raises:
        SettingError: the model's text cannot be continued from a cache.
    """
    size = min(PROBE, model.config.get_text_config().vocab_size)
    ids = [list(range(size // 2)), list(range(size))[::-2]]
    with torch.inference_mode():
        outputs = [
            model(input_ids=torch.tensor([i], device=model.device), use_cache=True) for i in ids
        ]
        plain = [out.logits[0] for out in outputs]
        if implementation == "auto":
            result = _packed(model, plain, ids)
            if isinstance(result, PackedRunner):
                return result
            log.warning("%s: requests run one by one, since %s", name, result)
        cache_name = next((n for n in CACHE_NAMES if outputs[0].get(n) is not None), None)
        for stepwise in (False, True):
            if cache_name is not None:
                runner = PlainRunner(model, cache_name, stepwise=stepwise)
                if _gap(_in_two_pieces(runner, ids[0]), plain[0]) < _tolerance(model):
                    return runner
    raise SettingError(
        f"model: {name} keeps no cache that its text can be continued from; serve it with "
        "backend=vllm or backend=sglang"
    )


def _packed(model: Any, plain: list[Tensor], ids: list[list[int]]) -> PackedRunner | str:
    """A packed runner, or why there cannot be one."""
    before = model.config._attn_implementation
    try:
        runner = PackedRunner(model)
        cut = len(ids[0]) // 3
        # Two requests at once, one of them in two pieces: what breaks a model shows here.
        first = runner.forward([PassPart(1, 0, ids[1], 0), PassPart(0, 0, ids[0][:cut], 0)])
        later = runner.forward([PassPart(0, cut, ids[0][cut:], 0)])
    except Exception as error:  # any model code may run here
        reason = f"packing failed ({type(error).__name__}: {error})"
    else:
        gap = _gap(torch.cat([first, later]), torch.cat([plain[1], plain[0]]))
        if gap < _tolerance(model):
            return runner
        reason = f"packing changes the logits (by {gap:.1e} of their spread)"
    if model.config._attn_implementation != before:
        model.set_attn_implementation(before)
    return reason


def _in_two_pieces(runner: PlainRunner, ids: list[int]) -> Tensor:
    cut = len(ids) // 3
    first = runner.forward([PassPart(0, 0, ids[:cut], 0)])
    return torch.cat([first, runner.forward([PassPart(0, cut, ids[cut:], 0)])])


def _gap(got: Tensor, expected: Tensor) -> float:
    """Mean difference over the spread of what is expected; NaN if either has one."""
    expected = expected.float()
    return float((got.float() - expected).abs().mean() / expected.std().clamp(min=1e-6))


def _tolerance(model: Any) -> float:
    return PACKING_TOLERANCE[model.dtype.itemsize]
