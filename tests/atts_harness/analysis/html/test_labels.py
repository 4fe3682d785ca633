"""Where names go in figures."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.analysis.html import labels


@settings(deadline=None)
@given(st.lists(st.floats(0, 200), max_size=15))
def test_labels_at_the_ends_of_lines_do_not_touch(heights):
    placed = labels.spread(heights, 0, 200)
    assert len(placed) == len(heights)
    for (want, got), (other_want, other_got) in itertools.combinations(
        zip(heights, placed, strict=True), 2
    ):
        assert abs(got - other_got) >= labels.LINE - 1e-9
        assert (want < other_want) <= (got < other_got)
    assert all(-1e-9 <= at <= 200 + 1e-9 for at in placed)


def touching(places, widths):
    """Pairs of labels that cover each other."""
    boxes = [
        (x, y, x + width, y + labels.LINE) for (x, y), width in zip(places, widths, strict=True)
    ]
    pairs = itertools.combinations(boxes, 2)
    return [
        (one, other)
        for one, other in pairs
        if min(one[2], other[2]) > max(one[0], other[0])
        and min(one[3], other[3]) > max(one[1], other[1])
    ]


def test_labels_beside_points_keep_off_each_other_where_there_is_room():
    anchors = [(100.0, 100.0), (104.0, 101.0), (108.0, 99.0)]
    widths = [labels.width_of(text) for text in ("one", "two", "three")]
    places = labels.beside(anchors, widths, (0, 0, 400, 280))
    assert None not in places
    assert touching(places, widths) == []


def test_a_label_without_a_free_place_has_none():
    anchors = [(60.0 + 6 * n, 30.0) for n in range(12)]
    places = labels.beside(anchors, [120.0] * 12, (50, 4, 380, 240))
    placed = [place for place in places if place is not None]
    assert 0 < len(placed) < 12
    assert touching(placed, [120.0] * len(placed)) == []
    assert all(50 <= x <= 260 and 4 <= y <= 228 for x, y in placed)


def test_a_label_is_led_to_its_point_only_where_it_is_far_from_it():
    assert labels.leader((100.0, 100.0), (106.0, 94.0), 20.0) is None
    start, end = labels.leader((100.0, 100.0), (180.0, 94.0), 20.0)
    assert (start, end) == ((100.0, 100.0), (180.0, 100.0))


def test_labels_keep_off_a_line_that_joins_points():
    anchors, widths = [(100.0, 100.0), (300.0, 100.0)], [100.0, 0.0]
    ((x, y), nothing) = labels.beside(anchors, widths, (0, 0, 400, 280))
    assert nothing is None
    assert (x, y + labels.LINE / 2) == (106.0, 100.0)  # on the line, were it one
    ((_, y), _) = labels.beside(anchors, widths, (0, 0, 400, 280), [(anchors[0], anchors[1])])
    assert not y - labels.STEP < 100 < y + labels.LINE + labels.STEP


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=3, max_size=60))
def test_a_name_is_cut_in_its_middle_to_the_room_that_it_has(name):
    fitting = labels.cut(name, 60.0)
    if labels.width_of(name) <= 60:
        assert fitting == name
    else:
        assert labels.width_of(fitting) <= 60
        head, tail = fitting.split("…")
        assert name.startswith(head)
        assert name.endswith(tail)
