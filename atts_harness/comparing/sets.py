"""Engine sets: the places of a comparison, the servers there, and the cells that run on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from atts_harness.comparing.cells import Cell
from atts_harness.comparing.servers import Servers
from atts_harness.launcher import Launcher, Needs, Place


@dataclass(eq=False)
class EngineSet:
    """The servers of a pair in a place of their own.

    Attributes:
        pair: name of the pair.
        place: where they run.
        servers: started when the first cell needs them.
        running: names of the cells that run on it.
        used: whether a cell has run on it.
    """

    pair: str
    place: Place
    servers: Servers
    running: set[str] = field(default_factory=set)
    used: bool = False

    def stop(self) -> None:
        """Stop its servers, and give its place back."""
        self.servers.stop()
        self.place.give_back()


class EngineSets:
    """Starts engine sets when there is room, and stops those that no cell needs any more.

    Every pair gets one, in the order of its cells; the remaining room goes to the pair with the
    most cells for each of its sets.

    Args:
        needs: of the pairs.
        launcher: finds places.
        folder: for the servers' logs, a folder for each set.
        say: tells people what happens.
    """

    def __init__(
        self, needs: Sequence[Needs], launcher: Launcher, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._needs = {need.pair: need for need in needs}
        self._launcher = launcher
        self._folder = folder
        self._say = say
        self._sets: list[EngineSet] = []

    def __iter__(self) -> Iterator[EngineSet]:
        return iter(list(self._sets))

    def free(self, pair: str) -> EngineSet | None:
        """A set on which another cell of the pair may run now."""
        beside = self._needs[pair].beside
        free = [
            engines
            for engines in self._sets
            if engines.pair == pair
            and len(engines.running) < beside
            and engines.place.lost() is None
            and engines.place.ready()
        ]
        return min(free, key=lambda engines: len(engines.running), default=None)

    def grow(self, waiting: Sequence[Cell]) -> None:
        """Make sets for cells that have none, as long as there is room.

        Args:
            waiting: cells that were not started.
        """
        while all(
            engines.place.lost() is not None or engines.place.ready() for engines in self._sets
        ):
            pair = self._hungriest(waiting)
            place = None if pair is None else self._launcher.place(self._needs[pair])
            if pair is None or place is None:
                return
            mine = [cell for cell in waiting if cell.pair == pair]
            servers = Servers(mine, self._folder / self._name(pair), place, self._say)
            self._sets.append(EngineSet(pair, place, servers))

    def shrink(self, waiting: Sequence[Cell]) -> None:
        """Stop the sets that no waiting cell needs.

        Args:
            waiting: cells that were not started, and may yet be.
        """
        cells = Counter(cell.pair for cell in waiting)
        # A set that still waits for its place is stopped before one whose servers may answer.
        for engines in sorted(
            self._sets, key=lambda engines: engines.used or engines.place.ready()
        ):
            idle = [o for o in self._sets if o.pair == engines.pair and not o.running]
            gone = engines.place.lost() is not None
            if not engines.running and (gone or len(idle) > cells[engines.pair]):
                self._sets.remove(engines)
                engines.stop()

    def stop(self) -> None:
        """Stop all of them."""
        for engines in self._sets:
            engines.servers.wind_down()  # all together: each may take its time
        while self._sets:
            self._sets.pop().stop()

    def _hungriest(self, waiting: Sequence[Cell]) -> str | None:
        """The pair that gets the next set; None: no pair needs one."""
        cells = Counter(cell.pair for cell in waiting)
        have = Counter(engines.pair for engines in self._sets)
        for pair in cells:
            if not have[pair]:
                return pair
        scalable = [
            pair
            for pair, need in self._needs.items()
            if cells[pair] and not need.shared and self._has_no_room(pair, cells[pair])
        ]
        return max(scalable, key=lambda pair: cells[pair] / (have[pair] + 1), default=None)

    def _has_no_room(self, pair: str, cells: int) -> bool:
        beside = self._needs[pair].beside
        return cells > sum(beside - len(o.running) for o in self._sets if o.pair == pair)

    def _name(self, pair: str) -> str:
        """A folder for a set: the pair's name, and a number where it is taken."""
        used = {engines.servers.log.parent.name for engines in self._sets}
        number, name = 1, pair
        while name in used:
            number += 1
            name = f"{pair}+{number}"
        return name
