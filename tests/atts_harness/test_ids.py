"""Contexts that remember their spans: to everybody else they are tuples of ids."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness import ids as of_ids
from atts_harness.errors import BadRequestError
from atts_harness.guards import check_ids

ID = st.integers(0, 2**20)
SPANS = st.lists(st.lists(ID, max_size=40).map(tuple), min_size=1, max_size=8)


@settings(deadline=None)
@given(SPANS)
def test_a_joined_context_is_the_tuple_of_its_ids(spans):
    flat = tuple(id_ for span in spans for id_ in span)
    joined = of_ids.join(spans)
    assert joined == flat
    assert hash(joined) == hash(flat)
    assert [*map(tuple, joined.spans)] == [span for span in spans if span]


@settings(deadline=None)
@given(SPANS)
def test_what_is_derived_from_spans_is_what_the_whole_gives(spans):
    flat = tuple(id_ for span in spans for id_ in span)
    for ids in (of_ids.join(spans), flat):
        assert msgspec.json.decode(of_ids.as_json(ids)) == list(flat)
        assert of_ids.as_msgpack(ids) == msgspec.msgpack.encode(flat)
        if flat:
            assert of_ids.bounds(ids) == (min(flat), max(flat))


@pytest.mark.parametrize("count", [0, 15, 16, 65535, 65536])
def test_message_packs_headers_at_their_limits(count):
    ids = (7,) * count
    assert of_ids.as_msgpack(of_ids.join([ids])) == msgspec.msgpack.encode(ids)


def test_a_span_is_worked_on_once():
    span = of_ids.Span((3, 1, 2))
    first, second = of_ids.join([span, (9,)]), of_ids.join([span, (8,)])
    assert first.spans[0] is second.spans[0] is span
    assert of_ids.spans_of(first)[0].json is of_ids.spans_of(second)[0].json


@pytest.mark.parametrize("wrong", [-1, 300])
def test_an_id_outside_the_vocabulary_is_found_in_any_span(wrong):
    with pytest.raises(BadRequestError, match=f"id {wrong} is outside the vocabulary of 300"):
        check_ids(of_ids.join([(1, 2), (5, wrong), (4,)]), 300)
