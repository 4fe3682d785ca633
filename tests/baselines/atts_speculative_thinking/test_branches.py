"""Every branch of speculative thinking, in the published order and lengths."""

import itertools

from atts_speculative_thinking.strategy import SpeculativeThinking

from atts_harness.backend import GenerateRequest
from atts_harness.testing.play import play
from atts_harness.testing.scripted import ByteTokenizer, Says

PARAGRAPH = "So it is.\n\n"
LONG = Says("x" * 2000, ending="length")


def cut(text):
    return Says(text, ending="length")


def thought(draft, target=(), **options):
    kwargs = {k: options.pop(k) for k in list(options) if k in ("max_tokens", "draft_tokenizer")}
    return play(SpeculativeThinking, options, draft=draft, target=target, **kwargs)


def test_a_neutral_probe_is_thrown_away_and_the_place_is_written_anew():
    played = thought([PARAGRAPH, cut("Then 22 minus 8 is 14."), "Done."])
    assert played.trace() == [
        "draft 0: So it is.\n\n",
        "(probe 0: Then 22 minus 8 is 1)",
        "draft 1: Done.",
    ]
    assert played.draft.served[2].request.ids == played.draft.served[1].request.ids
    assert played.record.notes["branches"] == {"neutral": 1}
    assert played.record.calls["draft/probe"].completion_tokens == 20
    assert played.target.served == []


def test_a_neutral_probe_may_be_kept():
    played = thought([PARAGRAPH, cut("Then 22 minus 8 is 1"), "4."], discard_neutral_probe=False)
    assert played.record.text == "So it is.\n\nThen 22 minus 8 is 14."


def test_a_reflecting_probe_brings_in_the_targets_which_has_not_seen_it():
    played = thought([PARAGRAPH, cut("Wait, 22 minus eight"), "End."], [cut("Hmm, 22 minus eight")])
    assert played.trace() == [
        "draft 0: So it is.\n\n",
        "(probe 0: Wait, 22 minus eight)",
        "probe 0: Hmm, 22 minus eight",
        "draft 1: End.",
    ]
    assert played.called() == ["draft/draft 0", "draft/probe 0", "target/probe 0", "draft/draft 1"]
    probe = played.target.served[0].request
    assert (probe.ids, probe.max_tokens, probe.stop) == (
        played.draft.served[1].request.ids, 20, (),
    )  # fmt: skip
    assert played.record.notes["branches"] == {"reflection": 1}
    assert played.took_over() == [True]


def test_an_affirming_probe_does_so_too():
    played = thought([PARAGRAPH, cut("Yes, it is"), "End."], [cut("Yes, fourteen")])
    assert played.record.text == "So it is.\n\nYes, fourteenEnd."
    assert played.record.notes["branches"] == {"affirmation": 1}


def test_the_small_models_words_stay_unless_the_two_disagree():
    agree = thought([PARAGRAPH, cut("Wait a"), "End."], [cut("Wait b")], choose_large=False)
    assert agree.trace()[1:3] == ["probe 0: Wait a", "(probe 0: Wait b)"]
    assert agree.record.text == "So it is.\n\nWait aEnd."
    assert agree.took_over() == [False]
    for own, other in [("Wait", "So"), ("Wait", "Yes"), ("Yes", "Wait")]:
        apart = thought([PARAGRAPH, cut(own), "End."], [cut(other)], choose_large=False)
        assert apart.record.text == f"So it is.\n\n{other}End."
    neutral = thought([PARAGRAPH, cut("Yes"), "End."], [cut("So")], choose_large=False)
    assert neutral.record.text == "So it is.\n\nYesEnd."


def test_a_verification_adds_exactly_125_tokens_to_the_20():
    played = thought(
        [PARAGRAPH, cut("Wait"), "End."], [cut("Let me check the sum of it all"), LONG]
    )
    kept = [(s.kind, s.tokens) for s in played.record.segments if s.kept]
    assert kept == [("draft", 11), ("probe", 20), ("takeover", 125), ("draft", 4)]
    assert played.record.notes["branches"] == {"reflection": 1, "verification": 1}


def test_verification_is_read_from_the_text_that_is_kept():
    own = thought([PARAGRAPH, cut("Let me check"), "End."], [cut("Yes."), LONG], choose_large=True)
    assert own.called().count("target/takeover 0") == 0
    kept = thought(
        [PARAGRAPH, cut("Let me check"), "End."], [cut("Wait."), LONG], choose_large=False
    )
    assert kept.called().count("target/takeover 0") == 1


def test_not_reasoning_asks_the_target_at_every_trigger():
    played = thought(
        [PARAGRAPH, cut("So"), PARAGRAPH, cut("And"), "End."],
        [cut("Thus"), cut("Hence")],
        not_reasoning=True,
    )
    assert played.record.text == "So it is.\n\nThusSo it is.\n\nHenceEnd."
    assert played.record.notes["branches"] == {"asked though neutral": 2}


def test_the_target_may_write_the_beginning_once():
    played = thought([PARAGRAPH, cut("So"), "End."], [LONG], begin=True)
    kept = [(s.author, s.kind, s.tokens) for s in played.record.segments if s.kept]
    assert kept[0] == ("target", "takeover", 100)
    assert kept[1][:2] == ("draft", "draft")
    assert played.called()[:2] == ["target/takeover 0", "draft/draft 1"]
    assert played.record.notes["branches"] == {"begin": 1, "neutral": 1}


def negations(count):
    """A draft that reflects at every paragraph, and ends after `count` of them."""
    rounds = itertools.count()

    def reply(asked):
        assert isinstance(asked.request, GenerateRequest)
        if asked.request.max_tokens == 20:
            return cut("Wait")
        return PARAGRAPH if next(rounds) < count else "End."

    return reply


def wait_or_write(asked):
    return cut("Wait") if asked.request.max_tokens == 20 else LONG


def test_many_negations_bring_recapitulations_longer_and_rarer_each_time():
    played = thought(negations(125), wait_or_write, max_tokens=100_000)
    lengths = [s.tokens for s in played.record.segments if s.kind == "takeover"]
    assert lengths == [125, 150, 175, 200, 200]
    turns = [s.turn for s in played.record.segments if s.kind == "takeover"]
    between = [b - a - 1 for a, b in zip([-1, *turns], turns, strict=False)]
    assert between == [15, 20, 25, 30, 30]
    cues = [s for s in played.record.segments if s.kind == "cue"]
    assert {s.text for s in cues} == {"Let me check whether there are wrong steps: "}
    assert [s.tokens for s in cues] == [0] * 5
    assert played.record.notes["branches"]["recapitulation"] == 5


def test_a_verification_stays_at_125_after_recapitulations():
    def target(asked):
        return cut("check") if asked.request.max_tokens == 20 else LONG

    played = thought(negations(4), target, recap_after_negative_num=1, max_tokens=100_000)
    lengths = [s.tokens for s in played.record.segments if s.kind == "takeover"]
    assert lengths == [125, 125, 125, 125]  # verification, recapitulation, two verifications


def test_only_kept_reflections_are_negations():
    def target(asked):
        return cut("Yes") if asked.request.max_tokens == 20 else LONG

    played = thought(negations(5), target, recap_after_negative_num=2)
    assert "recapitulation" not in played.record.notes["branches"]


def test_the_beginning_comes_before_a_recapitulation_and_that_before_a_look():
    played = thought(
        negations(3), wait_or_write, begin=True, recap_after_negative_num=1, max_tokens=10_000
    )
    kinds = [s.kind for s in played.record.segments if s.kept]
    assert kinds == [
        "takeover", "draft", "probe", "draft", "cue", "takeover", "draft", "probe", "draft",
    ]  # fmt: skip


def test_no_look_where_a_free_run_was_cut():
    played = thought([cut("no end yet"), "End."])
    assert played.called() == ["draft/draft 0", "draft/draft 1"]
    assert played.draft.served[0].request.stop == ("\n\n",)
    assert played.draft.served[0].request.max_tokens == 1024


def test_a_merged_trigger_token_is_seen():
    tokens = ByteTokenizer((".\n\n",))
    played = thought(["So.\n\n", cut("Then"), "End."], draft_tokenizer=tokens)
    assert played.called() == ["draft/draft 0", "draft/probe 0", "draft/draft 1"]
    assert played.record.notes["vocabularies"]


def test_equal_vocabularies_are_not_worth_a_note():
    assert "vocabularies" not in thought(["End."]).record.notes


def test_a_word_may_be_put_in_before_each_probe_and_stays():
    played = thought([PARAGRAPH, cut("So"), "End."], help_think_word="Hmm ")
    assert played.record.text == "So it is.\n\nHmm End."


def test_an_end_in_a_kept_probe_ends_the_sample():
    played = thought([PARAGRAPH, cut("Wait")], ["Yes."])
    assert (played.record.text, played.record.finish) == ("So it is.\n\nYes.", "eos")
    empty = thought([PARAGRAPH, cut("Wait")], [""])
    assert (empty.record.text, empty.record.finish) == ("So it is.\n\n", "eos")


def test_an_end_is_forgotten_once_20_tokens_lie_behind_it():
    ends_soon = thought([PARAGRAPH, cut("Wait")], ["check.", cut("t" * 19)])
    assert ends_soon.record.finish == "eos"
    goes_on = thought([PARAGRAPH, cut("Wait"), "End."], ["check.", cut("t" * 20)])
    assert goes_on.record.text.endswith("t" * 20 + "End.")


def test_an_end_in_a_probe_that_is_thrown_away_ends_nothing():
    played = thought([PARAGRAPH, "So.", "End."])
    assert played.record.text == "So it is.\n\nEnd."


def test_an_answer_ends_the_sample_unless_told_otherwise():
    stopped = thought(["\\boxed{1}\n\n", "never asked"])
    assert (stopped.record.finish, stopped.draft.unused) == ("answer", 1)
    published = thought(["\\boxed{1}\n\n", cut("So"), "End."], stop_at_answer=False)
    assert published.record.text == "\\boxed{1}\n\nEnd."


def test_the_budget_counts_what_is_kept():
    played = thought([PARAGRAPH, cut("So then what"), "abcdefgh"], max_tokens=16)
    assert played.record.text == "So it is.\n\nabcde"
    assert (played.record.finish, played.record.truncated) == ("budget", True)


def test_room_too_small_for_the_next_character_is_a_spent_budget():
    played = thought(["aaa€", "€"], max_tokens=4)
    assert played.record.text == "aaa"
    assert played.record.finish == "budget"
