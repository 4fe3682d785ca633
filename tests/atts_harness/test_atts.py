"""ATTS's golden traces: every branch of a turn, and the published variants."""

import math

import numpy as np
import pytest

from atts_harness.atts import ATTS, PAPER, ATTSOptions
from atts_harness.conformal.bank import Bank
from atts_harness.conformal.bankfile import write_bank
from atts_harness.errors import BackendUnavailableError, MalformedReplyError, SettingError
from atts_harness.testing.play import play
from atts_harness.testing.scripted import ByteTokenizer, Says

# Scores from 0.1 to 1.0: at rate 0.4 the p-value of 0.75 is 4/11, that of 0.65 is 5/11.
SCORES = tuple(n / 10 for n in range(1, 11))
GOOD, BAD = 0.65, 0.75


def cut(text):
    return Says(text, ending="length")


@pytest.fixture
def bank(tmp_path):
    path = tmp_path / "bank.json"
    write_bank(
        Bank(nonconformities=SCORES, turns=(0,) * 10, questions=tuple(range(10))),
        path,
    )
    return {"bank": str(path), "coverage": "marginal", "ties": "conservative", "rate": 0.4}


def test_accepted_turns_follow_each_other_exactly(bank):
    played = play(ATTS, bank, draft=[cut("one, t"), "wo."], scores=[GOOD, GOOD])
    assert played.trace() == ["draft 0: one, t", "draft 1: wo."]
    assert played.record.text == "one, two."
    assert played.called() == ["draft/draft 0", "target/score 0", "draft/draft 1", "target/score 1"]
    assert (played.took_over(), played.record.finish) == ([False, False], "eos")


def test_a_rejected_draft_stays_and_the_target_writes_on(bank):
    played = play(ATTS, bank, draft=[cut("d0 "), "d1"], target=[cut("t0 ")], scores=[BAD, GOOD])
    assert played.trace() == ["draft 0: d0 ", "takeover 0: t0 ", "draft 1: d1"]
    takeover = played.target.served[1].request
    assert played.target.tokenizer.decode(takeover.ids).endswith("<|assistant|>d0 ")
    assert takeover.max_tokens == 500
    assert played.record.kept_tokens == {"draft": 5, "target": 3}


def test_a_rejected_draft_may_be_replaced(bank):
    played = play(
        ATTS, bank | {"on_reject": "replace"},
        draft=[cut("d0 "), "d1"], target=[cut("t0 ")], scores=[BAD, GOOD],
    )  # fmt: skip
    assert played.trace() == ["(draft 0: d0 )", "takeover 0: t0 ", "draft 1: d1"]
    assert played.record.text == "t0 d1"
    assert played.target.served[1].request.ids == played.draft.served[0].request.ids
    assert played.record.calls["draft/draft"].completion_tokens == 3 + 3


@pytest.mark.parametrize(
    ("score", "p_value"),
    [(0.05, 11 / 11), (0.65, 5 / 11), (0.7, 5 / 11), (0.75, 4 / 11), (1.0, 2 / 11), (9.0, 1 / 11)],
)
def test_a_turn_is_taken_over_iff_its_p_value_is_at_most_the_rate(bank, score, p_value):
    played = play(ATTS, bank | {"turns": 1}, draft=[cut("d")], target=["t"], scores=[score])
    (decision,) = played.record.decisions
    assert decision.p_value == pytest.approx(p_value)
    assert decision.takeover == (p_value <= 0.4)
    assert (decision.reason, decision.threshold, decision.bank_size) == ("p-value", 0.4, 10)
    assert decision.nonconformity == pytest.approx(score)


def test_at_16_scores_and_rate_04_six_ranks_of_17_take_over(tmp_path):
    write_bank(
        Bank(
            nonconformities=tuple(float(n) for n in range(1, 17)),
            turns=(0,) * 16,
            questions=(0,) * 16,
        ),
        tmp_path / "bank.json",
    )
    options = {"bank": str(tmp_path / "bank.json"), "coverage": "marginal", "turns": 1}
    taken = [
        play(ATTS, options, draft=[cut("d")], target=["t"], scores=[n + 0.5]).took_over()[0]
        for n in range(17)
    ]
    assert taken == [False] * 11 + [True] * 6


def test_the_score_covers_every_token_of_the_draft_and_nothing_else(bank):
    played = play(ATTS, bank | {"turns": 2}, draft=[cut("abc"), cut("de")], scores=[GOOD, GOOD])
    first, second = (served.request for served in played.target.served)
    tokens = played.target.tokenizer
    assert tokens.decode(first.ids[first.start :]) == "abc"
    assert tokens.decode(second.ids[second.start :]) == "de"
    assert second.ids[: second.start] == first.ids


def test_a_score_that_failed_is_a_takeover_counted_apart_and_never_ranked(bank):
    played = play(
        ATTS, bank,
        draft=[cut("d0 "), "d1"], target=[cut("t0 ")],
        scores=[BackendUnavailableError("gone"), GOOD],
    )  # fmt: skip
    first, second = played.record.decisions
    assert (first.takeover, first.reason, first.p_value, first.nonconformity) == (
        True, "score-failed", None, None,
    )  # fmt: skip
    assert second.reason == "p-value"
    assert played.record.calls["target/score"].failed == 1
    assert played.record.text == "d0 t0 d1"


@pytest.mark.parametrize("broken", [[math.nan], [math.inf]])
def test_a_score_that_is_no_number_is_a_failed_one(bank, broken):
    played = play(ATTS, bank | {"turns": 1}, draft=[cut("d")], target=["t"], scores=[broken])
    assert played.record.decisions[0].reason == "score-failed"
    assert played.record.failed is None


def test_a_score_is_tried_again_before_it_fails(bank, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)
    played = play(
        ATTS, bank | {"turns": 1},
        draft=[cut("d")], scores=[MalformedReplyError("cut off"), GOOD], retries=1,
    )  # fmt: skip
    assert played.record.decisions[0].reason == "p-value"
    assert played.record.calls["target/score"].retries == 1


def test_an_empty_draft_asks_the_target_and_is_never_scored(bank):
    played = play(ATTS, bank, draft=["", "d1"], target=[cut("t0 ")], scores=[GOOD])
    assert played.called() == [
        "draft/draft 0", "target/takeover 0", "draft/draft 1", "target/score 1",
    ]  # fmt: skip
    assert [d.reason for d in played.record.decisions] == ["empty-draft", "p-value"]
    assert played.record.text == "t0 d1"


def test_an_empty_draft_may_end_the_sample(bank):
    played = play(ATTS, bank | {"on_empty": "end"}, draft=[cut("d0 "), ""], scores=[GOOD])
    assert (played.record.text, played.record.finish) == ("d0 ", "eos")
    assert len(played.record.decisions) == 1


def test_an_empty_draft_and_an_empty_takeover_end_the_sample(bank):
    played = play(ATTS, bank, draft=[cut("d0 "), "", "never asked"], target=[""], scores=[GOOD])
    assert (played.record.text, played.record.finish) == ("d0 ", "eos")
    assert played.draft.unused == 1


def test_a_takeover_of_a_finished_draft_that_adds_nothing_changes_nothing(bank):
    played = play(ATTS, bank, draft=["done"], target=[""], scores=[BAD])
    assert (played.record.text, played.record.finish) == ("done", "eos")
    assert played.record.calls["target/takeover"].calls == 1


def test_a_takeover_may_write_on_behind_a_finished_draft(bank):
    played = play(ATTS, bank, draft=["done", "."], target=[cut(" - or not")], scores=[BAD, GOOD])
    assert played.record.text == "done - or not."


def test_an_answer_ends_the_sample_whoever_writes_it(bank):
    by_draft = play(ATTS, bank, draft=[cut(r"\boxed{1} and")], scores=[GOOD])
    assert (by_draft.record.text, by_draft.record.finish) == (r"\boxed{1} and", "answer")
    by_target = play(ATTS, bank, draft=[cut("so")], target=[cut(r" \boxed{1}")], scores=[BAD])
    assert (by_target.record.text, by_target.record.finish) == (r"so \boxed{1}", "answer")


def test_an_answer_over_two_chunks_is_found(bank):
    played = play(ATTS, bank, draft=[cut(r"so \boxed{1"), cut("2}.")], scores=[GOOD, GOOD])
    assert (played.record.text, played.record.finish) == (r"so \boxed{12}.", "answer")


def test_the_prompts_own_box_is_no_answer(bank):
    played = play(
        ATTS, bank | {"turns": 2}, prompt=r"Put it in \boxed{}: \boxed{7}?",
        draft=[cut("a"), cut("b")], scores=[GOOD, GOOD],
    )  # fmt: skip
    assert (played.record.text, played.record.finish) == ("ab", "turns")


def test_going_on_behind_an_answer_is_an_option(bank):
    played = play(
        ATTS, bank | {"stop_at_answer": False},
        draft=[cut(r"\boxed{1} or "), r"\boxed{2}"], scores=[GOOD, GOOD],
    )  # fmt: skip
    assert played.record.text == r"\boxed{1} or \boxed{2}"


def test_a_tasks_stop_over_two_chunks_ends_the_sample_and_is_cut(bank):
    played = play(
        ATTS, bank, until=["\nQ:"], draft=[cut("yes\nQ"), cut(": more")], scores=[GOOD, GOOD]
    )
    assert (played.record.text, played.record.finish) == ("yes", "until")


def test_the_budget_holds_for_drafts_and_takeovers(bank):
    in_draft = play(ATTS, bank, draft=["x" * 99], scores=[GOOD], max_tokens=10)
    assert (in_draft.record.text, in_draft.record.finish) == ("x" * 10, "budget")
    assert in_draft.record.truncated
    in_takeover = play(
        ATTS, bank | {"draft_tokens": 6},
        draft=["x" * 99], target=["y" * 99], scores=[BAD], max_tokens=10,
    )  # fmt: skip
    assert in_takeover.record.text == "x" * 6 + "y" * 4
    no_room = play(ATTS, bank | {"draft_tokens": 10}, draft=["x" * 99], scores=[BAD], max_tokens=10)
    assert no_room.called() == ["draft/draft 0", "target/score 0"]
    assert no_room.took_over() == [True]


def test_turns_are_limited(bank):
    played = play(ATTS, bank | {"turns": 3}, draft=[cut("d")] * 3, scores=GOOD)
    assert (played.record.text, played.record.finish, played.record.turns) == ("ddd", "turns", 3)
    assert played.record.truncated


def test_turns_may_end_at_a_stop_which_stays(bank):
    played = play(
        ATTS, bank | {"turn_stop": "\n\n"},
        draft=["a\n\nb", "c"], target=["T\n\nU"], scores=[BAD, GOOD],
    )  # fmt: skip
    assert played.trace() == ["draft 0: a\n\n", "takeover 0: T\n\n", "draft 1: c"]


def test_nothing_stands_between_chunks_unless_the_papers_blank_line_is_wanted(bank):
    script = {"draft": [cut("d0"), cut("d1")], "target": [cut("t0")], "scores": [BAD, GOOD]}
    assert play(ATTS, bank | {"turns": 2}, **script).record.text == "d0t0d1"
    paper = play(ATTS, bank | {"turns": 2, "paper_join": True}, **script)
    assert paper.record.text == "d0t0\n\nd1"
    score = [s for s in paper.target.served if hasattr(s.request, "start")][1].request
    assert paper.target.tokenizer.decode(score.ids[score.start :]) == "d1"


def test_the_raw_score_template_is_the_papers_ct0(bank):
    played = play(ATTS, bank | {"turns": 1, "score_template": "raw"}, draft=[cut("d")], scores=GOOD)
    assert played.target.served[0].text == "Q\nd"


def test_two_vocabularies_share_the_text_and_keep_their_ids(bank):
    played = play(
        ATTS, bank,
        draft=[cut("a</think>.\n\n"), "end"], target=[cut("t.\n\n")], scores=[BAD, GOOD],
        draft_tokenizer=ByteTokenizer(shift=9), target_tokenizer=ByteTokenizer((".\n\n",)),
    )  # fmt: skip
    assert played.record.text == "a</think>.\n\nt.\n\nend"
    score, takeover, later = (served.request for served in played.target.served)
    assert len(score.ids) - score.start == 3
    assert later.ids[: len(takeover.ids)] == takeover.ids == score.ids


def test_online_each_score_ranks_among_those_before_it():
    played = play(
        ATTS, {"calibration": "online", "coverage": "marginal", "turns": 4, "rate": 0.5},
        draft=[cut("d")] * 4, target=[cut("t")] * 4, scores=[1.0, 2.0, 0.5, 3.0],
    )  # fmt: skip
    sizes = [decision.bank_size for decision in played.record.decisions]
    assert sizes == [0, 1, 2, 3]
    assert played.record.decisions[3].p_value <= 1 / 4


def test_presampled_first_drafts_wait_for_each_other_only():
    played = play(
        ATTS,
        {"calibration": "presample", "coverage": "conditional", "turns": 2, "rate": 0.4,
         "ties": "conservative"},
        draft=lambda _: cut("d"), target=lambda _: cut("t"),
        scores=lambda asked: SCORES[asked.number], repeats=4,
    )  # fmt: skip
    kinds = [(r.key.kind, r.key.turn) for r in played.calls]
    assert max(n for n, k in enumerate(kinds) if k == ("score", 0)) < min(
        n for n, k in enumerate(kinds) if k[0] == "takeover" or k[1] == 1
    )
    assert [record.decisions[0].bank_size for record in played.records] == [3] * 4
    assert sum(record.decisions[0].takeover for record in played.records) == 1


@pytest.fixture
def paper(tmp_path):
    """The published settings with a published bank: first-turn perplexities 1.01 to 2.00."""
    path = tmp_path / "ppls_math500.npy"
    np.save(path, np.array([1 + n / 100 for n in range(1, 101)]))
    own = {k: v for k, v in PAPER.settings.items() if k in ATTSOptions.__struct_fields__}
    return own | {"bank": str(path)}


def test_the_published_rule_is_percentile_06_of_a_first_turn_bank(paper):
    for perplexity, below, takeover in [
        (1.005, 0, False),
        (1.595, 59, False),
        (1.605, 60, True),
        (3.0, 100, True),
    ]:
        played = play(
            ATTS, paper | {"turns": 1},
            draft=[cut("d")], target=["t"], scores=[math.log(perplexity)],
        )  # fmt: skip
        (decision,) = played.record.decisions
        assert decision.takeover is takeover
        assert decision.p_value == pytest.approx(1 - below / 100)


def test_the_published_run_keeps_joins_and_ends_as_published(paper):
    good, bad = math.log(1.2), math.log(1.9)
    played = play(
        ATTS, paper,
        draft=[cut("d0"), cut("d1"), ""], target=[cut("t0")], scores=[bad, good],
    )  # fmt: skip
    assert played.record.text == "d0t0\n\nd1\n\n"
    assert (played.took_over(), played.record.finish) == ([True, False], "eos")
    assert played.draft.served[0].request.max_tokens == 500


def test_an_empty_takeover_ends_a_sample_only_where_the_transcript_is_closed(bank):
    played = play(ATTS, bank, draft=[cut("d0 "), "never asked"], target=[""], scores=[BAD])
    assert (played.record.text, played.record.finish) == ("d0 ", "eos")


@pytest.mark.parametrize(
    "given",
    [
        {"rate": 1.5},
        {"turns": 0},
        {"draft_tokens": "many"},
        {"on_reject": "drop"},
        {"budget": "7/4"},
        {"coverage": "global"},
        {"threshold": 7},
        {"bank": "gone.json"},
    ],
)
def test_bad_options_are_named_before_anything_is_generated(given):
    with pytest.raises(SettingError, match=next(iter(given))):
        play(ATTS, given, provenance={"task": "played"})


HALF = Says(ids=tuple("é".encode()[:1]), ending="length")
"""The first half of a character: held back, so the draft is empty though nothing was closed."""


def test_a_character_that_is_held_back_does_not_end_a_sample_as_closed(bank):
    options = {**bank, "on_empty": "end", "turns": 3}
    played = play(ATTS, options, draft=[HALF, "done"], scores=[GOOD])
    assert played.trace() == ["draft 1: done"]
    assert played.called() == ["draft/draft 0", "draft/draft 1", "target/score 1"]
    assert (played.record.finish, played.took_over()) == ("eos", [False])


def test_a_closed_turn_still_ends_a_sample_and_a_room_too_small_is_the_budget(bank):
    options = {**bank, "on_empty": "end"}
    assert play(ATTS, options, draft=[""]).record.finish == "eos"
    played = play(ATTS, options, draft=[HALF, HALF], max_tokens=1)
    assert (played.record.finish, played.record.truncated) == ("budget", True)
    assert played.called() == ["draft/draft 0"]


def test_the_target_is_asked_for_a_held_back_character_where_empty_drafts_are_its(bank):
    played = play(ATTS, {**bank, "on_empty": "takeover"}, draft=[HALF], target=["é."])
    assert played.record.text == "é."
    assert played.took_over() == [True]


@pytest.mark.parametrize("on_reject", ["replace", "continue"])
def test_a_character_of_more_tokens_than_a_turn_is_written_in_the_next(bank, on_reject):
    """It was held back again and again, and the sample ended without a word."""
    options = {**bank, "on_empty": "end", "on_reject": on_reject, "turns": 4}
    played = play(
        ATTS,
        {**options, "draft_tokens": 1, "target_tokens": 1},
        draft=[HALF, Says("é", ending="length"), "!", ""],
        scores=[GOOD, GOOD],
    )
    assert played.record.text == "é!"
    asked = [served.request.max_tokens for served in played.draft.served]
    assert asked == [1, 1 + 3, 1, 1]
