r"""Grading in worker processes that can be killed.

Computer algebra fed by a model may never return and may take all memory, inside C code that no
signal handler interrupts. So each comparison that needs it goes to one of a few
processes of our own; one that works for too long is killed and replaced, and the answer is graded
wrong with the reason counted. lm-eval grades document by document in its main thread: the
processes live on between documents, and verdicts are remembered.

The processes speak JSON lines on their standard streams and are started by name, neither forked
(the caller may hold threads and a GPU) nor spawned (which would import the caller's main module).
"""

from __future__ import annotations

import atexit
import functools
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from atts_harness.grading.equivalence import Gold, GradingVerdict, decide, fast

SECONDS = 3.0
"""Default limit of one comparison, in seconds of the worker's processor time: a machine that is
busy with something else must not change a verdict. Nine in ten take under 10 ms."""

MEMORY = 4 << 30
"""Address space of a worker in bytes: a runaway comparison gets a MemoryError."""

_START_SECONDS = 600.0
_PATIENCE = 60.0  # wall time for a second of processor time, before a worker counts as stuck
_REMEMBERED = 100_000


class _Task(msgspec.Struct):
    answer: str
    gold: Gold
    seconds: float


class _Worker:
    """One process and the pair that it is comparing."""

    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__ if __name__ != "__main__" else _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self.busy: tuple[str, Gold] | None = None
        self.ready = False
        self.deadline = time.monotonic() + _START_SECONDS
        self._received = b""

    def send(self, pair: tuple[str, Gold], seconds: float) -> None:
        assert self.process.stdin is not None
        self.busy = pair
        self.deadline = time.monotonic() + seconds * _PATIENCE
        line = msgspec.json.encode(_Task(*pair, seconds=seconds))
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self.deadline = 0.0  # it died while idle: the loop sees the end of its output

    def receive(self) -> list[bytes] | None:
        """Complete lines that have arrived; None at the end of the stream."""
        assert self.process.stdout is not None
        chunk = os.read(self.process.stdout.fileno(), 1 << 16)
        if not chunk:
            return None
        *lines, self._received = (self._received + chunk).split(b"\n")
        return lines

    def kill(self) -> None:
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue  # what stands in the buffer of a dead process is of no use
        self.process.wait()


_MODULE = "atts_harness.grading.workers"


def processors() -> int:
    """How many processors this process may use; all of the machine's if the system cannot tell."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Grader:
    """A pool of grading processes; safe to use from several threads.

    Attributes:
        killed: processes that had to be killed or died.
    """

    def __init__(self, workers: int | None = None, seconds: float = SECONDS) -> None:
        """Prepare a pool; a process is started by the first comparison that needs one.

        Args:
            workers: most processes at a time; default: the processors, at most four.
            seconds: limit of one comparison, in processor time.
        """
        self._most = workers or min(4, processors())
        self._seconds = seconds
        self._workers: list[_Worker] = []
        self._known: OrderedDict[tuple[str, Gold], GradingVerdict] = OrderedDict()
        self._lock = threading.Lock()
        self.killed = 0
        atexit.register(self.close)

    def grade(self, pairs: Sequence[tuple[str, Gold]]) -> list[GradingVerdict]:
        """Grade extracted answers.

        Args:
            pairs: answer and gold.

        Returns:
            A verdict for each, in order. `timeout` and `crash` are errors of the comparison.
        """
        with self._lock:
            waiting: deque[tuple[str, Gold]] = deque()
            for pair in dict.fromkeys(pairs):
                if pair not in self._known:
                    verdict = fast(*pair)
                    if verdict is None:
                        waiting.append(pair)
                    else:
                        self._remember(pair, verdict)
            self._run(waiting)
            verdicts = [self._known[pair] for pair in pairs]
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return verdicts

    def close(self) -> None:
        """Stop the processes; the next `grade` starts new ones."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _remember(self, pair: tuple[str, Gold], verdict: GradingVerdict) -> None:
        self._known[pair] = verdict
        self._known.move_to_end(pair)

    def _run(self, waiting: deque[tuple[str, Gold]]) -> None:
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
            while waiting or any(worker.busy for worker in self._workers):
                idle = [w for w in self._workers if w.ready and not w.busy]
                for worker in idle[: len(waiting)]:
                    worker.send(waiting.popleft(), self._seconds)
                starting = sum(not w.ready for w in self._workers)
                if len(waiting) > starting and len(self._workers) < self._most:
                    fresh = _Worker()
                    self._workers.append(fresh)
                    selector.register(fresh.process.stdout, selectors.EVENT_READ, fresh)  # type: ignore[arg-type]
                    continue
                self._await(selector, waiting)

    def _await(self, selector: selectors.BaseSelector, waiting: deque[tuple[str, Gold]]) -> None:
        active = [w for w in self._workers if w.busy or not w.ready]
        patience = min(w.deadline for w in active) - time.monotonic()
        for key, _ in selector.select(max(0.0, patience)):
            worker: _Worker = key.data
            lines = worker.receive()
            if lines is None:
                # The kernel ends a worker whose processor time for one pair is used up.
                overdue = worker.process.wait() == -signal.SIGPROF
                self._bury(worker, selector, waiting, "timeout" if overdue else "crash")
                continue
            for line in lines:
                if not worker.ready:
                    worker.ready = True
                elif worker.busy is not None:
                    verdict = msgspec.json.decode(line, type=GradingVerdict)
                    self._remember(worker.busy, verdict)
                    worker.busy = None
                    if verdict.error == "exception: MemoryError":
                        worker.deadline = 0.0  # what fills its memory would spoil the next pair
        now = time.monotonic()
        for worker in list(self._workers):
            overdue = worker.deadline <= now
            if overdue and (worker.busy or not worker.ready or worker.deadline == 0.0):
                self._bury(worker, selector, waiting, "timeout")

    def _bury(
        self,
        worker: _Worker,
        selector: selectors.BaseSelector,
        waiting: deque[tuple[str, Gold]],
        error: str,
    ) -> None:
        selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        self._workers.remove(worker)
        worker.kill()
        self.killed += 1
        if worker.busy is not None:
            self._remember(worker.busy, GradingVerdict(False, error))
        elif not worker.ready:
            # The worker never started, so no other will: raise one error for all that wait.
            for pair in waiting:
                self._remember(pair, GradingVerdict(False, "no grading process could be started"))
            waiting.clear()


@functools.cache
def default() -> Grader:
    """The process-wide pool."""
    return Grader()


def grade(pairs: Iterable[tuple[str, Gold]]) -> list[GradingVerdict]:
    """Grade with the process-wide pool; see `Grader.grade`."""
    return default().grade(list(pairs))


_PROBE = Gold(r"\int_0^1 q^{97}\,dq")


def candidates(answers: Sequence[str], like: Gold, grader: Grader | None = None) -> list[int]:
    """Group equivalent answers, so that they vote together.

    Args:
        answers: wrong answers of one question (right ones are one candidate already).
        like: the question's gold, for its kind and whether answers are several.
        grader: default: the process-wide pool.

    Returns:
        For each answer the index of its candidate, from 0 in order of first appearance.
    """
    pool = grader or default()
    distinct = list(dict.fromkeys(answers))
    pairs = [
        (i, j, (distinct[j], msgspec.structs.replace(like, text=distinct[i])))
        for i in range(len(distinct))
        for j in range(i + 1, len(distinct))
    ]
    hard = {n for i, j, pair in pairs if fast(*pair) is None for n in (i, j)}
    # An answer that exhausts a worker would do so in all of its pairs. So each is first compared
    # once with a text that nobody answers; one that fails there is a candidate of its own.
    tried = pool.grade([(distinct[n], _PROBE) for n in sorted(hard)])
    odd = {n for n, verdict in zip(sorted(hard), tried, strict=True) if verdict.error is not None}
    pairs = [(i, j, pair) for i, j, pair in pairs if not {i, j} & odd]
    verdicts = pool.grade([pair for _, _, pair in pairs])
    leader = list(range(len(distinct)))
    for (i, j, _), verdict in zip(pairs, verdicts, strict=True):
        if verdict.right and leader[j] == j:
            leader[j] = leader[i]
    numbers: dict[int, int] = {}
    by_text = {text: numbers.setdefault(leader[i], len(numbers)) for i, text in enumerate(distinct)}
    return [by_text[answer] for answer in answers]


def _serve() -> None:
    """Answer tasks from standard input until it ends."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not look like a verdict
    decide(
        r"\int_0^1 x\,dx", Gold(r"\frac12")
    )  # loads computer algebra before the clock of the first task runs
    replies.write(b"ready\n")
    replies.flush()
    # The default action of SIGPROF ends the process even inside C code, by its own processor
    # time, so no process is left behind if the parent dies first.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for line in sys.stdin.buffer:
        task = msgspec.json.decode(line, type=_Task)
        signal.setitimer(signal.ITIMER_PROF, task.seconds)
        verdict = decide(task.answer, task.gold)
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(msgspec.json.encode(verdict) + b"\n")
        replies.flush()


if __name__ == "__main__":
    _serve()
