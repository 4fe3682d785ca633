"""Requests and replies of a mock engine on the wire, in SGLang's and vLLM's dialects.

Shapes as seen on SGLang 0.5.23 (`/generate`) and vLLM 0.32.0 (`/v1/completions`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from atts_harness.backend import (
    GenerateReply,
    GenerateRequest,
    Sampling,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.testing.mock_engine import MockEngine
from atts_harness.testing.mock_faults import Fault

DialectName = Literal["sglang", "vllm"]
Body = Mapping[str, Any]
Request = GenerateRequest | ScoreRequest
Reply = GenerateReply | ScoreReply


class WireError(Exception):
    """A request that a real engine would refuse with status 400."""


@dataclass(frozen=True)
class MockDialect:
    """The requests and replies of one engine.

    Attributes:
        name: the engine's.
        route: where generations and scores are asked for.
        parse: a request from its body; raises `WireError`.
        render: a reply's body.
        spoil: a reply's body with a fault of content in it.
        refuse: an error's body.
        figures: names in `/metrics` for the engine's figures.
    """

    name: DialectName
    route: str
    parse: Callable[[Body, MockEngine], Request]
    render: Callable[[Request, Reply, MockEngine], dict[str, Any]]
    spoil: Callable[[dict[str, Any], Fault], None]
    refuse: Callable[[str], dict[str, Any]]
    figures: Mapping[str, str]


def _ids(value: Any, engine: MockEngine) -> tuple[int, ...]:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        (value,) = value  # a batch of one
    if not isinstance(value, list) or not value or not isinstance(value[0], int):
        raise WireError("this mock takes token ids, one prompt a request")
    if min(value) < 0 or max(value) >= engine.tokenizer.vocab_size:
        raise WireError("Token id is out of vocabulary")
    if len(value) >= engine.max_length:
        raise WireError(
            f"This model's maximum context length is {engine.max_length} tokens, and the prompt "
            f"has {len(value)}"
        )
    return tuple(value)


def _sampling(body: Body, all_tokens: int) -> Sampling:
    top_k = int(body.get("top_k", all_tokens))
    return Sampling(
        temperature=float(body.get("temperature", 1.0)),
        top_p=float(body.get("top_p", 1.0)),
        top_k=0 if top_k == all_tokens else top_k,
        min_p=float(body.get("min_p", 0.0)),
    )


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)


def _parse_sglang(body: Body, engine: MockEngine) -> Request:
    if "text" in body:
        raise WireError("this mock takes input_ids")
    ids = _ids(body.get("input_ids"), engine)
    params = body.get("sampling_params", {})
    length = int(params.get("max_new_tokens", 128))
    start = body.get("logprob_start_len", -1)
    if body.get("return_logprob") and start >= 0 and length == 0:
        if start + 1 > len(ids):
            raise WireError(f"logprob_start_len {start} is behind the prompt")
        return ScoreRequest(ids=ids, start=start + 1)
    if length < 1:
        raise WireError("max_new_tokens must be at least 1")
    return GenerateRequest(
        ids=ids,
        max_tokens=min(length, engine.max_length - len(ids)),
        sampling=_sampling(params, -1),
        seed=params.get("sampling_seed"),
        stop=_stops(params.get("stop")),
        top_logprobs=int(body.get("top_logprobs_num", 0)) if body.get("return_logprob") else 0,
    )


def _render_sglang(request: Request, reply: Reply, engine: MockEngine) -> dict[str, Any]:
    usage = reply.usage
    meta: dict[str, Any] = {
        "id": "mock",
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "weight_version": "default",
    }
    if usage.proposed_tokens is not None:
        meta["spec_num_proposed_drafts"] = usage.proposed_tokens
        meta["spec_num_correct_drafts"] = usage.accepted_tokens
    if isinstance(reply, ScoreReply):
        assert isinstance(request, ScoreRequest)
        scored = request.ids[request.start :]
        meta["finish_reason"] = {"type": "length", "length": 0}
        meta["input_token_logprobs"] = [
            [None, request.ids[request.start - 1], None],
            *([value, id_, None] for value, id_ in zip(reply.logprobs, scored, strict=True)),
        ]
        return {"text": "", "output_ids": [], "meta_info": meta}
    matched: str | int | None = reply.stop
    if reply.ending == "eos":
        matched = reply.ids[-1]
    if reply.ending == "length":
        meta["finish_reason"] = {"type": "length", "length": len(reply.ids)}
    else:
        meta["finish_reason"] = {"type": "stop", "matched": matched}
    if reply.top_logprobs is not None and reply.logprobs is not None:
        meta["output_token_logprobs"] = [
            [value, id_, None] for value, id_ in zip(reply.logprobs, reply.ids, strict=True)
        ]
        meta["output_top_logprobs"] = [
            [[value, id_, None] for id_, value in top.items()] for top in reply.top_logprobs
        ]
    text = engine.tokenizer.decode(reply.ids)
    return {"text": text, "output_ids": reply.ids, "meta_info": meta}


def _spoil_sglang(body: dict[str, Any], fault: Fault) -> None:
    scores = body["meta_info"].get("input_token_logprobs")
    if scores is not None and len(scores) > 1:
        if fault == "nan":
            scores[-1][0] = float("nan")
        else:
            scores.pop()
    elif fault == "nan":
        body["meta_info"]["completion_tokens"] = float("nan")
    else:
        body["output_ids"] = list(body["output_ids"])[:-1]


def _parse_vllm(body: Body, engine: MockEngine) -> Request:
    ids = _ids(body.get("prompt"), engine)
    length = int(body.get("max_tokens", 16))
    if length < 1:
        raise WireError("max_tokens must be at least 1")
    if body.get("prompt_logprobs") is not None:
        # The route scores the whole prompt; only the client knows which part it needs.
        return ScoreRequest(ids=ids, start=1)
    return GenerateRequest(
        ids=ids,
        max_tokens=min(length, engine.max_length - len(ids)),
        sampling=_sampling(body, 0),
        seed=body.get("seed"),
        stop=_stops(body.get("stop")),
        top_logprobs=int(body.get("logprobs") or 0),
    )


def _render_vllm(request: Request, reply: Reply, engine: MockEngine) -> dict[str, Any]:
    usage = reply.usage
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "stop_reason": None}
    written = usage.completion_tokens
    if isinstance(reply, ScoreReply):
        decode = engine.tokenizer.decode
        entries: list[Any] = [None]
        for id_, value in zip(request.ids[1:], reply.logprobs, strict=True):
            entry = {"logprob": value, "rank": 1, "decoded_token": decode((id_,))}
            entries.append({str(id_): entry})
        written = 1
        choice |= {"text": "", "finish_reason": "length", "prompt_logprobs": entries}
    else:
        stopped = reply.ending != "length"
        choice |= {
            "text": engine.tokenizer.decode(reply.ids),
            "token_ids": reply.ids,
            "finish_reason": "stop" if stopped else "length",
            "stop_reason": reply.stop,
            "prompt_logprobs": None,
        }
        if reply.top_logprobs is not None:
            choice["logprobs"] = {
                "tokens": [f"token_id:{id_}" for id_ in reply.ids],
                "token_logprobs": reply.logprobs,
                "top_logprobs": [
                    {f"token_id:{id_}": value for id_, value in top.items()}
                    for top in reply.top_logprobs
                ],
                "text_offset": [0] * len(reply.ids),
            }
    return {
        "id": "cmpl-mock",
        "object": "text_completion",
        "created": 0,
        "model": "mock",
        "choices": [choice],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": usage.prompt_tokens + written,
            "prompt_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        },
        "metrics": {
            "speculative_decoding": {
                "num_draft_tokens": usage.proposed_tokens,
                "num_accepted_draft_tokens": usage.accepted_tokens,
            }
        }
        if usage.proposed_tokens is not None and choice["stop_reason"] is None
        else None,
    }


def _spoil_vllm(body: dict[str, Any], fault: Fault) -> None:
    choice = body["choices"][0]
    scores = choice["prompt_logprobs"]
    if scores is not None and len(scores) > 1:
        if fault == "nan":
            next(iter(scores[-1].values()))["logprob"] = float("nan")
        else:
            scores.pop()
    elif fault == "nan":
        body["usage"]["completion_tokens"] = float("nan")
    else:
        choice["token_ids"] = list(choice["token_ids"])[:-1]


SGLANG = MockDialect(
    name="sglang",
    route="/generate",
    parse=_parse_sglang,
    render=_render_sglang,
    spoil=_spoil_sglang,
    refuse=lambda message: {"error": {"message": message}},
    figures={
        "running": "sglang:num_running_reqs",
        "waiting": "sglang:num_queue_reqs",
        "kv_usage": "sglang:token_usage",
        "prompt_tokens": "sglang:prompt_tokens_total",
        "cached_tokens": "sglang:cached_tokens_total",
        "generation_tokens": "sglang:generation_tokens_total",
    },
)
VLLM = MockDialect(
    name="vllm",
    route="/v1/completions",
    parse=_parse_vllm,
    render=_render_vllm,
    spoil=_spoil_vllm,
    refuse=lambda message: {"error": {"message": message, "type": "BadRequestError", "code": 400}},
    figures={
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        "kv_usage": "vllm:kv_cache_usage_perc",
        "prompt_tokens": "vllm:prompt_tokens_total",
        "cached_tokens": "vllm:prefix_cache_hits_total",
        "generation_tokens": "vllm:generation_tokens_total",
        "proposed_tokens": "vllm:spec_decode_num_draft_tokens_total",
        "accepted_tokens": "vllm:spec_decode_num_accepted_tokens_total",
    },
)
DIALECTS: Mapping[str, MockDialect] = {"sglang": SGLANG, "vllm": VLLM}
encode = msgspec.json.Encoder().encode
