"""The row table against a plain model of it: what it says is cached really is."""

from __future__ import annotations

import pytest
from atts_transformers.rows import KEY, CacheRow, RowTable, common_prefix
from hypothesis import given, settings
from hypothesis import strategies as st

relaxed = settings(deadline=None)
IDS = st.lists(st.integers(0, 1), max_size=12)


@relaxed
@given(IDS, IDS, st.integers(0, 14))
def test_common_prefix(a: list[int], b: list[int], limit: int) -> None:
    expected = 0
    for x, y in zip(a[:limit], b[:limit], strict=False):
        if x != y:
            break
        expected += 1
    assert common_prefix(a, b, limit) == expected


def run(table: RowTable, ids: list[int], limit: int | None = None) -> tuple[CacheRow, int]:
    """Place a request and compute it whole."""
    place = table.place(ids, len(ids) - 1 if limit is None else limit)
    assert place is not None
    place.row.ids = list(ids)
    return place.row, place.reused


PROMPT = list(range(100, 100 + 2 * KEY))


def test_the_next_turn_of_a_sample_takes_its_row_over() -> None:
    table = RowTable(4)
    row, reused = run(table, PROMPT)
    assert reused == 0
    table.release(row)
    again, reused = run(table, [*PROMPT, 1, 2, 3])
    assert again is row
    assert reused == len(PROMPT)


def test_a_sibling_gets_a_copy_and_the_first_keeps_its_row() -> None:
    table = RowTable(4)
    ids = [*PROMPT, *range(KEY)]
    row, _ = run(table, ids)
    place = table.place([*PROMPT, 7, 8], len(PROMPT) + 1)
    assert place is not None
    assert place.copy_from is row
    assert place.reused == len(PROMPT)
    assert row.ids == ids


def test_a_short_rejected_tail_is_given_up() -> None:
    table = RowTable(4)
    row, _ = run(table, [*PROMPT, 1, 2])
    table.release(row)
    again, reused = run(table, [*PROMPT, 5])
    assert again is row
    assert reused == len(PROMPT)


def test_no_more_than_the_limit_comes_from_the_cache() -> None:
    table = RowTable(4)
    row, _ = run(table, PROMPT)
    table.release(row)
    _, reused = run(table, PROMPT, limit=KEY + 3)
    assert reused == KEY + 3


def test_a_prefix_that_is_being_computed_is_waited_for() -> None:
    table = RowTable(4)
    first = table.place(PROMPT, len(PROMPT) - 1)
    assert first is not None
    assert table.place([*PROMPT, 1], len(PROMPT)) is None
    first.row.ids = list(PROMPT)
    second = table.place([*PROMPT, 1], len(PROMPT))
    assert second is not None
    assert second.reused == len(PROMPT)


def test_the_row_idle_for_longest_is_evicted_and_running_ones_never() -> None:
    table = RowTable(2)
    prompts = [[n] * (KEY + 4) for n in range(4)]
    rows = [run(table, ids)[0] for ids in prompts[:2]]
    assert table.place(prompts[2], 1) is None
    table.release(rows[1])
    table.release(rows[0])
    assert run(table, prompts[2])[0] is rows[1]
    assert run(table, prompts[3])[0] is rows[0]


def test_forgotten_rows_are_not_reused() -> None:
    table = RowTable(1)
    row, _ = run(table, PROMPT)
    table.release(row, keep=False)
    assert run(table, PROMPT)[1] == 0


def test_shrinking_spares_running_rows() -> None:
    table = RowTable(3)
    rows = [run(table, [n] * (KEY + 4))[0] for n in range(3)]
    table.release(rows[0])
    assert not table.shrink(1)
    table.release(rows[1])
    table.release(rows[2])
    assert table.shrink(1)
    assert [row.index for row in table.rows] == [0]


@pytest.mark.parametrize(("longer", "reused"), [(True, len(PROMPT)), (False, 0)])
def test_rows_that_cannot_be_cut_are_only_extended(longer: bool, reused: int) -> None:
    table = RowTable(4, divisible=False)
    row, _ = run(table, PROMPT)
    table.release(row)
    ids = [*PROMPT, 1] if longer else [*PROMPT[:-1], 1, 1]
    place = table.place(ids, len(ids) - 1)
    assert place is not None
    assert place.reused == reused
    assert place.copy_from is None


@relaxed
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 30)), max_size=40),
    st.booleans(),
)
def test_whatever_comes_the_cache_holds_what_it_says(
    requests: list[tuple[int, int, int]], divisible: bool
) -> None:
    """`memory` stands for the tensors: it is written only as the engine writes them."""
    table = RowTable(3, divisible=divisible)
    memory: dict[int, list[int]] = {}
    running: list[CacheRow] = []
    for problem, branch, size in requests:
        ids = [problem] * (KEY + 2) + [branch] * size
        place = table.place(ids, len(ids) - 1)
        if place is None:
            assert running
            table.release(running.pop(0))
            continue
        if place.copy_from is not None:
            assert divisible
            memory[place.row.index] = memory[place.copy_from.index][: place.reused]
        assert memory.get(place.row.index, [])[: place.reused] == ids[: place.reused]
        assert place.row not in running
        memory[place.row.index] = list(ids)
        place.row.ids = list(ids)
        running.append(place.row)
        if len(running) > 2:
            table.release(running.pop(0))
