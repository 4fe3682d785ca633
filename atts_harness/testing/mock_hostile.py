"""Hostile replies of a mock server, as faulty servers were seen to send them.

Each takes the body of a good reply, in SGLang's or vLLM's dialect, and spoils it; or answers with
something else altogether. The names are those of `mock_faults.HOSTILE`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from atts_harness.testing.mock_faults import Hostile

Body = dict[str, Any]
DEEP = b"[" * 100_000 + b"]" * 100_000
HUGE_BYTES = 80 << 20
ELSEWHERE = "http://127.0.0.1:9/elsewhere"
_HTML = b"<html><body><h1>502 Bad Gateway</h1>nginx</body></html>"


def answer(fault: Hostile, http: web.Request, body: Body, vocab_size: int) -> web.Response:
    """The spoilt reply to a request.

    Args:
        fault: the fault to make.
        http: the request, whose headers some servers echo.
        body: of a good reply; is changed.
        vocab_size: ids are below it.
    """
    if fault in _PAGES:
        return _PAGES[fault](http)
    _SPOILT[fault](body, vocab_size)
    # Not msgspec: it would write null where a sloppy server writes Infinity.
    return _json(json.dumps(body, default=list).encode())


def _json(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=content, status=status, content_type="application/json", headers=headers
    )


def _error(words: str, status: int) -> web.Response:
    return _json(json.dumps({"error": {"message": words, "code": status}}).encode(), status)


def _echo(http: web.Request) -> web.Response:
    return _error(f"bad gateway; the request was {dict(http.headers)}", 400)


def _inflated(http: web.Request) -> web.Response:
    return _json(
        gzip.compress(b'{"x": "' + b"y" * HUGE_BYTES + b'"}', 1),
        headers={"Content-Encoding": "gzip"},
    )


_PAGES: Mapping[Hostile, Callable[[web.Request], web.Response]] = {
    "html": lambda http: web.Response(body=_HTML, content_type="text/html"),
    "error-with-200": lambda http: _error("the model is being exchanged", 200),
    "deep": lambda http: _json(DEEP),
    "bad-utf8": lambda http: _json(b'{"text": "\xff\xfe", "meta_info": {"id": "\xff"}}'),
    "huge": lambda http: _json(b'{"x": "' + b"y" * HUGE_BYTES + b'"}'),
    "inflated": _inflated,
    "400": lambda http: _error("this request cannot be served", 400),
    "400-queue": lambda http: _error("too many tokens in queue, quota exceeded", 400),
    "400-deep": lambda http: _json(DEEP, 400),
    "401": lambda http: _error("no such key", 401),
    "404": lambda http: _error("no such route", 404),
    "redirect": lambda http: web.Response(status=307, headers={"Location": ELSEWHERE}),
    "echo": _echo,
}


def _set_ids(body: Body, change: Callable[[list[int]], list[int]]) -> None:
    """Other generated ids, in either dialect, and counts that agree with them."""
    if "meta_info" in body:
        ids = body["output_ids"] = change(list(body["output_ids"]))
        body["meta_info"]["completion_tokens"] = len(ids)
        logprobs = body["meta_info"].get("output_token_logprobs")
        if logprobs:
            body["meta_info"]["output_token_logprobs"] = [[-0.1, id_, None] for id_ in ids]
    elif "token_ids" in body["choices"][0]:
        ids = body["choices"][0]["token_ids"] = change(list(body["choices"][0]["token_ids"]))
        body["usage"]["completion_tokens"] = len(ids)


def _last(value: int) -> Callable[[Body, int], None]:
    return lambda body, vocab: _set_ids(body, lambda ids: [*ids[:-1], value])


def _usage(prompt: Callable[[int], int] | None = None, cached: int | None = None) -> Any:
    def spoil(body: Body, vocab: int) -> None:
        usage = body["meta_info"] if "meta_info" in body else body["usage"]
        if prompt is not None:
            usage["prompt_tokens"] = prompt(usage["prompt_tokens"])
        if cached is not None and "meta_info" in body:
            usage["cached_tokens"] = cached
        elif cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": cached}

    return spoil


def _logprob(value: float | None) -> Callable[[Body, int], None]:
    def spoil(body: Body, vocab: int) -> None:
        if "meta_info" in body:
            if body["meta_info"].get("input_token_logprobs"):
                body["meta_info"]["input_token_logprobs"][-1][0] = value
        elif body["choices"][0].get("prompt_logprobs"):
            next(iter(body["choices"][0]["prompt_logprobs"][-1].values()))["logprob"] = value

    return spoil


def _finish(sglang: Any, vllm: Any, stop_reason: str | None = None) -> Callable[[Body, int], None]:
    def spoil(body: Body, vocab: int) -> None:
        if "meta_info" in body:
            body["meta_info"]["finish_reason"] = sglang
        else:
            body["choices"][0] |= {"finish_reason": vllm, "stop_reason": stop_reason}

    return spoil


def _other_id(body: Body, vocab: int) -> None:
    if "meta_info" in body:
        body["meta_info"]["id"] = "somebody-elses"
    else:
        _usage(lambda count: count + 3)(body, vocab)


_NAN = "NaN happened"
_SPOILT: Mapping[Hostile, Callable[[Body, int], None]] = {
    "ids-beyond": lambda body, vocab: _set_ids(body, lambda ids: [*ids[:-1], vocab + 5]),
    "ids-negative": _last(-1),
    "ids-2^32": _last(1 << 32),
    "ids-2^80": _last(1 << 80),
    "ids-too-many": lambda body, vocab: _set_ids(body, lambda ids: ids * 40),
    "other-id": _other_id,
    "other-prompt": _usage(lambda count: count + 17),
    "cached-too-many": _usage(cached=2_000_000_000),
    "usage-2^80": _usage(lambda count: 1 << 80),
    "usage-negative": _usage(lambda count: -count),
    "logprob-above-zero": _logprob(0.5),
    "logprob-missing": _logprob(None),
    "logprob-zero-probability": _logprob(float("-inf")),
    "stop-unasked": _finish({"type": "stop", "matched": _NAN}, "stop", _NAN),
    "finish-unknown": _finish({"type": "repetition"}, "repetition"),
    "finish-null": _finish(None, None),
}
