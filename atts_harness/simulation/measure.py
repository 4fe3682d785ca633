"""What a step costs on a running engine: a probe of at most a minute, and a fit.

Rounds of requests of different sizes are sent, each at once, and timed. The same rounds on a
simulated engine tell how many steps they take, and what these compute; the costs (`Measured`, and
the latency of a call) are those that explain the seconds best.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from atts_harness import guards
from atts_harness.backend import Backend, GenerateRequest, Sampling, ScoreRequest
from atts_harness.errors import SettingError
from atts_harness.simulation.clock import run_simulated
from atts_harness.simulation.costs import Measured
from atts_harness.simulation.engine import SimulatedEngine
from atts_harness.simulation.jobs import EngineLimits

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FittedCosts", "Round", "features", "fit_rounds", "rounds_for", "time_rounds"]

LONGEST = 60.0
"""Seconds that a measurement takes at most."""
LEAST_ROUNDS = 8
AT_ONCE = (1, 2, 4, 8, 16)
CONTEXTS = (32, 256, 1024, 4096)
WRITTEN = (8, 32)
"""Of two lengths: else what a token of context costs a prompt and a decode cannot be told apart."""
STEP = 16
"""Prompt tokens that take about as long as a step of one sequence: an order of magnitude, by which
rounds are put in order."""
TEMPERATURE = 0.8
"""Of the tokens that are written. Not 0: drawing a token is part of what a sequence costs."""
ENOUGH_ROOM = 1 << 40
COSTS = tuple(field.name for field in dataclasses.fields(Measured))
OPTIONAL = ("batch", "context", "prompt")
"""Costs that only some engines have, or that only many rounds can tell from the others."""


@dataclass(frozen=True)
class Round:
    """Equal requests, sent at once.

    Attributes:
        requests: how many.
        context: tokens of each; no two share any.
        writes: tokens that each generates; 0: its whole context is scored.
    """

    requests: int
    context: int
    writes: int = 0

    @property
    def size(self) -> int:
        """About how long it takes, as a number of prompt tokens."""
        return self.requests * self.context + self.writes * (STEP + self.requests)


@dataclass(frozen=True)
class FittedCosts:
    """What was measured.

    Attributes:
        cost: of a step.
        latency: seconds of a call beside its steps: from the client to the engine and back.
        rounds: what was sent.
        seconds: what each took.
        explained: what the fit says of each.
    """

    cost: Measured
    latency: float
    rounds: Sequence[Round]
    seconds: Sequence[float]
    explained: Sequence[float]

    @property
    def error(self) -> float:
        """Mean relative error of the fit on its own rounds."""
        pairs = zip(self.explained, self.seconds, strict=True)
        return sum(abs(e - s) / s for e, s in pairs) / len(self.seconds)


class _Clock(Protocol):
    def time(self) -> float: ...


def rounds_for(max_length: int, largest: int = AT_ONCE[-1], *, scores: bool = True) -> list[Round]:
    """Rounds for an engine, the quickest first, so that a short measurement has all kinds.

    Args:
        max_length: its context window.
        largest: most requests at once.
        scores: whether it can score.

    Raises:
        SettingError: a window too small for any of them.
    """
    contexts = [n for n in CONTEXTS if n + WRITTEN[-1] < max_length]
    if len(contexts) < 2:
        raise SettingError(
            f"a context window of {max_length} tokens is too small to measure with; "
            f"{CONTEXTS[1] + WRITTEN[-1] + 1} at least"
        )
    counts = [n for n in AT_ONCE if n <= largest]
    written = [Round(n, c, writes=w) for c in contexts for n in counts for w in WRITTEN]
    scored = [Round(n, c) for c in contexts for n in counts]
    return sorted([*written, *(scored if scores else ())], key=lambda sent: sent.size)


async def time_rounds(
    backend: Backend,
    rounds: Sequence[Round],
    *,
    longest: float = LONGEST,
    again: Callable[[], bool] = lambda: False,
    seed: int = 0,
) -> tuple[list[Round], list[float]]:
    """Time rounds on an engine without other load.

    Args:
        backend: of the engine.
        rounds: what to send. The first that writes and the first that scores are sent once before
            they are timed, because engines compile and allocate then. Texts are new each time.
        longest: seconds after which no further round is begun.
        again: asked when all are done: whether to go through them once more, because another
            engine is still being measured and this one would be as busy in a run.
        seed: of the texts.

    Returns:
        The rounds that were sent, and the seconds of each.

    Raises:
        BackendError: a call failed.
    """
    rng = random.Random(seed)
    loop: _Clock = asyncio.get_running_loop()
    began = loop.time()
    sent: list[Round] = []
    seconds: list[float] = []
    warm: set[bool] = set()
    while True:
        for round_ in rounds:
            if loop.time() - began > longest:
                return sent, seconds
            if bool(round_.writes) not in warm:
                await _send(backend, round_, rng)
                warm.add(bool(round_.writes))
            start = loop.time()
            await _send(backend, round_, rng)
            sent.append(round_)
            seconds.append(loop.time() - start)
        if not again():
            return sent, seconds


async def _send(backend: Backend, round_: Round, rng: random.Random) -> None:
    calls: list[Awaitable[object]] = []
    for _ in range(round_.requests):
        ids = _text(backend, round_.context, rng)
        if round_.writes:
            # With a seed, as runs ask: engines draw such tokens one sequence after the other.
            request = GenerateRequest(
                ids=ids,
                max_tokens=round_.writes,
                sampling=Sampling(temperature=TEMPERATURE),
                seed=rng.getrandbits(31),
            )
            calls.append(_in_full(backend, request, rng))
        else:
            score = ScoreRequest(ids=ids, start=1)
            calls.append(guards.score(backend, score))
    await asyncio.gather(*calls)


async def _in_full(backend: Backend, request: GenerateRequest, rng: random.Random) -> None:
    """A generation of exactly so many tokens: one that closed its turn early is gone on with."""
    remaining = request.max_tokens
    ids = request.ids
    while remaining > 0:
        reply = await guards.generate(
            backend,
            GenerateRequest(
                ids=ids, max_tokens=remaining, sampling=request.sampling, seed=request.seed
            ),
        )
        remaining -= max(1, len(reply.ids))
        ids = (*ids, *reply.ids) if reply.ending != "eos" else _text(backend, len(ids), rng)


def _text(backend: Backend, length: int, rng: random.Random) -> tuple[int, ...]:
    """Plain tokens at random, so that no cache knows them."""
    tokenizer = backend.tokenizer
    special = {*tokenizer.named.values(), *tokenizer.eos_ids}
    ids: list[int] = []
    while len(ids) < length:
        id_ = rng.randrange(tokenizer.vocab_size)
        if id_ not in special:
            ids.append(id_)
    return tuple(ids)


def features(round_: Round, limits: EngineLimits) -> list[float]:
    """How much of each cost of `Measured` a round has, in the order of its fields.

    All its requests come at once, so what is computed in which step does not depend on what steps
    cost: it is counted by simulations in which one cost is 1.
    """
    steps = _seconds(round_, Measured(step=1.0), limits)
    further = [name for name in COSTS if name != "step"]
    units = [dataclasses.replace(Measured(step=1.0), **{name: 1.0}) for name in further]
    return [steps, *(_seconds(round_, unit, limits) - steps for unit in units)]


def _seconds(round_: Round, cost: Measured, limits: EngineLimits) -> float:
    """Seconds of a round on a simulated engine."""

    async def work() -> None:
        engine = SimulatedEngine(cost, limits)
        calls: list[Awaitable[object]] = []
        for n in range(round_.requests):
            ids = tuple(range(n * round_.context, (n + 1) * round_.context))
            if round_.writes:
                calls.append(engine.generate(ids, tuple(range(round_.writes))))
            else:
                calls.append(engine.score(ids, 1))
        await asyncio.gather(*calls)

    return run_simulated(work())[1]


def fit_rounds(
    rounds: Sequence[Round],
    seconds: Sequence[float],
    *,
    scores_read_cache: bool = True,
    mixed_steps: bool = True,
) -> FittedCosts:
    """The costs that explain the seconds of rounds best, none of them negative.

    Call it outside of an event loop: it simulates the rounds.

    Args:
        rounds: what was sent.
        seconds: how long each took.
        scores_read_cache: whether scores of the engine read its prefix cache.
        mixed_steps: whether it computes prompts beside sequences that decode.

    Raises:
        SettingError: fewer than eight rounds.
    """
    import numpy as np

    if len(rounds) < LEAST_ROUNDS:
        raise SettingError(
            f"only {len(rounds)} rounds of requests fitted into the time; {LEAST_ROUNDS} are "
            "needed: give it longer, or a smaller batch"
        )
    limits = EngineLimits(
        kv_tokens=ENOUGH_ROOM, scores_read_cache=scores_read_cache, mixed_steps=mixed_steps
    )
    counts = {round_: [*features(round_, limits), 1.0] for round_ in set(rounds)}
    matrix = np.array([counts[round_] for round_ in rounds])
    times = np.asarray(seconds, dtype=float)
    costs = _costs(matrix, times, _columns(matrix, times, rounds))
    *fitted, latency = (float(value) for value in costs)
    return FittedCosts(
        cost=Measured(*fitted),
        latency=latency,
        rounds=list(rounds),
        seconds=list(seconds),
        explained=[float(value) for value in matrix @ costs],
    )


def _columns(matrix: np.ndarray, times: np.ndarray, rounds: Sequence[Round]) -> list[int]:
    """Which costs the rounds can tell apart; the others are 0.

    A minute of a slow engine is twenty noisy rounds, too few for all costs. So of all choices of
    `OPTIONAL` the smallest is taken whose error on rounds that were left out is within one standard
    error of the least (Breiman et al., Classification and Regression Trees, 1984, section 3.4.3).
    """
    names = [*COSTS, "latency"]
    tried: list[tuple[float, float, list[int]]] = []
    for count in range(len(OPTIONAL) + 1):
        for further in itertools.combinations(OPTIONAL, count):
            dropped = set(OPTIONAL) - set(further)
            columns = [n for n, name in enumerate(names) if name not in dropped]
            tried.append((*_error_left_out(matrix, times, rounds, columns), columns))
    least, deviation, _ = min(tried)
    enough = [(len(columns), error, columns) for error, _, columns in tried]
    return min(one for one in enough if one[1] <= least + deviation)[2]


def _error_left_out(
    matrix: np.ndarray, times: np.ndarray, rounds: Sequence[Round], columns: Sequence[int]
) -> tuple[float, float]:
    """Mean relative error on rounds whose like were all left out of the fit, and its own error."""
    import numpy as np

    errors: list[float] = []
    for left_out in set(rounds):
        other = np.array([round_ != left_out for round_ in rounds])
        costs = _costs(matrix[other], times[other], columns)
        errors.extend(np.abs(matrix[~other] @ costs / times[~other] - 1.0))
    return float(np.mean(errors)), float(np.std(errors) / len(errors) ** 0.5)


def _costs(matrix: np.ndarray, times: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Costs, none of them negative, with the least squared relative errors."""
    import numpy as np
    from scipy.optimize import nnls

    # Relative errors: a round of a tenth of a second counts as much as one of ten.
    weighted = matrix[:, columns] / times[:, None]
    scale = np.maximum(weighted.max(axis=0), 1e-30)
    scaled, _ = nnls(weighted / scale, np.ones(len(times)))
    costs = np.zeros(matrix.shape[1])
    costs[columns] = scaled / scale
    return costs
