"""The backend contract: one model behind one engine, which generates and scores token ids.

A backend does no retrying, limiting or recording: the role clients of `atts_harness.running` do.
It raises the typed errors of `atts_harness.errors`; whatever else it raises is a bug and ends
the run. `atts_harness.testing.conformance` is the suite every backend has to pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import msgspec

from atts_harness.identity import ModelIdentity
from atts_harness.tokenizer import Tokenizer
from atts_harness.transcript import Ending

__all__ = [
    "Backend",
    "BackendKind",
    "BackendOptions",
    "BackendSpec",
    "Capabilities",
    "GenerateReply",
    "GenerateRequest",
    "InProcess",
    "Role",
    "Sampling",
    "ScoreReply",
    "ScoreRequest",
    "ServerKind",
    "Usage",
    "starts",
]

Role = Literal["draft", "target"]


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How tokens are drawn. `temperature` 0 is greedy."""

    temperature: float = 0.8
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0


class GenerateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Continue `ids`.

    Attributes:
        ids: the whole context, never empty, every id in the vocabulary.
        max_tokens: upper bound of generated tokens, at least 1.
        sampling: how to draw.
        seed: for this request alone; honoured where `Capabilities.seeds`.
        stop: strings that end the generation once they stand in the generated text.
        top_logprobs: how many alternatives to return for each generated token.
        priority: smaller is more urgent; a hint.
    """

    ids: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = Sampling()
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0
    priority: int = 0


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Log-probability of every id from position `start` on, given all before it.

    Attributes:
        ids: the whole context, segment included.
        start: index of the first scored id, at least 1.
        priority: smaller is more urgent; a hint.
    """

    ids: tuple[int, ...]
    start: int
    priority: int = 0


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine did for one request, in tokens.

    Attributes:
        prompt_tokens: length of the context.
        cached_tokens: the part of it that came from the prefix cache; None if not reported.
        completion_tokens: generated.
        scored_tokens: log-probabilities asked for.
        time_to_first_token: seconds, where the engine or the stream tells.
        proposed_tokens: by the engine's own speculative decoding; None if it does not say.
        accepted_tokens: of these, the ones that became part of the text; likewise.
    """

    prompt_tokens: int
    cached_tokens: int | None = None
    completion_tokens: int = 0
    scored_tokens: int = 0
    time_to_first_token: float | None = None
    proposed_tokens: int | None = None
    accepted_tokens: int | None = None

    @property
    def computed_tokens(self) -> int:
        """Tokens that went through a forward pass: uncached context and generated tokens."""
        return self.prompt_tokens - (self.cached_tokens or 0) + self.completion_tokens


class GenerateReply(msgspec.Struct, frozen=True, kw_only=True, tag="generate"):
    """What came back.

    Attributes:
        ids: generated ids, with the token that ended it (end of turn, or completed stop).
        ending: `stop`, `length` or `eos`.
        stop: the stop string that ended it.
        logprobs: of the generated ids, where known (untempered where the engine tells them so).
        top_logprobs: for each generated id the alternatives, id to log-probability.
        usage: what it cost.
        confidences: what a run keeps of the alternatives where nobody needs more of them: for each
            generated id its confidence in thousandths of a nat (`signals.confidence`). Backends
            leave it out.
    """

    ids: tuple[int, ...]
    ending: Ending
    usage: Usage
    stop: str | None = None
    logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[dict[int, float], ...] | None = None
    confidences: tuple[int, ...] | None = None


class ScoreReply(msgspec.Struct, frozen=True, kw_only=True, tag="score"):
    """`logprobs` has `len(ids) - start` entries, untempered (natural logarithm).

    Minus infinity is a probability of zero, and a score like any other.
    """

    logprobs: tuple[float, ...]
    usage: Usage


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a backend can do; asked once when it has been opened.

    Attributes:
        scores: can return log-probabilities of prompt tokens; else it may serve as a draft only.
        scores_read_cache: a score computes the segment only, not its whole context.
        mixed_steps: the engine computes prompts and decodes in the same step; else sequences that
            decode wait while it computes a prompt. Only simulations ask.
        seeds: equal seed, equal tokens (at equal batch composition).
        top_logprobs: most alternatives a request may ask for.
        output_ids: ids of a reply are below it, where the model's vocabulary is padded beyond the
            tokenizer's; 0: it is not.
        counts_ids: its usage counts the very ids of the request. False where texts are sent.
    """

    scores: bool = True
    scores_read_cache: bool = True
    mixed_steps: bool = True
    seeds: bool = True
    top_logprobs: int = 20
    output_ids: int = 0
    counts_ids: bool = True


@runtime_checkable
class Backend(Protocol):
    """One opened model behind one engine."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        ...

    @property
    def max_length(self) -> int:
        """Context window in tokens."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def identity(self) -> ModelIdentity:
        """Who answered when it was opened."""
        ...

    async def identify(self) -> ModelIdentity:
        """Who answers now: asked after anything that may have been a restart.

        A model in this process stays what it is, and answers `identity`.

        Raises:
            BackendError: it cannot be reached.
        """
        ...

    async def ping(self) -> None:
        """Check that the engine answers. A model in this process always does.

        Raises:
            BackendError: it does not answer.
        """
        ...

    async def metrics(self) -> Mapping[str, float]:
        """The engine's own figures; see `atts_harness.engines.metrics`. Empty if it has none.

        Raises:
            BackendError: it cannot be reached, or its answer is not a figure.
        """
        ...

    async def generate(self, request: GenerateRequest) -> GenerateReply:
        """Continue `request.ids`. Cancelling the task frees the engine."""
        ...

    async def score(self, request: ScoreRequest) -> ScoreReply:
        """Score `request.ids` from `request.start` on."""
        ...

    async def aclose(self) -> None:
        """Close everything, and stop servers that this backend started."""
        ...


class InProcess:
    """Base of backends whose model runs in this process: always there, and never changed."""

    @property
    def identity(self) -> ModelIdentity:
        """Who answers."""
        raise NotImplementedError

    async def identify(self) -> ModelIdentity:
        """The identity of the model, which never changes."""
        return self.identity

    async def ping(self) -> None:
        """Do nothing: the model is in this process."""

    async def metrics(self) -> Mapping[str, float]:
        """Empty: there is no engine with figures."""
        return {}


class BackendOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a backend's settings. Each may be given per role: `draft_dtype`, `target_dtype`."""


Options = TypeVar("Options", bound=BackendOptions)
GivenOptions = TypeVar("GivenOptions", bound=BackendOptions, covariant=True)


@dataclass(frozen=True)
class ServerKind:
    """What commands and comparisons need to know of a backend's servers.

    Attributes:
        recognise: from the address of a running server, and the name of the environment variable
            with further headers for it (or None), whether it is one of this kind; raises
            `BackendError` if nothing answers or it asks for a key.
        starts: whether this project can start one.
        specific: recognised before others that speak the same dialect.
        package: Python package that brings the engine; None: this project does not look for it.
        python_variable: environment variable that names the Python which has the package.
        clear_cache: what to POST to so that its prefix cache is empty; None: nothing is known.
        clear_cache_needs: environment variables a server must be started with for that.
        metrics: names in the server's `/metrics`, and what `atts_harness.engines.metrics` calls
            them.
    """

    recognise: Callable[[str, str | None], Awaitable[bool]]
    starts: bool = True
    specific: bool = True
    package: str | None = None
    python_variable: str | None = None
    clear_cache: str | None = None
    clear_cache_needs: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BackendKind(Generic[Options]):
    """How a plugin announces a backend. What it opens and checks has the options that it names.

    Attributes:
        name: as in `backend=NAME`.
        options: its settings; field names must not clash with a strategy's or the run's.
        open: opens one model; called once per distinct specification, inside the run's loop.
        summary: one line for `atts plugins`.
        check: looks at options before anything is opened; raises `SettingError`.
        server: for a backend that speaks to servers.
        packages: Python packages whose versions belong into the record of a run.
    """

    name: str
    options: type[Options]
    open: Callable[[BackendSpec[Options]], Awaitable[Backend]]
    summary: str = ""
    check: Callable[[BackendSpec[Options]], None] | None = None
    server: ServerKind | None = None
    packages: tuple[str, ...] = ()


def starts(kind: BackendKind[Any]) -> bool:
    """Whether this project can start a server of a backend."""
    return kind.server is not None and kind.server.starts


@dataclass(frozen=True)
class BackendSpec(Generic[GivenOptions]):
    """What one role asks for. Roles with equal specifications share one backend.

    Attributes:
        kind: the backend's name.
        model: folder, hub id or served name; None where a URL alone says it.
        options: an instance of the kind's `options`.
        role: the role that asks first; not part of the identity.
        run_dir: where logs of managed servers go; not part of the identity.
        max_gen_toks: budget of a sample, where the run sets it; not part of the identity.
        beside: the other roles' specifications, which may share devices; likewise.
        timeout: seconds in which a server that runs already has to answer when it is opened; the
            run's `timeout`. Not part of the identity.
        moment: what a chat template that asks for the date is told, ISO 8601: that of the run
            that is resumed. None: now. Not part of the identity.
        setting_names: for each option that the settings name, not only a preset, the name it has
            there (`draft_dtype` or `dtype`). Not part of the identity.
    """

    kind: str
    model: str | None
    options: GivenOptions
    role: Role = field(default="target", compare=False)
    run_dir: str | None = field(default=None, compare=False)
    max_gen_toks: int | None = field(default=None, compare=False)
    beside: tuple[BackendSpec[BackendOptions], ...] = field(default=(), compare=False, repr=False)
    timeout: float = field(default=600.0, compare=False)
    moment: str | None = field(default=None, compare=False)
    setting_names: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __hash__(self) -> int:
        """Options may hold dictionaries, so they are left to the comparison."""
        return hash((self.kind, self.model))
