"""One model in both roles."""

from atts_controls.one_model import OneModel

from atts_harness.testing.play import play
from atts_harness.testing.scripted import Says


def test_the_target_drafts_scores_and_takes_over():
    played = play(
        OneModel,
        {"rate": 1.0, "turns": 1},
        target=[Says("draft", ending="length"), " and more"],
        scores=0.7,
    )
    assert played.called() == ["target/draft 0", "target/score 0", "target/takeover 0"]
    assert played.record.text == "draft and more"
    assert played.draft.served == []


def test_it_asks_for_no_draft_model():
    assert OneModel.roles == ("target",)
