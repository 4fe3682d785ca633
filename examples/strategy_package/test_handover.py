"""Golden traces: what was written and kept, call by call, without an engine."""

from handover import Handover

from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says

BEGINNING = Says("First, ", ending="length")


def test_a_likely_beginning_is_finished_by_the_target():
    played = play(Handover, draft=[BEGINNING], target=["then."], scores=[0.3])
    assert played.trace() == ["draft 0: First, ", "takeover 1: then."]
    assert played.called() == ["draft/draft 0", "target/score 0", "target/takeover 1"]
    assert played.resumed().trace() == played.trace()  # after a crash it goes the same way


def test_an_unlikely_beginning_is_thrown_away():
    played = play(Handover, draft=[BEGINNING], target=["Anew."], scores=[1.2])
    assert played.trace() == ["(draft 0: First, )", "takeover 1: Anew."]


def test_a_beginning_that_holds_the_answer_needs_no_end():
    played = play(Handover, draft=[r"\boxed{4}"], target=["never asked"], scores=[0.1])
    assert (played.record.text, played.record.finish) == (r"\boxed{4}", "answer")
