"""Extraction and judging by a model: the `llm` extractor and `--judge`.

Both are calls to an OpenAI-compatible endpoint that cost money and time, so they are made when a
sample ends or by `atts regrade`, never while lm-eval grades. A request is plain data and a reply
plain text, so the caller can record both. The endpoint comes from the environment only, because
lm-eval writes model arguments into its results.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from atts_harness.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    CutReplyError,
    MalformedReplyError,
    MissingExtraError,
    SettingError,
)
from atts_harness.grading.choices import letter_of
from atts_harness.grading.extraction import Kind
from atts_harness.secrecy import remember

if TYPE_CHECKING:
    import openai

TAIL = 6000
"""Characters of a text's end that are shown to the model: final answers stand at the end."""
MOST_REPLY_TOKENS = 4096
"""Tokens of one reply, its thinking included; a reply that reaches the limit is never read."""

_EXTRACT = (
    "Below is the end of somebody's work on {what}. Copy the final answer it arrives at, exactly "
    "as written and without units of prose around it, on one line behind 'ANSWER:'. Do not solve "
    "the problem yourself, and do not correct the answer. If no final answer is stated, write "
    "'ANSWER: NONE'.\n\n---\n{text}\n---"
)
_WHAT: dict[Kind, str] = {
    "maths": "a mathematics problem",
    "choice": "a multiple-choice question (the answer is one of the letters A, B, C, D)",
}
_JUDGE = (
    "Reference answer: {gold}\nGiven answer: {answer}\n\nDo both mean the same as the final "
    "answer to one problem? Other notation, units left out and other order of a set's members "
    "are no difference; another value, even nearly the same, is. Reply with 'SAME' or 'DIFFERENT'."
)
_ANSWER = re.compile(r"([*_`]*)ANSWER:(.*)")
_LONGEST_MESSAGE = 300
_FINISHED = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
_CUT = frozenset({"length", "max_tokens"})
_THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
)
"""Marks around a model's thinking, in a reply that the server did not split: begin, end."""


@dataclass(frozen=True)
class Endpoint:
    """Which model answers, from the environment.

    Attributes:
        model: OPENAI_MODEL.
        base_url: OPENAI_BASE_URL, or None for OpenAI's own.
        api_key: OPENAI_API_KEY; kept out of the representation.
    """

    model: str
    base_url: str | None
    api_key: str

    def __post_init__(self) -> None:
        remember([self.api_key])

    def __repr__(self) -> str:
        return f"Endpoint(model={self.model!r}, base_url={self.base_url!r})"

    def client(self, timeout: float = 60.0, retries: int = 3) -> openai.OpenAI:
        """A client of the `openai` package.

        Args:
            timeout: seconds a call may take.
            retries: tries after the first, where trying again may help.

        Raises:
            MissingExtraError: the package is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("the llm extractor", "judge", "openai") from error
        return openai.OpenAI(
            api_key=self.api_key, base_url=self.base_url, timeout=timeout, max_retries=retries
        )

    def async_client(self, timeout: float) -> openai.AsyncOpenAI:
        """A client for an event loop; it makes one try a call.

        Args:
            timeout: seconds a call may take.

        Raises:
            MissingExtraError: the package is not installed.
        """
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError("the llm extractor", "judge", "openai") from error
        return openai.AsyncOpenAI(
            api_key=self.api_key, base_url=self.base_url, timeout=timeout, max_retries=0
        )


def endpoint(environment: Mapping[str, str] = os.environ) -> Endpoint:
    """The endpoint that the environment names.

    Raises:
        SettingError: OPENAI_API_KEY or OPENAI_MODEL is not set.
    """
    for name in ("OPENAI_API_KEY", "OPENAI_MODEL"):
        if not environment.get(name):
            raise SettingError(
                f"{name} is not set; extraction or judging by a model needs OPENAI_API_KEY, "
                "OPENAI_MODEL and, for other endpoints than OpenAI's, OPENAI_BASE_URL"
            )
    return Endpoint(
        environment["OPENAI_MODEL"],
        environment.get("OPENAI_BASE_URL") or None,
        environment["OPENAI_API_KEY"],
    )


def extract_request(text: str, kind: Kind = "maths") -> str:
    """The request that asks a model to copy out a text's answer.

    Args:
        text: generated text; the model gets its last `TAIL` characters.
        kind: kind of the answer.
    """
    return _EXTRACT.format(what=_WHAT[kind], text=text[-TAIL:])


def final_words(reply: str, *, cut: bool) -> str:
    """A reply's text after its thinking.

    Args:
        reply: of a model.
        cut: whether it reached its token limit.

    Raises:
        CutReplyError: it was cut, so its last words are not its answer.
        MalformedReplyError: it ends within its thinking.
    """
    if cut:
        raise CutReplyError(
            f"the reply was cut at its limit of {MOST_REPLY_TOKENS} tokens, thinking included"
        )
    for begin, end in _THOUGHTS:
        reply = reply.rpartition(end)[2]
        if begin in reply:
            raise MalformedReplyError(f"the reply ends within its thinking ({begin})")
    return reply


def extract_answer(reply: str, kind: Kind = "maths", *, cut: bool) -> str | None:
    """The answer in a model's reply.

    Args:
        reply: to `extract_request`.
        kind: kind of the answer.
        cut: whether the reply reached its token limit.

    Returns:
        The answer, None if the text states none.

    Raises:
        CutReplyError: the reply was cut.
        MalformedReplyError: the reply is not in the form asked for.
    """
    words = final_words(reply, cut=cut)
    lines = _ANSWER.findall(words)
    if not lines:
        raise MalformedReplyError(f"no 'ANSWER:' in the reply: {words.strip()[:80]!r}")
    mark, content = lines[-1]
    answer = str(content).strip()
    if mark:  # **ANSWER:** 5, or **ANSWER: 5**
        answer = answer.removeprefix(mark[::-1]).removesuffix(mark[::-1]).strip()
    if not answer:
        raise MalformedReplyError("nothing stands behind 'ANSWER:' on its line")
    if answer.upper().rstrip(".") == "NONE":
        return None
    if kind != "choice":
        return answer
    letter = letter_of(answer)
    if letter is None:
        raise MalformedReplyError(f"'ANSWER:' names none of A, B, C, D: {answer[:80]!r}")
    return letter


def judge_request(answer: str, gold: str) -> str:
    """The request that asks a model to compare an answer with the gold."""
    return _JUDGE.format(answer=answer, gold=gold)


def judge_verdict(reply: str, *, cut: bool) -> bool:
    """Whether a judge's reply says that the answers are the same.

    Args:
        reply: to `judge_request`.
        cut: whether the reply reached its token limit.

    Raises:
        CutReplyError: the reply was cut.
        MalformedReplyError: it says neither.
    """
    words = final_words(reply, cut=cut).strip()
    word = words.upper().strip(".'\"*")
    if word not in ("SAME", "DIFFERENT"):
        raise MalformedReplyError(f"judge: neither SAME nor DIFFERENT: {words[:80]!r}")
    return word == "SAME"


@dataclass(frozen=True)
class ChatReply:
    """A reply of a chat endpoint.

    Attributes:
        text: the message's content; may be empty where it was cut.
        cut: whether it reached its token limit.
        prompt_tokens: as the endpoint counts them; 0 if it does not report them.
        completion_tokens: likewise, thinking included.
    """

    text: str
    cut: bool = False
    prompt_tokens: int = 0
    completion_tokens: int = 0


def ask(client: openai.OpenAI, model: str, request: str) -> ChatReply:
    """Make one call, greedily.

    Args:
        client: of the `openai` package.
        model: its name.
        request: the user's message.

    Returns:
        The reply, also one that was cut: its tokens are paid for.

    Raises:
        BackendTimeoutError: no reply in time, after all retries.
        BackendUnavailableError: not reachable or overloaded.
        BadRequestError: refused: a wrong key, an unknown model, a filter.
        MalformedReplyError: a reply without text, or no chat completion at all.
    """
    import openai

    try:
        reply = client.chat.completions.with_raw_response.create(**_payload(model, request))
    except openai.OpenAIError as error:
        raise _typed(error, model) from error
    return _read(reply.content, model)


async def ask_async(client: openai.AsyncOpenAI, model: str, request: str) -> ChatReply:
    """As `ask`, in an event loop."""
    import openai

    try:
        reply = await client.chat.completions.with_raw_response.create(**_payload(model, request))
    except openai.OpenAIError as error:
        raise _typed(error, model) from error
    return _read(reply.content, model)


def _payload(model: str, request: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": request}]
    return {
        "model": model,
        "messages": messages,
        "temperature": 0.0,
        "max_completion_tokens": MOST_REPLY_TOKENS,  # reasoning models refuse `max_tokens`
    }


def _typed(error: openai.OpenAIError, model: str) -> BackendError:
    import openai

    if isinstance(error, openai.APITimeoutError):
        return BackendTimeoutError(f"{model}: no reply in time")
    if isinstance(error, openai.APIConnectionError):
        return BackendUnavailableError(f"{model}: {_words(error)}")
    if isinstance(error, openai.RateLimitError | openai.InternalServerError):
        return BackendUnavailableError(f"{model}: {_words(error)}", _retry_after(error))
    if isinstance(error, openai.APIStatusError):
        return BadRequestError(f"{model}: refused: {_words(error)}")
    return MalformedReplyError(f"{model}: {_words(error)}")


def _words(error: Exception) -> str:
    """An error's message on one line; a server may put a whole page into it."""
    words = " ".join(str(error).split())
    return words if len(words) <= _LONGEST_MESSAGE else words[: _LONGEST_MESSAGE - 1] + "…"


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        seconds = float(error.response.headers.get("Retry-After", ""))
    except ValueError:
        return None  # absent, or a date
    return seconds if 0.0 <= seconds < math.inf else None


_Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0


class _Completion(msgspec.Struct):
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    usage: _Usage | None = None


_COMPLETION = msgspec.json.Decoder(_Completion)


def _read(body: bytes, model: str) -> ChatReply:
    # Read from the bytes: the package passes on whatever JSON it gets, and HTML as a string.
    try:
        completion = _COMPLETION.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        excerpt = body[:80].decode(errors="replace")
        raise MalformedReplyError(f"{model}: no chat completion ({error}): {excerpt!r}") from error
    choice, usage = completion.choices[0], completion.usage or _Usage()
    finish = choice.finish_reason
    cut = finish in _CUT or (finish is None and usage.completion_tokens >= MOST_REPLY_TOKENS)
    if not cut and finish is not None and finish not in _FINISHED:
        raise BadRequestError(f"{model}: the reply ended by {finish!r}, so it is incomplete")
    if not choice.message.content and not cut:
        refusal = f": {choice.message.refusal[:80]!r}" if choice.message.refusal else ""
        raise MalformedReplyError(f"{model}: a reply without text{refusal}")
    text = choice.message.content or ""
    return ChatReply(text, cut, usage.prompt_tokens, usage.completion_tokens)
