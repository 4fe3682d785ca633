"""The loop that serves requests: one thread, and one forward pass for all running requests.

Every turn takes in new requests, gives each a cache row, computes one token of every running
generation and as much of the waiting contexts as fits, and hands back what is finished.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from atts_harness import neutral
from atts_harness.backend import (
    GenerateReply,
    GenerateRequest,
    ScoreReply,
    Usage,
)
from atts_harness.errors import (
    BackendError,
    BackendUnavailableError,
    ContextLengthError,
    MalformedReplyError,
)
from atts_harness.tokenizer import Tokenizer
from atts_transformers.jobs import LocalJob, Outcome, deliver, generation, row_of
from atts_transformers.packed import KEY_BLOCK, PassPart
from atts_transformers.rows import RowTable
from atts_transformers.sampling import draw, uniform
from atts_transformers.stops import StopFinder

log = neutral.logger(__name__)


class ModelRunner(Protocol):
    """What runs the model over cache rows.

    Attributes:
        divisible: a row can be cut back and copied in part.
    """

    divisible: bool

    def forward(self, works: Sequence[PassPart]) -> Tensor:
        """Logits of the wanted positions, (positions, vocabulary)."""
        ...

    def resize(self, rows: int, columns: int) -> None:
        """Make room for `rows` rows of `columns` positions."""
        ...

    def copy(self, source: int, to: int, length: int) -> None:
        """Copy the first `length` positions of a row into another."""
        ...

    def clear(self, row: int) -> None:
        """Forget a row for good."""
        ...


class LocalEngine:
    """Serves requests in a separate thread.

    Args:
        runner: runs the model.
        tokenizer: for stop strings and ends of turn.
        max_rows: most cache rows.
        max_running: most jobs that compute at the same time.
        max_batch_tokens: most tokens a pass.
        cache_tokens: most cache positions over all rows.
        threads: PyTorch threads, None to leave them.
    """

    def __init__(
        self,
        runner: ModelRunner,
        tokenizer: Tokenizer,
        *,
        max_rows: int,
        max_running: int,
        max_batch_tokens: int,
        cache_tokens: int,
        threads: int | None = None,
    ) -> None:
        self._runner = runner
        self._tokenizer = tokenizer
        self._vocabulary = tokenizer.vocab_size
        self._stops = StopFinder(tokenizer)
        self._max_rows = max_rows
        self._max_running = max_running
        self._max_batch_tokens = max_batch_tokens
        self._cache_tokens = cache_tokens
        self._threads = threads
        self._columns, self._allocated = KEY_BLOCK, 0
        self._table = RowTable(max_rows, divisible=runner.divisible)
        self._inbox: queue.SimpleQueue[LocalJob | None] = queue.SimpleQueue()
        self._waiting: list[LocalJob] = []
        self._running: list[LocalJob] = []
        self._replies: list[tuple[LocalJob, Outcome]] = []
        self._closed = self._over = False
        self._ending = threading.Lock()
        self._on_end: list[Callable[[], object]] = []
        self._thread = threading.Thread(target=self._serve, name="atts-transformers", daemon=True)
        self._thread.start()

    def submit(self, job: LocalJob) -> None:
        """Take in a job; called from any thread."""
        if self._closed:
            raise BackendError("backend=transformers: the backend is closed")
        self._inbox.put(job)

    def close(self, on_end: Callable[[], object]) -> None:
        """Tell the thread to stop; jobs that still run fail.

        Args:
            on_end: called when the thread is through, from it, or at once if it is already.
        """
        self._closed = True
        with self._ending:
            if not self._over:
                self._on_end.append(on_end)
                self._inbox.put(None)
                return
        on_end()

    @property
    def running(self) -> int:
        """Jobs that hold a cache row now."""
        return len(self._running)

    def _serve(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while self._take_in():
                try:
                    self._turn()
                except Exception as error:
                    self._fail_all(error)
                self._hand_back()
        # Who closes a model may keep it, or wait long for the collector of garbage.
        self._runner.resize(0, 0)
        while not self._inbox.empty():
            if (late := self._inbox.get()) is not None:
                self._waiting.append(late)
        self._fail_all(BackendError("backend=transformers: closed while the request was running"))
        self._hand_back()
        with self._ending:
            self._over = True
        for on_end in self._on_end:
            on_end()

    def _take_in(self) -> bool:
        """Read the inbox; blocks when there is nothing to do. False when told to end."""
        idle = not (self._waiting or self._running)
        try:
            while True:
                job = self._inbox.get(block=idle)
                if job is None:
                    return False
                idle = False
                if isinstance(job.request, GenerateRequest):
                    seed = job.request.seed
                    job.stream.seed(int.from_bytes(os.urandom(8)) if seed is None else seed)
                self._waiting.append(job)
                # Stable: equal priorities stay in order of arrival.
                self._waiting.sort(key=lambda j: j.request.priority)
        except queue.Empty:
            return True

    def _turn(self) -> None:
        self._drop_cancelled()
        self._admit()
        # One token of each generation first, then contexts in order of arrival.
        steps: list[LocalJob] = []
        contexts: list[LocalJob] = []
        for job in self._running:
            late = job.scoring or len(job.ids) - len(row_of(job).ids) > 1
            (contexts if late else steps).append(job)
        works = [PassPart(row_of(job).index, len(job.ids) - 1, job.ids[-1:], 0) for job in steps]
        room = self._max_batch_tokens - len(works)
        for job in contexts:
            start = len(row_of(job).ids)
            take = min(job.target - start, room)
            if take <= 0:
                break
            room -= take
            end = start + take
            first = job.reusable if job.scoring else len(job.ids) - 1
            works.append(
                PassPart(
                    row_of(job).index, start, job.ids[start:end], min(max(first - start, 0), take)
                )
            )
            steps.append(job)
        if works:
            self._compute(works, steps)

    def _drop_cancelled(self) -> None:
        for job in [j for j in self._running if j.cancelled]:
            self._release(job)
        if any(j.cancelled for j in self._waiting):
            self._waiting = [j for j in self._waiting if not j.cancelled]

    def _admit(self) -> None:
        if not self._waiting:
            return
        waiting: list[LocalJob] = []
        for number, job in enumerate(self._waiting):
            # A job too long for the rows is not overtaken, or it might wait for ever.
            if len(self._running) >= self._max_running or not self._fits(job.reserve):
                waiting += self._waiting[number:]
                break
            place = self._table.place(job.ids, job.reusable)
            if place is None:
                waiting.append(job)
                continue
            job.row, job.cached = place.row, place.reused
            if place.row.index >= self._allocated:
                self._allocated = min(self._max_rows, max(8, 2 * self._allocated))
                self._runner.resize(self._allocated, self._columns)
            if place.copy_from is not None:
                self._runner.copy(place.copy_from.index, place.row.index, place.reused)
            self._running.append(job)
        self._waiting = waiting

    def _fits(self, length: int) -> bool:
        """Make the rows long enough; fewer of them then fit the cache."""
        if length <= self._columns:
            return True
        columns = self._columns
        while columns < length:
            columns *= 2
        columns = min(columns, -(-self._cache_tokens // KEY_BLOCK) * KEY_BLOCK)
        if columns < length:
            raise ContextLengthError(f"a context of {length} tokens does not fit the cache")
        limit = max(1, min(self._max_rows, self._cache_tokens // columns))
        if not self._table.shrink(limit):
            return False
        self._table.limit = limit
        self._columns = columns
        self._allocated = min(self._allocated, limit)
        self._runner.resize(self._allocated, columns)
        return True

    def _compute(self, works: list[PassPart], jobs: list[LocalJob]) -> None:
        logits = self._runner.forward(works)
        if logits.dtype not in (torch.float32, torch.float64):
            logits = logits.float()
        spans: list[tuple[LocalJob, int, int]] = []
        at = 0
        for work, job in zip(works, jobs, strict=True):
            row_of(job).ids.extend(work.ids)
            count = len(work.ids) - work.logits_from
            if count:
                spans.append((job, at, at + count))
            at += count
        if not at:
            return
        norm = torch.logsumexp(logits, dim=-1)
        finite = torch.isfinite(norm)
        if not bool(finite.all()):
            broken = (~finite).nonzero()[:, 0].tolist()
            self._reject_broken(
                [j for j, low, high in spans if any(low <= b < high for b in broken)]
            )
            spans = [s for s in spans if s[0].row is not None]
        self._score([s for s in spans if s[0].scoring], logits, norm)
        self._extend([s for s in spans if not s[0].scoring], logits, norm)

    def _score(self, spans: list[tuple[LocalJob, int, int]], logits: Tensor, norm: Tensor) -> None:
        if not spans:
            return
        places: list[int] = []
        ids: list[int] = []
        for job, low, high in spans:
            places += range(low, high)
            end = len(row_of(job).ids) + 1
            ids += job.ids[end - (high - low) : end]
        place = torch.tensor(places, device=logits.device)
        id_ = torch.tensor(ids, device=logits.device)
        values = (logits[place, id_] - norm[place]).tolist()
        at = 0
        for job, low, high in spans:
            job.logprobs += values[at : at + high - low]
            at += high - low
            if len(row_of(job).ids) == job.target:
                self._finish_score(job)

    def _finish_score(self, job: LocalJob) -> None:
        usage = Usage(
            prompt_tokens=job.length, cached_tokens=job.cached, scored_tokens=len(job.logprobs)
        )
        self._replies.append((job, ScoreReply(logprobs=tuple(job.logprobs), usage=usage)))
        self._release(job)

    def _extend(self, spans: list[tuple[LocalJob, int, int]], logits: Tensor, norm: Tensor) -> None:
        if not spans:
            return
        place = torch.tensor([low for _, low, _ in spans], device=logits.device)
        requests = [generation(job) for job, _, _ in spans]
        mine, norm = logits[place], norm[place]
        drawn = draw(
            # Padding of the embedding beyond the tokenizer's ids is never meant.
            mine[:, : self._vocabulary],
            [r.sampling for r in requests],
            [uniform(job.stream) for job, _, _ in spans],
        )
        values = (mine.gather(1, drawn[:, None])[:, 0] - norm).tolist()
        ids = drawn.tolist()
        alternatives = max(r.top_logprobs for r in requests)
        if alternatives:
            top = torch.topk(mine[:, : self._vocabulary], min(alternatives, self._vocabulary))
            top_ids, top_values = top.indices.tolist(), (top.values - norm[:, None]).tolist()
        now = time.perf_counter()
        for n, (job, _, _) in enumerate(spans):
            job.ids.append(ids[n])
            job.logprobs.append(values[n])
            if requests[n].top_logprobs:
                count = requests[n].top_logprobs
                job.tops.append(dict(zip(top_ids[n][:count], top_values[n][:count], strict=True)))
            if job.first_token is None:
                job.first_token = now - job.arrived
            self._finish_generation(job, requests[n])

    def _finish_generation(self, job: LocalJob, request: GenerateRequest) -> None:
        """Answer the job if its last token ended it."""
        count = len(job.ids) - job.length
        stop = None
        if job.ids[-1] in self._tokenizer.eos_ids:
            ending = "eos"
        elif request.stop and (stop := self._stops.find(job.ids[job.length :], request.stop)):
            ending = "stop"
        elif count == request.max_tokens:
            ending = "length"
        else:
            return
        reply = GenerateReply(
            ids=tuple(job.ids[job.length :]),
            ending=ending,  # type: ignore[arg-type]
            stop=stop,
            logprobs=tuple(job.logprobs),
            top_logprobs=tuple(job.tops) if request.top_logprobs else None,
            usage=Usage(
                prompt_tokens=job.length,
                cached_tokens=job.cached,
                completion_tokens=count,
                time_to_first_token=job.first_token,
            ),
        )
        self._replies.append((job, reply))
        self._release(job)

    def _reject_broken(self, jobs: list[LocalJob]) -> None:
        for job in jobs:
            error = MalformedReplyError("backend=transformers: the model's logits are not finite")
            self._replies.append((job, error))
            self._runner.clear(row_of(job).index)
            self._release(job, keep=False)

    def _release(self, job: LocalJob, *, keep: bool = True) -> None:
        self._table.release(row_of(job), keep=keep)
        job.row = None
        self._running.remove(job)

    def _fail_all(self, error: BaseException) -> None:
        """A pass failed: nothing in the rows can be trusted any more."""
        if isinstance(error, torch.OutOfMemoryError):
            reason: BaseException = BackendUnavailableError(
                f"backend=transformers: out of device memory; lower `max_batch_tokens`, "
                f"`max_batch_size` or `kv_cache_memory_bytes` ({str(error).splitlines()[0]})"
            )
        elif isinstance(error, BackendError):
            reason = error
        else:
            log.error("the model's forward pass failed", exc_info=error)
            reason = BackendError(f"backend=transformers: {type(error).__name__}: {error}")
        for job in [*self._running, *self._waiting]:
            self._replies.append((job, reason))
        for job in list(self._running):
            self._release(job, keep=False)
        self._waiting = []

    def _hand_back(self) -> None:
        deliver(self._replies)
        self._replies = []
