"""The segments of a sample in the order in which they were asked for, kept and thrown away."""

from __future__ import annotations

from dataclasses import dataclass

from atts_harness.records import SegmentRecord
from atts_harness.transcript import Segment, Transcript


@dataclass(frozen=True, slots=True)
class _Origin:
    """Which call a segment came from: its number in the sample, and its attempt."""

    segment: Segment
    number: int
    attempt: int


class Segments:
    """Remembers which call each segment came from, and what was thrown away."""

    def __init__(self) -> None:
        self._count = 0
        self._origins: dict[int, _Origin] = {}  # by identity; an origin holds its segment alive
        self._latest: dict[tuple[str, str, int], _Origin] = {}  # by author, kind and turn
        self._discarded: list[tuple[int, SegmentRecord]] = []

    def next_number(self) -> int:
        """The number of the next generation; its segment keeps it."""
        self._count += 1
        return self._count

    def wrote(self, segment: Segment, number: int, attempt: int) -> None:
        """Remember which call a segment came from."""
        origin = _Origin(segment, number, attempt)
        self._origins[id(segment)] = origin
        self._latest[segment.author, segment.kind, segment.turn] = origin

    def discard(self, segment: Segment) -> None:
        """Note text that was generated and is not kept."""
        if segment:
            place = self._place(segment, self._count)
            self._discarded.append((place, self._record(segment, kept=False)))

    def in_order(self, transcript: Transcript) -> list[SegmentRecord]:
        """Segments kept and thrown away: by turn, and in a turn in the order of their calls."""
        place, placed = 0, []
        for segment in transcript.segments:
            place = max(place, self._place(segment, place))  # what was kept stays in order
            placed.append((place, self._record(segment, kept=True)))
        merged = [*placed, *self._discarded]
        return [record for _, record in sorted(merged, key=lambda r: (r[1].turn, r[0]))]

    def _place(self, segment: Segment, otherwise: int) -> int:
        """The number of the call that a segment came from; inserted text has none."""
        origin = self._origin(segment)
        return otherwise if origin is None else origin.number

    def _origin(self, segment: Segment) -> _Origin | None:
        """The call of a segment; one that the strategy cut is found by author, kind and turn."""
        origin = self._origins.get(id(segment))
        return origin or self._latest.get((segment.author, segment.kind, segment.turn))

    def _record(self, segment: Segment, *, kept: bool) -> SegmentRecord:
        origin = self._origin(segment)
        return SegmentRecord(
            author=segment.author,
            text=segment.text,
            tokens=len(segment),
            turn=segment.turn,
            kind=segment.kind,
            ending=segment.ending,
            kept=kept,
            attempt=0 if origin is None else origin.attempt,
        )
