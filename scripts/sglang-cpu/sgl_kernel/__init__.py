"""A stand-in for SGLang's kernel package on a CPU without AMX kernels.

There SGLang computes every layer with plain torch, yet imports some names of the kernel package
unconditionally. The two that a plain decoder model calls are written here in torch; every other
name can be imported and raises when it is called, so nothing is ever computed by accident.
"""

import torch

__version__ = "0.0.0+torch"


def assign_req_to_token_pool_cpu(
    req_pool_indices, req_to_token, start_offset, end_offset, out_cache_loc, pool_len
):
    """Write each request's new cache slots, which come one request after another, to its row."""
    begin = 0
    rows = zip(req_pool_indices.tolist(), start_offset.tolist(), end_offset.tolist(), strict=True)
    for row, start, end in rows:
        slots = out_cache_loc[begin : begin + end - start]
        req_to_token[row, start:end] = slots.to(req_to_token.dtype)
        begin += end - start


def silu_and_mul(x, out=None):
    """SwiGLU's gate: silu of the first half of the last dimension, times the second half."""
    gate, up = x.chunk(2, dim=-1)
    result = torch.nn.functional.silu(gate) * up
    return result if out is None else out.copy_(result)


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def unavailable(*args, **kwargs):
        raise NotImplementedError(f"sgl_kernel.{name} has no CPU version here")

    unavailable.__name__ = name
    return unavailable
