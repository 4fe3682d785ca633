"""Reads and checks the body of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec

from atts_harness import neutral
from atts_harness.settings import Count, Temperature
from atts_harness.transcript import Message
from atts_serve.refusal import bad

logger = neutral.logger("atts_serve")

MOST_CHOICES = 128
MOST_STOPS = 16
MOST_TASK_NAME = 200
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What would change the texts and cannot be given: refused, unless it changes nothing.
NEUTRAL = {
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1,
    "length_penalty": 1,
    "num_beams": 1,
}
ABSENT = ("tools", "functions", "logit_bias", "guided_json", "guided_regex", "audio")
# Of OpenAI's fields those that change no text; they need no word in the log.
SILENT = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("tool_choice", "parallel_tool_calls", "function_call", "top_logprobs", "modalities"),
    }
)


class StreamOptions(msgspec.Struct):
    """OpenAI's `stream_options`."""

    include_usage: bool = False


class Format(msgspec.Struct):
    """What form the answer has."""

    type: str = "text"


class Turn(msgspec.Struct):
    """A message."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: Any = None


class RequestSampling(msgspec.Struct):
    """How tokens are drawn, as far as the request says it."""

    temperature: Temperature | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None

    def values(self) -> dict[str, Any]:
        """As a task's generation settings have them; a `top_k` of -1 or 0 means no bound."""
        values = {name: getattr(self, name) for name in RequestSampling.__struct_fields__}
        if values["top_k"] == -1:
            values["top_k"] = 0
        return {name: value for name, value in values.items() if value is not None}


class Body(RequestSampling, kw_only=True):
    """The fields that are read."""

    model: str
    messages: Annotated[list[Turn], msgspec.Meta(min_length=1)]
    n: Annotated[int, msgspec.Meta(ge=1, le=MOST_CHOICES)] | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: Format | None = None
    logprobs: bool | int | None = None
    atts: dict[str, Any] | None = None


class EvaluationPlace(msgspec.Struct, frozen=True):
    """A sample's name in an evaluation, which its seeds are made of."""

    task: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_TASK_NAME)]
    doc: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
    repeat: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] = 0


class AnswerForm(msgspec.Struct, frozen=True):
    """The form of an answer, beyond OpenAI's fields."""

    events: bool = False
    thoughts: Literal["apart", "within"] | None = None


@dataclass(frozen=True)
class ChatRequest:
    """What a request asks for.

    Attributes:
        model: a served name.
        messages: unrendered; a last one of the assistant is continued.
        n: how many samples.
        seed: None: a new one for each request.
        until: texts that end a sample, and are cut off.
        max_tokens: budget of kept tokens; None: what there is room for.
        sampling: temperature, top_p, top_k and min_p, as far as they are given.
        stream: whether the answer is sent as it is written.
        include_usage: whether a stream ends with what it cost.
        values: settings of the strategy, unchecked.
        place: the sample's name in an evaluation.
        events: whether a stream also has every call and decision.
        thoughts: `apart`: in `reasoning_content`; `within`: in the text; None: as the server does.
    """

    model: str
    messages: tuple[Message, ...]
    n: int = 1
    seed: int | None = None
    until: tuple[str, ...] = ()
    max_tokens: int | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    include_usage: bool = False
    values: Mapping[str, Any] = field(default_factory=dict)
    place: EvaluationPlace | None = None
    events: bool = False
    thoughts: str | None = None


def read(raw: bytes) -> ChatRequest:
    """What a body asks for.

    Raises:
        Refusal: it is not JSON, or asks for what cannot be given.
    """
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad(f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise bad("the body is nested too deeply") from error
    if not isinstance(fields, dict):
        raise bad("the body must be a JSON object")
    _refuse_absent(fields)
    body = _converted(fields, Body)
    for name, neutral_value in NEUTRAL.items():
        if fields.get(name) is not None and fields[name] != neutral_value:
            raise bad(f"{name} is not supported; leave it out, or at {neutral_value}", name)
    _name_ignored(fields)
    if body.logprobs:
        raise bad("logprobs are not supported: a text has two authors", "logprobs")
    if body.response_format is not None and body.response_format.type != "text":
        raise bad("response_format: only {'type': 'text'} is supported", "response_format")
    if body.stream_options is not None and not body.stream:
        raise bad("stream_options is allowed with stream=true only", "stream_options")
    values = {k: v for k, v in (body.atts or {}).items() if v is not None}
    place, form = _place(values), _form(values)
    messages = tuple(_message(turn, at) for at, turn in enumerate(body.messages))
    if not any(message.content.strip() for message in messages if message.role != "system"):
        raise bad("messages: all of them are empty", "messages")
    return ChatRequest(
        model=body.model,
        messages=messages,
        n=body.n or 1,
        seed=body.seed,
        until=_stops(body.stop),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        sampling=body.values(),
        stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        values=values,
        place=place,
        events=form.events,
        thoughts=form.thoughts,
    )


def _converted(raw: Any, kind: Any, place: str = "") -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        inner = path.rstrip("`").lstrip(".")
        name = ".".join(filter(None, (place, inner))) or (re.findall("`(.*?)`", message) or [""])[0]
        raise bad(f"{name}: {message}" if inner or place else message, name or None) from error


def _refuse_absent(fields: Mapping[str, Any]) -> None:
    for name in ABSENT:
        if fields.get(name):
            raise bad(f"{name} is not supported; leave it out", name, "unsupported_parameter")
    messages = fields.get("messages")
    if messages is None or messages == []:
        raise bad("messages: give at least one", "messages")
    if not isinstance(fields.get("model"), str):
        raise bad("model: give the name of a model; /v1/models lists them", "model")


def _message(turn: Turn, at: int) -> Message:
    place = f"messages[{at}]"
    if turn.role not in ROLES or turn.tool_calls:
        raise bad(f"{place}: role {turn.role[:40]!r} and tool calls are not supported", "messages")
    content = turn.content
    if isinstance(content, list):
        content = "".join(_text(part, place) for part in content)
    if content is None:
        raise bad(f"{place}.content: a text is needed", "messages")
    return Message(ROLES[turn.role], content)


def _text(part: Mapping[str, Any], place: str) -> str:
    text = part.get("text")
    if part.get("type") != "text" or not isinstance(text, str):
        raise bad(f"{place}.content: only parts of type text are read", "messages")
    return text


def _stops(stop: str | list[str] | None) -> tuple[str, ...]:
    stops = [stop] if isinstance(stop, str) else stop or []
    if len(stops) > MOST_STOPS:
        raise bad(f"stop: at most {MOST_STOPS} texts", "stop")
    return tuple(dict.fromkeys(text for text in stops if text))


def _place(values: dict[str, Any]) -> EvaluationPlace | None:
    """The sample's name, taken out of the values.

    Raises:
        Refusal: a part of it is missing or wrong.
    """
    fields = {
        name: values.pop(name) for name in EvaluationPlace.__struct_fields__ if name in values
    }
    if not fields:
        return None
    if "task" not in fields or "doc" not in fields:
        raise bad("atts: task and doc belong together; repeat is 0 by default", "atts")
    place: EvaluationPlace = _converted(fields, EvaluationPlace, "atts")
    if not place.task.isprintable():
        raise bad("atts.task: a name of printable characters is needed", "atts")
    return place


def _form(values: dict[str, Any]) -> AnswerForm:
    """The form of the answer, removed from the values."""
    fields = {name: values.pop(name) for name in AnswerForm.__struct_fields__ if name in values}
    form: AnswerForm = _converted(fields, AnswerForm, "atts")
    return form


_named: set[str] = set()
MOST_NAMED = 100


def _name_ignored(fields: Mapping[str, Any]) -> None:
    """Say once of each field that is not read that it is not."""
    ignored = fields.keys() - {*Body.__struct_fields__, *SILENT, *NEUTRAL, *ABSENT} - _named
    names = sorted(name for name in ignored if fields[name] is not None)
    if names and len(_named) < MOST_NAMED:
        _named.update(names)
        logger.warning(
            "fields of requests that are ignored: %s", ", ".join(name[:40] for name in names)
        )
