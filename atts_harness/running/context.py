"""The context of one sample and its two roles, through which a strategy works."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from atts_harness.backend import (
    Backend,
    GenerateReply,
    GenerateRequest,
    Role,
    Sampling,
    ScoreReply,
    ScoreRequest,
)
from atts_harness.errors import ContextLengthError, StrategyError
from atts_harness.ids import join
from atts_harness.journal.hashing import Request
from atts_harness.lanes import priority_of
from atts_harness.records import (
    CallKey,
    CallRecord,
    CallTotals,
    DecisionRecord,
    Finish,
    Reason,
    SampleId,
    SampleRecord,
)
from atts_harness.running.client import RunCalls, failure_of
from atts_harness.running.engine import Engine
from atts_harness.running.gate import Gate
from atts_harness.running.seeds import call_seed, uniform
from atts_harness.running.segments import Segments
from atts_harness.strategy import (
    Generation,
    Outcome,
    Sample,
    Score,
    TakeoverPolicy,
    Verdict,
)
from atts_harness.tokenizer import Tokenizer
from atts_harness.transcript import Message, Segment, Transcript, written

T = TypeVar("T")
OUT_OF_ROOM: frozenset[Finish] = frozenset({"turns", "budget", "context"})


@dataclass(frozen=True)
class RunState:
    """The parts that the contexts of a run share."""

    seed: int
    calls: RunCalls
    engines: Mapping[Role, Engine]
    decided: Callable[[DecisionRecord], None]
    extended: Callable[[SampleId, Transcript], None]
    sequence: list[int] = field(default_factory=lambda: [0])


class SampleContext:
    """The `Context` of one sample; collects its record as it goes."""

    def __init__(
        self,
        sample: Sample,
        run: RunState,
        strategy: str,
        gate: Gate | None,
        begun: Callable[[], None] = lambda: None,
    ) -> None:
        self.sample = sample
        self.begun = begun
        self._run = run
        self._gate = gate
        self.latest = sample.transcript
        self.record = SampleRecord(
            id=sample.id, strategy=strategy, text="", finish="failed", started=self._now()
        )
        self.draft = SampleRole("draft", self)
        self.target = SampleRole("target", self)
        self.segments = Segments()
        self._named: set[tuple[str, str, int, int]] = set()  # calls: role, kind, turn, attempt
        self._decided_turns: set[int] = set()

    def _now(self) -> float:
        return self._run.calls.clock.now()

    def room(self, transcript: Transcript, want: int | None = None) -> int:
        """Tokens left in the budget, at most `want`."""
        remaining = max(0, self.sample.problem.max_tokens - transcript.tokens)
        return remaining if want is None else min(remaining, want)

    def seed(self, purpose: str, turn: int, attempt: int = 0) -> int:
        """A seed for this sample."""
        return call_seed(self._run.seed, self.sample.id, "strategy", purpose, turn, attempt)

    def uniform(self, purpose: str, turn: int, attempt: int = 0) -> float:
        """A seeded draw in [0, 1) for this sample."""
        return uniform(self._run.seed, self.sample.id, purpose, turn, attempt)

    def decide(self, policy: TakeoverPolicy, score: Score | None, turn: int) -> DecisionRecord:
        """Ask the policy and record the decision; on replay the recorded one comes back."""
        self._decide_once(turn)
        recorded = self._run.calls.journal.decision(self.sample.id, turn)
        if recorded is not None:
            return self._keep(recorded)
        if score is not None and score.nonconformity is None:
            return self._decided(turn, Verdict(takeover=True), "score-failed", None, 0.0)
        s = None if score is None else score.nonconformity
        draw = self.uniform("decide", turn)
        verdict = policy.decide(float("nan") if s is None else s, self.sample.id, turn, draw)
        return self._decided(
            turn, verdict, "p-value" if verdict.p_value is not None else "policy", s, draw
        )

    def take_over(self, turn: int, reason: Reason) -> DecisionRecord:
        """Record a takeover that no policy was asked about."""
        self._decide_once(turn)
        recorded = self._run.calls.journal.decision(self.sample.id, turn)
        if recorded is not None:
            return self._keep(recorded)
        return self._decided(turn, Verdict(takeover=True), reason, None, 0.0)

    def _decide_once(self, turn: int) -> None:
        if turn in self._decided_turns:
            raise StrategyError(
                f"strategy {self.record.strategy}: decides turn {turn} twice in sample "
                f"{self._name}: a turn has one decision; count turns on, or note() the other"
            )
        self._decided_turns.add(turn)

    def name_once(self, role: str, kind: str, turn: int, attempt: int) -> None:
        """Refuse a second call of the same name: it would be answered by the first one's reply.

        Raises:
            StrategyError: names the call and the remedy.
        """
        call = (role, kind, turn, attempt)
        if call in self._named:
            raise StrategyError(
                f"strategy {self.record.strategy}: asks for {role}/{kind} of turn {turn} twice in "
                f"sample {self._name}: calls are told apart by role, kind, turn and attempt; give "
                f"the second one attempt={attempt + 1}"
            )
        self._named.add(call)

    @property
    def _name(self) -> str:
        id_ = self.sample.id
        return f"{id_.task}/{id_.doc}/{id_.repeat}"

    def _decided(
        self, turn: int, verdict: Verdict, reason: Reason, s: float | None, draw: float
    ) -> DecisionRecord:
        self._run.sequence[0] += 1
        record = DecisionRecord(
            sample=self.sample.id,
            turn=turn,
            takeover=verdict.takeover,
            reason=reason,
            nonconformity=s,
            uniform=draw,
            p_value=verdict.p_value,
            threshold=verdict.threshold,
            bank_size=verdict.bank_size,
            bank=verdict.bank,
            sequence=self._run.sequence[0],
        )
        self._run.calls.journal.record_decision(record)
        self._run.decided(record)
        return self._keep(record)

    def _keep(self, record: DecisionRecord) -> DecisionRecord:
        self.record.decisions.append(record)
        return record

    async def gather(self, key: str, value: T) -> Mapping[int, T]:
        """Wait for the problem's live samples and share values, by repeat."""
        if self._gate is None:
            raise RuntimeError("gather: the strategy does not say `grouped = True`")
        began = self._now()
        values = await self._gate.gather(self.sample.id.repeat, key, value)
        self.record.waited_seconds += self._now() - began
        return values

    def discard(self, segment: Segment) -> None:
        """Record text that was generated and is not kept."""
        self.segments.discard(segment)

    def vote(self, weight: float) -> None:
        """Set the weight of the sample's answer in its problem's vote."""
        self.record.weight = weight

    def note(self, name: str, value: Any) -> None:
        """Add a fact to the sample's record."""
        self.record.notes[name] = value

    def ended(self, transcript: Transcript) -> Finish | None:
        """Why the sample is over, if it is."""
        problem = self.sample.problem
        text = transcript.text
        if any(stop in text for stop in problem.until):
            return "until"
        if problem.answered is not None and problem.answered(text):
            return "answer"
        if transcript.closed:
            return "eos"
        if self.room(transcript) == 0:
            return "budget"
        return None

    def finish(self, transcript: Transcript, reason: Finish | None = None) -> Outcome:
        """The sample's outcome."""
        return Outcome(transcript, reason or self.ended(transcript) or "strategy")

    def called(self, record: CallRecord) -> None:
        """Count a call into the sample's sums."""
        name = f"{record.key.role}/{record.key.kind}"
        self.record.calls.setdefault(name, CallTotals()).add(record)
        self.record.turns = max(self.record.turns, record.key.turn + 1)

    def close(self, outcome: Outcome) -> SampleRecord:
        """The finished record."""
        record, transcript = self.record, outcome.transcript
        text = transcript.text
        cuts = [at for stop in self.sample.problem.until if (at := text.find(stop)) >= 0]
        record.text = text[: min(cuts)] if cuts else text
        record.finish = outcome.finish
        record.truncated = outcome.finish in OUT_OF_ROOM and not self._answered(text)
        record.segments = self.segments.in_order(transcript)
        for segment in transcript.segments:
            previous = record.kept_tokens.get(segment.author, 0)
            record.kept_tokens[segment.author] = previous + len(segment)
        record.ended = self._now()
        return record

    def fail(self, error: Exception) -> SampleRecord:
        """The record of a sample that failed for good, with the text that it had written."""
        record = self.close(Outcome(self.latest, "failed"))
        record.failed = f"{type(error).__name__}: {error}"
        return record

    def _answered(self, text: str) -> bool:
        answered = self.sample.problem.answered
        return answered is not None and answered(text)


class SampleRole:
    """One role of one sample: a `RoleClient`."""

    def __init__(self, role: Role, ctx: SampleContext) -> None:
        self.role: Role = role
        self._ctx = ctx

    @property
    def _backend(self) -> Backend:
        return self._ctx._run.engines[self.role].backend

    @property
    def tokenizer(self) -> Tokenizer:
        """The role's tokenizer."""
        return self._backend.tokenizer

    async def generate(
        self,
        transcript: Transcript,
        *,
        kind: str,
        turn: int,
        max_tokens: int,
        stop: Sequence[str] = (),
        keep_stop: bool = True,
        attempt: int = 0,
        temperature: float | None = None,
        top_logprobs: int = 0,
        confidences: bool = False,
        tail: Sequence[Message] = (),
        prefill: str = "",
        ahead: bool = False,
    ) -> Generation:
        """Continue the transcript; see `RoleClient.generate`."""
        if not ahead:
            self._ctx.latest = transcript
        if not tail and not ahead:
            self._ctx._run.extended(self._ctx.sample.id, transcript)
        tokenizer = self.tokenizer
        ids = transcript.ids_in(tokenizer)
        if tail:
            ids = join([*ids.spans, tokenizer.render_tail(tail, prefill)])
        room = self._backend.max_length - len(ids)
        if room < 1:
            raise ContextLengthError(
                f"{self.role}: {len(ids)} tokens fill the context of {self._backend.max_length}"
            )
        request = GenerateRequest(
            ids=ids,
            max_tokens=min(max_tokens, room),
            sampling=self._sampling(temperature),
            seed=call_seed(
                self._ctx._run.seed, self._ctx.sample.id, self.role, kind, turn, attempt
            ),
            stop=tuple(stop),
            top_logprobs=top_logprobs,
            priority=priority_of(self.role, kind),
        )
        number = self._ctx.segments.next_number()
        recorded_kind = "ahead" if ahead else kind
        record = await self._call(recorded_kind, turn, attempt, request, confidences=confidences)
        reply = record.reply
        if not isinstance(reply, GenerateReply):
            raise failure_of(record)
        segment = written(
            tokenizer,
            reply.ids,
            author=self.role,
            ending=reply.ending,
            stop=reply.stop,
            keep_stop=keep_stop,
            turn=turn,
            kind=kind,
        )
        self._ctx.segments.wrote(segment, number, attempt)
        if reply.top_logprobs is None:
            return Generation(
                segment, reply.logprobs, None, reply.ids, confidences=reply.confidences
            )
        named = _Named(reply.top_logprobs, tokenizer.decode)
        values = tuple(tuple(step.values()) for step in reply.top_logprobs)
        return Generation(segment, reply.logprobs, named, reply.ids, values)

    async def score(
        self,
        transcript: Transcript,
        segment: Segment,
        *,
        turn: int,
        attempt: int = 0,
        raw: bool = False,
    ) -> Score:
        """Score `segment` behind `transcript`; see `RoleClient.score`."""
        self._ctx.latest = transcript
        before = transcript.ids_in(self.tokenizer, raw=raw)
        ids = join([*before.spans, segment.ids_in(self.tokenizer)])
        if len(ids) > self._backend.max_length:
            raise ContextLengthError(
                f"{self.role}: {len(ids)} tokens to score exceed the context of "
                f"{self._backend.max_length}"
            )
        request = ScoreRequest(ids=ids, start=len(before), priority=priority_of(self.role, "score"))
        record = await self._call("score", turn, attempt, request)
        if not isinstance(record.reply, ScoreReply):
            return Score(None, failed=record.error)
        return Score(record.reply.logprobs)

    async def _call(
        self, kind: str, turn: int, attempt: int, request: Request, *, confidences: bool = False
    ) -> CallRecord:
        self._ctx.name_once(self.role, kind, turn, attempt)
        key = CallKey(self._ctx.sample.id, kind, self.role, turn, attempt)
        engine = self._ctx._run.engines[self.role]
        record = await self._ctx._run.calls.make(
            engine, key, request, self._ctx.begun, confidences=confidences
        )
        self._ctx.called(record)
        return record

    def _sampling(self, temperature: float | None) -> Sampling:
        usual = self._ctx.sample.problem.sampling.get(self.role, Sampling())
        if temperature is None:
            return usual
        return Sampling(
            temperature=temperature, top_p=usual.top_p, top_k=usual.top_k, min_p=usual.min_p
        )


class _Named(Sequence[Mapping[str, float]]):
    """Top log-probabilities by the tokens' texts, which are decoded when they are read."""

    def __init__(
        self, steps: Sequence[Mapping[int, float]], decode: Callable[[Sequence[int]], str]
    ) -> None:
        self._steps = steps
        self._decode = decode

    def __len__(self) -> int:
        return len(self._steps)

    @overload
    def __getitem__(self, index: int) -> Mapping[str, float]: ...
    @overload
    def __getitem__(self, index: slice) -> _Named: ...
    def __getitem__(self, index: int | slice) -> Mapping[str, float] | _Named:
        if isinstance(index, slice):
            return _Named(self._steps[index], self._decode)
        best_first = sorted(self._steps[index].items(), key=lambda item: -item[1])
        return {self._decode([id_]): logprob for id_, logprob in best_first}
