"""Extraction and judging by a model: the `llm` extractor and `--judge`.

Both are calls to an OpenAI-compatible endpoint that cost money and time, so they are made when a
sample ends or by `atts regrade`, never while lm-eval grades. A request is plain data and a reply
plain text: whoever makes the call can record it. The endpoint comes from the environment only,
for lm-eval writes model arguments into its results.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atts_harness.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnavailableError,
    BadRequestError,
    MalformedReplyError,
    MissingExtraError,
    SettingError,
)
from atts_harness.grading.extraction import Kind, letter_of

if TYPE_CHECKING:
    import openai

TAIL = 6000
"""Characters of a text's end that are shown to the model: final answers stand at the end."""
MOST_REPLY_TOKENS = 256

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
_ANSWER = re.compile(r"ANSWER:[ \t]*(.*)")


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
    """What to ask to have a text's answer copied out.

    Args:
        text: generated text; its last `TAIL` characters are shown.
        kind: what is asked for.
    """
    return _EXTRACT.format(what=_WHAT[kind], text=text[-TAIL:])


def extract_answer(reply: str, kind: Kind = "maths") -> str | None:
    """The answer in a model's reply.

    Args:
        reply: to `extract_request`.
        kind: what is asked for.

    Returns:
        The answer, None if the text states none.

    Raises:
        MalformedReplyError: the reply is not in the form asked for.
    """
    found = _ANSWER.findall(reply)
    if not found:
        raise MalformedReplyError(f"llm extractor: no 'ANSWER:' in the reply: {reply[:80]!r}")
    answer = str(found[-1]).strip()
    if not answer or answer.upper().rstrip(".") == "NONE":
        return None
    return letter_of(answer) if kind == "choice" else answer


def judge_request(answer: str, gold: str) -> str:
    """What to ask to have an answer compared with the gold."""
    return _JUDGE.format(answer=answer, gold=gold)


def judge_verdict(reply: str) -> bool:
    """Whether a judge's reply says that the answers are the same.

    Raises:
        MalformedReplyError: it says neither.
    """
    word = reply.strip().upper().strip(".'\"*")
    if word not in ("SAME", "DIFFERENT"):
        raise MalformedReplyError(f"judge: neither SAME nor DIFFERENT: {reply[:80]!r}")
    return word == "SAME"


def ask(client: openai.OpenAI, model: str, request: str) -> tuple[str, dict[str, int]]:
    """Make one call, greedily.

    Args:
        client: of the `openai` package, or anything with its `chat.completions.create`.
        model: which model.
        request: the user's message.

    Returns:
        The reply's text, and its usage: `prompt_tokens` and `completion_tokens`.

    Raises:
        BackendTimeoutError: no reply in time, tries again included.
        BackendUnavailableError: not reachable or overloaded.
        BadRequestError: refused: a wrong key, an unknown model.
        MalformedReplyError: a reply without text.
    """
    import openai

    try:
        reply = client.chat.completions.create(**_asked(model, request))
    except openai.OpenAIError as error:
        raise _typed(error, model) from error
    return _read(reply, model)


async def ask_async(
    client: openai.AsyncOpenAI, model: str, request: str
) -> tuple[str, dict[str, int]]:
    """As `ask`, in an event loop."""
    import openai

    try:
        reply = await client.chat.completions.create(**_asked(model, request))
    except openai.OpenAIError as error:
        raise _typed(error, model) from error
    return _read(reply, model)


def _asked(model: str, request: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": request}]
    return {
        "model": model,
        "messages": messages,
        "temperature": 0.0,
        "max_tokens": MOST_REPLY_TOKENS,
    }


def _typed(error: openai.OpenAIError, model: str) -> BackendError:
    import openai

    if isinstance(error, openai.APITimeoutError):
        return BackendTimeoutError(f"{model}: no reply in time")
    if isinstance(error, openai.APIConnectionError):
        return BackendUnavailableError(f"{model}: {error}")
    if isinstance(error, openai.RateLimitError | openai.InternalServerError):
        return BackendUnavailableError(f"{model}: {error}", _retry_after(error))
    if isinstance(error, openai.APIStatusError):
        return BadRequestError(f"{model}: refused: {error}")
    return MalformedReplyError(f"{model}: {error}")


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        return max(0.0, float(error.response.headers.get("Retry-After", "")))
    except ValueError:
        return None  # not said, or as a date


def _read(reply: Any, model: str) -> tuple[str, dict[str, int]]:
    text = reply.choices[0].message.content if reply.choices else None
    if not text:
        raise MalformedReplyError(f"{model}: a reply without text")
    usage = reply.usage
    counts = {
        "prompt_tokens": usage.prompt_tokens if usage else 0,
        "completion_tokens": usage.completion_tokens if usage else 0,
    }
    return text, counts
