"""Conformance cases about refusals and cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.errors import AttsError, BadRequestError, ContextLengthError
from atts_harness.identity import decisive, in_words
from atts_harness.testing.conformance_case import Bench, Case, CaseSkippedError, require

GREEDY = Sampling(temperature=0)
# How often a count is looked at, and how often before it counts as stuck.
LOOK_SECONDS = 0.05
LOOKS = 100
ROUNDS = 50
# After so many further short requests, cancelled ones must be gone.
FREED_BEHIND = 4


async def _refused(call: Awaitable[object], label: str) -> AttsError:
    try:
        await call
    except AttsError as error:
        require(not error.retryable, f"{label}: {type(error).__name__} asks for another try")
        return error
    except Exception as error:
        require(False, f"{label}: {type(error).__name__} is not an error of atts_harness.errors")
    require(False, f"{label}: it was served")
    raise AssertionError  # not reached


async def _alive(bench: Bench, after: str) -> None:
    context = bench.context()
    reply = await bench.backend.generate(
        GenerateRequest(ids=context, max_tokens=3, sampling=GREEDY)
    )
    bench.require_greedy(context, reply.ids, f"after {after}")


async def identity_and_figures(bench: Bench) -> None:
    """It answers a ping, has an identity that does not change, and its figures are numbers."""
    backend = bench.backend
    await backend.ping()
    identity = backend.identity
    require(bool(identity.engine and identity.model), "`identity` names no engine or no model")
    for name, value, fingerprint in (
        ("tokenizer", identity.tokenizer, backend.tokenizer.fingerprint),
        ("chat_template", identity.chat_template, backend.tokenizer.template_fingerprint),
    ):
        require(
            value in (None, fingerprint),
            f"`identity.{name}` is {value!r}, the fingerprint by its tokenizer is {fingerprint!r}",
        )
    differing = decisive(identity, await backend.identify())
    require(not differing, f"`identify()` answers another model: {in_words(differing)}")
    for name, figure in (await backend.metrics()).items():
        require(isinstance(figure, int | float), f"metrics: {name} is {figure!r}, not a number")


async def too_long(bench: Bench) -> None:
    """A context beyond the window is refused by type, not cut; the backend goes on."""
    ids = (bench.context() * bench.backend.max_length)[: bench.backend.max_length + 1]
    calls = {"generate": bench.backend.generate(GenerateRequest(ids=ids, max_tokens=1))}
    errors = [await _refused(call, f"{name} of {len(ids)} tokens") for name, call in calls.items()]
    if bench.backend.capabilities.scores:
        score = bench.backend.score(ScoreRequest(ids=ids, start=len(ids) - 1))
        errors.append(await _refused(score, f"score of {len(ids)} tokens"))
    for error in errors:
        require(
            isinstance(error, ContextLengthError | BadRequestError),
            f"a context that is too long gives {type(error).__name__}",
        )
    await _alive(bench, "a context that is too long")


async def bad_ids(bench: Bench) -> None:
    """No ids, or ids outside the vocabulary, are refused before they reach the engine."""
    size = bench.backend.tokenizer.vocab_size
    context = bench.context()
    for ids, label in (
        ((), "an empty context"),
        ((*context, size), "an id one beyond the vocabulary"),
        ((*context, -1), "a negative id"),
    ):
        error = await _refused(
            bench.backend.generate(GenerateRequest(ids=ids, max_tokens=1)), label
        )
        require(isinstance(error, BadRequestError), f"{label} gives {type(error).__name__}")
    await _alive(bench, "ids that cannot be served")


async def cancellation(bench: Bench) -> None:
    """Cancelled requests end at once and leave the others alone.

    A neighbour that is answered before the cancelled requests have ended proves nothing, so that
    round is repeated: on a busy machine the loop can be slower than the engine.
    """
    context = bench.context()
    for _ in range(ROUNDS):
        neighbour = await _beside_cancelled(bench, context)
        if neighbour is not None:
            bench.require_greedy(context, neighbour, "beside cancelled requests")
            return await _alive(bench, "cancelled requests")
    require(False, f"in {ROUNDS} rounds no request was still running when others were cancelled")


async def _beside_cancelled(bench: Bench, context: tuple[int, ...]) -> tuple[int, ...] | None:
    """Ids that a request gets while others are cancelled; None if it was answered before that."""
    long = min(256, bench.backend.max_length - len(context))
    hot = Sampling(temperature=1.5)
    doomed = [
        asyncio.create_task(
            bench.backend.generate(
                GenerateRequest(ids=context, max_tokens=long, sampling=hot, seed=n)
            )
        )
        for n in range(8)
    ]
    survivor = asyncio.create_task(
        bench.backend.generate(GenerateRequest(ids=context, max_tokens=long, sampling=GREEDY))
    )
    # When this one is answered, those that were sent before it are under way.
    await bench.backend.generate(GenerateRequest(ids=context, max_tokens=1, sampling=GREEDY))
    for task in doomed:
        task.cancel()
    ended = await asyncio.gather(*doomed, return_exceptions=True)
    answered_before = survivor.done()
    for outcome in ended:
        require(
            isinstance(outcome, asyncio.CancelledError) or not isinstance(outcome, BaseException),
            f"a cancelled request raised {type(outcome).__name__}",
        )
    (neighbour,) = await asyncio.gather(survivor, return_exceptions=True)
    if isinstance(neighbour, BaseException):
        require(
            False, f"a request beside cancelled ones raised {type(neighbour).__name__}: {neighbour}"
        )
        raise AssertionError  # not reached
    return None if answered_before else neighbour.ids


async def cancellation_frees(bench: Bench) -> None:
    """The engine's running count falls to nothing once its requests are cancelled.

    An engine that has to look for dropped connections gets `notices_within` seconds for it: while
    requests wait in its queue, they have no steps in which it could look.
    """
    running = bench.hooks.running
    if running is None:
        raise CaseSkippedError("no hook tells how many requests run")
    context = bench.context()
    most = bench.backend.max_length - len(context)
    hot = Sampling(temperature=1.5)
    # So many that a backend which does not stop them is still busy when the count is read.
    doomed = [
        asyncio.create_task(
            bench.backend.generate(
                GenerateRequest(ids=context, max_tokens=most, sampling=hot, seed=n)
            )
        )
        for n in range(32)
    ]
    for _ in range(LOOKS):
        if await running():
            break
        await asyncio.sleep(LOOK_SECONDS)
    require(await running() > 0, "the hook never saw a running request")
    for task in doomed:
        task.cancel()
    await asyncio.gather(*doomed, return_exceptions=True)
    clock = asyncio.get_running_loop().time
    cancelled_at, answered = clock(), 0
    # Measured in the engine's steps: a request that was not freed runs much longer than these.
    while answered < FREED_BEHIND or clock() < cancelled_at + bench.hooks.notices_within:
        await bench.backend.generate(GenerateRequest(ids=context, max_tokens=16, sampling=GREEDY))
        answered += 1
        if not await running():
            return
    require(False, f"{await running()} requests still run after their callers were cancelled")


async def refusals_are_typed(bench: Bench) -> None:
    """Every shape of error body the engine has becomes an error of `atts_harness.errors`."""
    if not bench.hooks.refusals:
        raise CaseSkippedError("no hook provokes the engine's error bodies")
    for name, provoke in bench.hooks.refusals.items():
        error = await _refused(provoke(), name)
        require(len(str(error).splitlines()) == 1, f"{name}: the message is not one line")
    await _alive(bench, "refused requests")


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (
        identity_and_figures,
        too_long,
        bad_ids,
        cancellation,
        cancellation_frees,
        refusals_are_typed,
    )
}
