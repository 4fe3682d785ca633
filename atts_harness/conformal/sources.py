"""Where the scores to rank against come from: a file, the run itself, or first drafts.

A source gives the bank for a turn of a sample, and takes in what is decided. It knows tasks,
turns and problems; the policy turns ranks into decisions.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from atts_harness import neutral
from atts_harness.conformal.banks import RankingBank
from atts_harness.conformal.options import Coverage
from atts_harness.errors import SettingError
from atts_harness.records import SampleId

logger = neutral.logger("atts_harness.conformal")

NewBank = Callable[[], RankingBank]


class BankPlace(NamedTuple):
    """A bank to rank in, and its name.

    Attributes:
        name: unique within a task (`turn 3`, `question 12/turn 0`, ...).
        bank: the bank.
        own_score: the score of the same draft if the bank holds it, else None.
    """

    name: str
    bank: RankingBank
    own_score: float | None = None


class BankSource(Protocol):
    """A source of banks."""

    presamples: bool

    def place(self, sample: SampleId, turn: int) -> BankPlace:
        """The bank for a turn."""
        ...

    def learn(self, sample: SampleId, turn: int, score: float) -> None:
        """Take in a score that was judged, now or in a replayed decision."""
        ...

    def offer(self, task: str, doc: int, scores: Mapping[int, float]) -> None:
        """Take in the scores of a problem's first drafts, by repeat."""
        ...


class OnlineSource:
    """Each score ranks among those judged before it, then joins them."""

    presamples = False

    def __init__(self, coverage: Coverage, new_bank: NewBank) -> None:
        """Banks start empty."""
        self._coverage = coverage
        self._new_bank = new_bank
        self._banks: dict[tuple[str, str], RankingBank] = {}

    def place(self, sample: SampleId, turn: int) -> BankPlace:
        """The bank of the turn's stratum."""
        name = self._coverage.bank(sample.doc, turn)
        key = (sample.task, name)
        bank = self._banks.get(key)
        if bank is None:
            bank = self._banks[key] = self._new_bank()
        return BankPlace(name, bank)

    def learn(self, sample: SampleId, turn: int, score: float) -> None:
        """Add the score to the bank that it was ranked in."""
        self.place(sample, turn).bank.add(score, sample.doc)

    def offer(self, task: str, doc: int, scores: Mapping[int, float]) -> None:
        """Do nothing: first drafts are judged like all others."""


class PresampleSource:
    """The first drafts of a problem are drawn before any is judged, and are its bank.

    A draft never ranks against itself. With coverage by turn the first drafts judge turn 0 only,
    and later turns rank online, for first-turn scores say nothing about them; without, they judge
    every turn, as published.
    """

    presamples = True

    def __init__(self, coverage: Coverage, new_bank: NewBank, warn_below: int) -> None:
        """Banks start empty; a problem with fewer siblings than `warn_below` is warned of, once."""
        self._coverage = coverage
        self._new_bank = new_bank
        self._banks: dict[tuple[str, str], RankingBank] = {}
        self._first: dict[tuple[str, int], dict[int, float]] = {}
        self._later = OnlineSource(coverage, new_bank)
        self._warn_below = warn_below

    def place(self, sample: SampleId, turn: int) -> BankPlace:
        """The first drafts' bank; for later turns with coverage by turn, the online one."""
        if turn and self._coverage.by_turn:
            return self._later.place(sample, turn)
        own_score = None
        if turn == 0:
            own_score = self._first.get((sample.task, sample.doc), {}).get(sample.repeat)
        name, bank = self._bank(sample.task, sample.doc)
        return BankPlace(name, bank, own_score)

    def learn(self, sample: SampleId, turn: int, score: float) -> None:
        """Later turns learn online; a replayed first turn was a first draft."""
        if turn == 0:
            self._take(sample.task, sample.doc, sample.repeat, score)
        elif self._coverage.by_turn:
            self._later.learn(sample, turn, score)

    def offer(self, task: str, doc: int, scores: Mapping[int, float]) -> None:
        """Add first drafts; each repeat counts once, however often it is offered."""
        for repeat, score in scores.items():
            self._take(task, doc, repeat, score)
        if self._coverage.by_problem and len(scores) - 1 < self._warn_below:
            logger.warning(
                "%s: %d first drafts of a problem are its bank; at this rate at least %d are "
                "needed before a rank alone can mean takeover: more repeats, or coverage=turn",
                task,
                len(scores),
                self._warn_below + 1,
            )
            self._warn_below = 0

    def _bank(self, task: str, doc: int) -> tuple[str, RankingBank]:
        name = self._coverage.bank(doc, 0)
        bank = self._banks.get((task, name))
        if bank is None:
            bank = self._banks[task, name] = self._new_bank()
        return name, bank

    def _take(self, task: str, doc: int, repeat: int, score: float) -> None:
        scores = self._first.setdefault((task, doc), {})
        if repeat not in scores:
            scores[repeat] = score
            self._bank(task, doc)[1].add(score, doc)


class FrozenBanks:
    """The banks of one task from a file; they never change."""

    def __init__(
        self,
        coverage: Coverage,
        banks: Mapping[str, RankingBank],
        turns: Mapping[int | None, Sequence[int]],
    ) -> None:
        """Banks by stratum.

        Args:
            coverage: how strata are named.
            banks: by the stratum's name.
            turns: for coverage by turn, the turns that have a bank of their own, ascending, by
                problem (None: for all problems). A turn without one uses the last one before it.
        """
        self._coverage = coverage
        self._banks = banks
        self._turns = turns

    def place(self, doc: int, turn: int) -> BankPlace:
        """The bank for a turn; the name says so if it is another turn's.

        Raises:
            SettingError: the file holds nothing for the problem.
        """
        turns = self._turns.get(doc) or self._turns.get(None) or (turn,)
        nearest = turns[max(0, bisect_right(turns, turn) - 1)]
        name = self._coverage.bank(doc, turn)
        key = self._coverage.bank(doc, nearest)
        bank = self._banks.get(key)
        if bank is None:
            raise SettingError(
                f"bank: no scores for {key!r}, which coverage={self._coverage} asks for: use "
                "calibration=presample or online, or coverage=turn"
            )
        return BankPlace(name if key == name else f"{name} by {key}", bank)


class FileSource:
    """Banks from files, one a task."""

    presamples = False

    def __init__(self, load: Callable[[str], FrozenBanks], tasks: Iterable[str] = ()) -> None:
        """Load each task's banks once with `load`: for known tasks now, else when first needed."""
        self._load = load
        self._tasks = {task: load(task) for task in tasks}

    def place(self, sample: SampleId, turn: int) -> BankPlace:
        """The bank for a turn, from the file of the sample's task."""
        banks = self._tasks.get(sample.task)
        if banks is None:
            banks = self._tasks[sample.task] = self._load(sample.task)
        return banks.place(sample.doc, turn)

    def learn(self, sample: SampleId, turn: int, score: float) -> None:
        """Do nothing: a bank from a file is fixed."""

    def offer(self, task: str, doc: int, scores: Mapping[int, float]) -> None:
        """Do nothing: no first drafts are drawn."""
