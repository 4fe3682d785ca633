"""SpecReason's rules, as published, and the options that change them."""

import pytest
from atts_specreason.specreason import JUDGE_PREFILL, JUDGE_QUESTION, SpecReason

from atts_harness.errors import SettingError
from atts_harness.testing.play import play
from atts_harness.testing.scripted import ByteTokenizer, Says

MERGED = ByteTokenizer(("85", " 7", ".\n\n"))
END = "Answer: 4"


def digit(text, **alternatives):
    """A judge's reply: a token, and its alternatives by probability's logarithm."""
    return Says(text, top_logprobs=(alternatives or {text: -0.1},))


def cut(text):
    return Says(text, ending="length")


def test_a_good_step_is_kept_and_a_bad_one_is_written_by_the_target():
    played = play(
        SpecReason,
        draft=["one.\n\ntwo", "bad.\n\n", END],
        target=[digit("7"), digit("6"), "good.\n\n", digit("9")],
    )
    assert played.trace() == [
        "draft 0: one.\n\n",
        "(draft 1: bad.\n\n)",
        "takeover 1: good.\n\n",
        "draft 2: Answer: 4",
        "insert 2: \n\n",
    ]
    assert played.called() == [
        "draft/draft 0", "target/judge 0",
        "draft/draft 1", "target/judge 1", "target/takeover 1",
        "draft/draft 2", "target/judge 2",
    ]  # fmt: skip
    assert played.took_over() == [False, True, False]
    assert [(j["score"], j["kept"]) for j in played.record.notes["judged"]] == [
        (7.0, True), (6.0, False), (9.0, True),
    ]  # fmt: skip


def test_the_judging_turn_is_the_transcripts_ids_and_a_tail():
    played = play(SpecReason, draft=["one.\n\n", END], target=[digit("9"), digit("9")])
    first, second = (served.request for served in played.target.served)
    tokens = played.target.tokenizer
    tail = tokens.decode(first.ids).partition("one.\n\n")[2]
    assert tail == f"<|end|><|user|>{JUDGE_QUESTION}<|end|><|assistant|>{JUDGE_PREFILL}"
    draft = played.draft.served[1].request
    assert draft.ids == first.ids[: len(draft.ids)] == second.ids[: len(draft.ids)]
    assert (first.max_tokens, first.sampling.temperature, first.top_logprobs) == (1, 0.0, 10)


def test_the_target_redoes_a_step_from_the_very_prefix_the_draft_had():
    played = play(SpecReason, draft=["bad.\n\n"], target=[digit("0"), END])
    redone = played.target.served[1].request
    assert redone.ids == played.draft.served[0].request.ids
    assert (redone.stop, redone.max_tokens) == (("\n\n",), 512)


@pytest.mark.parametrize(
    ("threshold", "kept"), [(0, True), (3, True), (6.9, True), (7, True), (7.1, False), (9, False)]
)
def test_the_threshold_is_inclusive(threshold, kept):
    played = play(SpecReason, {"threshold": threshold}, draft=[END], target=[digit("7"), END])
    assert played.took_over() == [not kept]


@pytest.mark.parametrize(
    ("reply", "score"),
    [("7", 7), ("0", 0), ("x", 0), (" 7", 0), ("", 0), ("85", 85), ("²", 0)],
)
def test_greedy_reads_the_token_itself(reply, score):
    played = play(
        SpecReason,
        draft=[END],
        target=[Says(reply), END],
        target_tokenizer=ByteTokenizer(("85", " 7", "²")),
    )
    (judged,) = played.record.notes["judged"]
    assert judged["score"] == score
    assert judged["kept"] == (score >= 7)


@pytest.mark.parametrize(
    ("alternatives", "score"),
    [
        ({"8": -0.6931471805599453, "4": -0.6931471805599453}, 6.0),
        ({"9": -1.0, "x": -0.1}, 9.0),
        ({"x": -0.1, " 7": -1.0}, 0.0),
        ({"85": -1.0, "5": -1.0}, 45.0),
    ],
)
def test_average_is_the_mean_over_the_digits_among_the_likeliest(alternatives, score):
    played = play(
        SpecReason,
        {"judging": "average", "threshold": 5},
        draft=[END],
        target=[Says("x", top_logprobs=(alternatives,)), END],
        target_tokenizer=MERGED,
    )
    (judged,) = played.record.notes["judged"]
    assert judged["score"] == pytest.approx(score)
    assert judged["kept"] == (score >= 5)


def test_average_sees_only_as_many_tokens_as_the_judge_returns():
    reply = Says("x", top_logprobs=({"x": -0.1, "9": -3.0, "1": -4.0},))
    options = {"judging": "average", "threshold": 9, "judge_top": 2}
    played = play(SpecReason, options, draft=[END], target=[reply])
    assert played.took_over() == [False]


def test_the_first_steps_may_be_the_targets_unjudged():
    played = play(
        SpecReason,
        {"first_n_steps_target": 2},
        draft=[END],
        target=["one\n\n", "two\n\n", digit("9")],
    )
    assert played.called() == [
        "target/takeover 0", "target/takeover 1", "draft/draft 2", "target/judge 2",
    ]  # fmt: skip
    assert played.record.notes["counts"]["steps the target was not asked about"] == 2
    assert len(played.record.decisions) == 1


def test_first_steps_keep_their_think_close_as_published():
    played = play(
        SpecReason,
        {"first_n_steps_target": 1},
        draft=[END],
        target=["a</think>b\n\n", digit("9")],
    )
    assert played.record.text.startswith("a</think>b\n\n")


@pytest.mark.parametrize("named", [True, False])
def test_think_close_is_deleted_from_steps_without_a_marker(named):
    tokens = ByteTokenizer()
    close = tokens.encode_named("</think>") if named else tokens.encode("</think>")
    step = Says(ids=(*tokens.encode("a"), *close, *tokens.encode("b\n\n")))
    played = play(SpecReason, draft=[step, END], target=[digit("9"), digit("9")])
    assert played.trace()[0] == "draft 0: ab\n\n"
    assert played.record.notes["counts"]["end of thinking deleted"] == 1
    asked = played.draft.served[1].request.ids
    assert asked[-4:] == tokens.encode("ab\n\n")


def test_think_close_is_deleted_from_the_targets_steps_too():
    played = play(SpecReason, draft=["x\n\n", END], target=[digit("0"), "</think>\n\n", digit("9")])
    assert played.trace()[1] == "takeover 0: \n\n"


def test_think_close_stays_beside_a_marker_and_where_told():
    played = play(SpecReason, draft=["a</think>Answer: 1\n\n"], target=[digit("9")])
    assert played.record.text == "a</think>Answer: 1\n\n"
    kept = play(
        SpecReason,
        {"think_close": "keep"},
        draft=["a</think>b\n\n", END],
        target=[digit("9"), digit("9")],
    )
    assert kept.record.text.startswith("a</think>b\n\n")


@pytest.mark.parametrize("text", ["a boxed thing\n\n", "Answer: 4\n\n", "ANSWER: 4\n\n"])
def test_a_marker_anywhere_ends_the_sample_with_or_without_an_answer(text):
    played = play(SpecReason, draft=[text, "never asked"], target=[digit("9")])
    assert played.record.finish == "strategy"
    assert played.record.notes["counts"] == {"ended by a marker without an answer": 1}


def test_a_complete_answer_ends_the_sample_as_an_answer():
    played = play(SpecReason, draft=["so \\boxed{4}\n\n", "never asked"], target=[digit("9")])
    assert played.record.finish == "answer"


def test_only_an_answer_ends_the_sample_where_told():
    played = play(
        SpecReason,
        {"finish_on": "answer"},
        draft=["put it in boxed form\n\n", "so \\boxed{4}\n\n", "never asked"],
        target=[digit("9"), digit("9")],
    )
    assert played.record.finish == "answer"
    assert len(played.draft.served) == 2


def test_a_marker_in_a_rejected_step_ends_nothing():
    played = play(
        SpecReason,
        draft=["boxed nonsense\n\n", END],
        target=[digit("0"), "better\n\n", digit("9")],
    )
    assert played.trace()[1] == "takeover 0: better\n\n"
    assert len(played.record.decisions) == 2


def test_two_equal_steps_end_the_sample_once_there_are_three():
    same = play(SpecReason, draft=["a\n\n", "a\n\n", "a\n\n", "no"], target=[digit("9")] * 3)
    assert len(same.draft.served) == 3
    assert same.record.finish == "strategy"
    assert same.record.notes["counts"] == {"ended by a repeated step": 1}
    apart = play(SpecReason, draft=["a\n\n", "b\n\n", "a\n\n", END], target=[digit("9")] * 4)
    assert len(apart.draft.served) == 4
    unbroken = play(
        SpecReason,
        {"repeat_breaker": False},
        draft=["a\n\n", "a\n\n", "a\n\n", END],
        target=[digit("9")] * 4,
    )
    assert len(unbroken.draft.served) == 4


def test_an_end_of_turn_is_an_ordinary_end_of_a_step_as_published():
    played = play(SpecReason, draft=["one", "two\n\n", END], target=[digit("9")] * 3)
    assert played.record.text == "one\n\ntwo\n\nAnswer: 4\n\n"
    assert played.record.notes["counts"]["draft steps ended by eos"] == 2
    assert "one\n\n<|end|>" in played.target.served[0].text


def test_empty_steps_are_judged_and_end_by_repetition():
    played = play(SpecReason, draft=["a\n\n", "", "", "no"], target=[digit("9")] * 3)
    assert played.record.finish == "strategy"
    assert played.called().count("target/judge 1") == 1
    assert played.record.text == "a\n\n\n\n\n\n"


def test_an_end_of_turn_ends_the_sample_where_told():
    played = play(SpecReason, {"on_eos": "end"}, draft=["one", "no"], target=[digit("9")])
    assert (played.record.text, played.record.finish) == ("one", "eos")
    empty = play(SpecReason, {"on_eos": "end"}, draft=["", "no"], target=[digit("9")])
    assert (empty.record.text, empty.record.finish) == ("", "eos")


def test_a_cut_step_is_continued_exactly_or_as_a_paragraph():
    draft = [cut("half a sen"), END]
    exact = play(SpecReason, draft=draft, target=[digit("9")] * 2)
    assert exact.record.text.startswith("half a senAnswer")
    paper = play(SpecReason, {"paper_join": True}, draft=draft, target=[digit("9")] * 2)
    assert paper.record.text.startswith("half a sen\n\nAnswer")
    assert exact.record.notes["counts"]["draft steps ended by length"] == 1


def test_the_budget_counts_kept_tokens_only():
    played = play(
        SpecReason,
        draft=["dddd\n\n", "dddd\n\n", "dddd\n\n"],
        target=[digit("0"), "tt\n\n", digit("9"), digit("9")],
        max_tokens=14,
    )
    assert played.record.text == "tt\n\ndddd\n\ndddd"
    assert (played.record.finish, played.record.truncated) == ("budget", True)
    assert played.record.kept_tokens == {"target": 4, "draft": 10}
    assert played.record.calls["draft/draft"].completion_tokens == 6 + 6 + 4


def test_room_too_small_for_the_next_character_is_a_spent_budget():
    played = play(SpecReason, draft=["aa€", "€"], target=[digit("9")] * 2, max_tokens=3)
    assert (played.record.text, played.record.finish) == ("aa", "budget")


def test_a_step_may_end_inside_a_token():
    tokens = ByteTokenizer(("\n\nB",))
    played = play(
        SpecReason, draft=["A\n\nB", END], target=[digit("9")] * 2, draft_tokenizer=tokens
    )
    assert played.trace()[0] == "draft 0: A\n\n"


def test_two_vocabularies_agree_on_the_text():
    played = play(
        SpecReason,
        draft=["a</think>.\n\n", END],
        target=[digit("0"), "t\n\n", digit("9")],
        draft_tokenizer=ByteTokenizer((".\n\n",), shift=3),
        target_tokenizer=MERGED,
    )
    asked = played.draft.served[1].text
    assert asked.endswith("<|assistant|>t\n\n")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threshold", 9.5),
        ("threshold", -1),
        ("judging", "mean"),
        ("first_n_steps_target", -1),
        ("step_tokens", 0),
        ("think_close", "delete"),
        ("rate", 0.4),
    ],
)
def test_bad_options_are_named(option, value):
    with pytest.raises(SettingError, match=option):
        play(SpecReason, {option: value})
