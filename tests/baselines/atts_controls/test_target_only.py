"""The target alone: one call, or chunks with a look for an answer."""

import pytest
from atts_controls.target_only import TargetOnly

from atts_harness.errors import SettingError
from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says


def test_one_call_up_to_the_budget():
    played = play(TargetOnly, target=[r"Well, \boxed{1} it is."], max_tokens=500)
    assert played.called() == ["target/takeover 0"]
    assert played.record.text == r"Well, \boxed{1} it is."
    assert played.target.served[0].request.max_tokens == 500


def test_a_spent_budget_is_a_truncated_sample():
    played = play(TargetOnly, target=["x" * 50], max_tokens=10)
    assert (played.record.text, played.record.finish) == ("x" * 10, "budget")
    assert played.record.truncated


def test_chunks_stop_at_the_answer():
    chunks = [Says("so ", ending="length"), Says(r"\boxed{1} ", ending="length"), "never asked"]
    played = play(TargetOnly, {"chunk_tokens": 20}, target=chunks)
    assert played.called() == ["target/takeover 0", "target/takeover 1"]
    assert (played.record.text, played.record.finish) == (r"so \boxed{1} ", "answer")


def test_chunks_end_where_the_target_ends_even_at_once():
    chunks = [Says("so ", ending="length"), "", "never asked"]
    played = play(TargetOnly, {"chunk_tokens": 20}, target=chunks)
    assert (played.record.text, played.record.finish) == ("so ", "eos")


def test_chunks_may_be_steps():
    played = play(TargetOnly, {"chunk_tokens": 20, "turn_stop": "\n\n"}, target=["a\n\nb", "b"])
    assert played.trace() == ["takeover 0: a\n\n", "takeover 1: b"]


def test_a_tasks_stop_ends_the_call_and_is_cut():
    played = play(TargetOnly, target=["one\nQ: two"], until=["Q:"])
    assert (played.record.text, played.record.finish) == ("one\n", "until")


def test_the_record_says_which_speculative_decoding_the_engine_did():
    engine = {"roles": {"target": {"speculative": {"method": "eagle"}}}}
    played = play(TargetOnly, target=["a"], provenance=engine)
    assert played.record.notes == {"speculative decoding": {"method": "eagle"}}
    assert play(TargetOnly, target=["a"]).record.notes == {}


def test_options_of_other_strategies_are_refused():
    with pytest.raises(SettingError, match="draft_tokens"):
        play(TargetOnly, {"draft_tokens": 5})
