"""`loglikelihood` tasks, answered by the target's score.

Raw text is scored as raw text, as lm-eval defines it; chat messages are rendered by the target's
template and the continuation stands where the assistant would write. Scoring is a strategy of its
own, so that limits, retries and the journal apply as they do to samples.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from atts_harness import neutral
from atts_harness.backend import Backend, Role
from atts_harness.errors import SampleFailedError, SettingError
from atts_harness.records import SampleId, SampleRecord
from atts_harness.running.harness import Harness
from atts_harness.strategy import (
    Context,
    Group,
    Outcome,
    Problem,
    Sample,
    Strategy,
    StrategyOptions,
)
from atts_harness.tokenizer import Ids, Tokenizer
from atts_harness.transcript import Message, Piece, Prompt, Segment, Transcript
from atts_lm_eval import upstream
from atts_lm_eval.prompts import ChatPrompt, messages_of

log = neutral.logger("lm_eval.atts")

LOGPROB = "logprob"
GREEDY = "greedy"


@dataclass(frozen=True)
class TokenPrompt(Prompt):
    """A prompt that is ids already, of the target's vocabulary."""

    ids: Ids = ()

    def ids_in(self, tokenizer: Tokenizer, *, raw: bool = False) -> Ids:
        """The ids."""
        return self.ids


@dataclass(frozen=True)
class Window:
    """One score: `scored` given `context`, both ids of the target."""

    context: Ids
    scored: Ids


class Scorer(Strategy):
    """Scores windows; the sums and whether the text is greedy go into the sample's notes.

    Args:
        windows: by sample.
        judge: whether to find out if greedy decoding would give the text.
    """

    name: ClassVar[str] = "loglikelihood"
    Options: ClassVar[type[StrategyOptions]] = StrategyOptions
    roles: ClassVar[tuple[Role, ...]] = ("target",)
    scores: ClassVar[bool] = True

    def __init__(self, windows: dict[SampleId, list[Window]], judge: bool) -> None:
        self._windows = windows
        self._judge = judge

    async def run(self, sample: Sample, ctx: Context) -> Outcome:
        """Score one request."""
        logprobs: list[float] = []
        for turn, window in enumerate(self._windows[sample.id]):
            before = Transcript(TokenPrompt((), ids=window.context))
            segment = Segment(
                author="strategy",
                pieces=(Piece(ctx.target.tokenizer.decode(window.scored)),),
                ids=window.scored,
                vocabulary=ctx.target.tokenizer.fingerprint,
            )
            score = await ctx.target.score(before, segment, turn=turn)
            if score.logprobs is None:
                raise SampleFailedError(score.failed or "no reply")
            logprobs.extend(score.logprobs)
        ctx.note(LOGPROB, math.fsum(logprobs))
        if self._judge:
            greedy = certainly_greedy(logprobs, ctx.target.tokenizer.vocab_size)
            ctx.note(GREEDY, await self._probe(sample, ctx) if greedy is None else greedy)
        return ctx.finish(sample.transcript, "strategy")

    async def _probe(self, sample: Sample, ctx: Context) -> bool:
        (window,) = self._windows[sample.id]
        reply = await ctx.target.generate(
            sample.transcript,
            kind="probe",
            turn=0,
            max_tokens=len(window.scored),
            temperature=0.0,
        )
        return reply.ids == window.scored


def loglikelihoods(
    harness: Harness, requests: Sequence[Any], *, show: bool = True
) -> list[tuple[float, bool]]:
    """For each (context, continuation) its log-probability, and whether greedy decoding gives it.

    Raises:
        SettingError: the strategy has no target, or its server gives no prompt log-probabilities.
        SampleFailedError: a score failed for good; lm-eval has no place for a missing one.
    """
    target = _target(harness)
    windows = [
        [_fit(*_encode(target.tokenizer, *request.args[:2]), target.max_length)]
        for request in requests
    ]
    records = _run(harness, requests, windows, judge=True, show=show)
    return [(float(r.notes[LOGPROB]), bool(r.notes[GREEDY])) for r in records]


def rolling(harness: Harness, requests: Sequence[Any], *, show: bool = True) -> list[float]:
    """For each text its log-probability, in windows as wide as the target's context.

    Raises:
        SettingError: the strategy has no target, or its server gives no prompt log-probabilities.
        SampleFailedError: a score failed for good.
    """
    target = _target(harness)

    def windows(text: str) -> list[Window]:
        ids, prefix = target.tokenizer.encode(text), beginning(target.tokenizer)[-1]
        pairs = upstream.rolling_windows(ids, prefix, target.max_length - 1)
        return [Window(*pair) for pair in pairs]

    sums = [0.0] * len(requests)  # of an empty text, nothing is scored
    texts = [(n, of_text) for n, r in enumerate(requests) if (of_text := windows(str(r.args[0])))]
    nonempty, windows_of = [requests[n] for n, _ in texts], [of_text for _, of_text in texts]
    records = _run(harness, nonempty, windows_of, judge=False, show=show)
    for (n, _), record in zip(texts, records, strict=True):
        sums[n] = float(record.notes[LOGPROB])
    return sums


def beginning(tokenizer: Tokenizer) -> Ids:
    """Ids before a plain text: the vocabulary's beginning-of-text, else an end of turn."""
    return tokenizer.text_prefix or (min(tokenizer.eos_ids),)


def certainly_greedy(logprobs: Sequence[float], vocab_size: int) -> bool | None:
    """Whether every token is the most likely one, where the probabilities alone tell.

    A token above one half is; one below 1/vocabulary is not; in between they do not tell (None).
    """
    if all(logprob > math.log(0.5) for logprob in logprobs):
        return True
    if any(logprob < -math.log(vocab_size) for logprob in logprobs):
        return False
    return None


def _encode(tokenizer: Tokenizer, context: str, continuation: str) -> tuple[Ids, Ids]:
    """Ids of both, split as lm-eval's own models split them."""
    if isinstance(context, ChatPrompt):
        return Prompt(messages_of(context)).ids_in(tokenizer), tokenizer.encode(continuation)
    stripped = context.rstrip()
    continuation = context[len(stripped) :] + continuation
    if not stripped:
        return beginning(tokenizer), tokenizer.encode(continuation)
    before = tokenizer.encode(stripped)
    after = tokenizer.encode(stripped + continuation)[len(before) :]
    return (*tokenizer.text_prefix, *before), after


def _fit(context: Ids, continuation: Ids, max_length: int) -> Window:
    """Cut the beginning of the context so that both fit into the context window."""
    room = max_length - len(continuation)
    if room < 1 or not continuation:
        raise SettingError(
            f"loglikelihood: a continuation of {len(continuation)} tokens cannot be scored in the "
            f"target's context of {max_length}"
        )
    if len(context) > room:
        log.warning("loglikelihood: a context of %d tokens is cut to %d", len(context), room)
    return Window(context[-room:], continuation)


def _run(
    harness: Harness,
    requests: Sequence[Any],
    windows: Sequence[list[Window]],
    *,
    judge: bool,
    show: bool,
) -> list[SampleRecord]:
    counts: Counter[tuple[str, int]] = Counter()
    by_sample: dict[SampleId, list[Window]] = {}
    scorer = Scorer(by_sample, judge)
    groups: list[Group] = []
    for request, of_request in zip(requests, windows, strict=True):
        task, doc = str(request.task_name), int(request.doc_id or 0)
        sample = SampleId(task, doc, counts[task, doc])
        counts[task, doc] += 1
        by_sample[sample] = of_request
        widest = max(of_request, key=lambda w: len(w.context) + len(w.scored))
        problem = Problem(
            task=task,
            doc=doc,
            prompt=TokenPrompt((Message("user", ""),), ids=of_request[0].context),
            max_tokens=len(widest.scored),
            prompt_hash=_digest(of_request),
        )
        groups.append(Group(problem, (Sample(sample, problem),), scorer))
    records = harness.run(groups, show=show)
    failed = [record for record in records if record.failed is not None]
    if failed:
        raise SampleFailedError(
            f"loglikelihood: {len(failed)} of {len(records)} scores failed for good, and lm-eval "
            f"has no place for a missing one; the first: {failed[0].failed}"
        )
    return records


def _digest(windows: Sequence[Window]) -> str:
    text = repr([(window.context, window.scored) for window in windows])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _target(harness: Harness) -> Backend:
    target = harness.backends.get("target")
    name = harness.settings.strategy.name
    if target is None:
        raise SettingError(
            f"loglikelihood tasks are answered by the target's score, and strategy {name} has no "
            "target; use --model target-only"
        )
    if not target.capabilities.scores:
        raise SettingError(
            "target: this server gives no log-probabilities of prompt tokens, so it cannot answer "
            "loglikelihood tasks"
        )
    return target
