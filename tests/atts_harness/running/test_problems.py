"""From messages and generation settings to problems."""

import pytest

from atts_harness.errors import SettingError, UnknownSettingError
from atts_harness.journal.hashing import prompt_hash
from atts_harness.message import Message
from atts_harness.running.problems import Terms, framing, make_problem, terms_of
from atts_harness.settings import parse_settings

ASKED = (Message("user", "Compute 1 + 2."),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ()), ("Q:", ("Q:",)), (["\n\n", "", "Q:", "Q:"], ("\n\n", "Q:")), ([], ())],
)
def test_until_is_a_text_or_texts(given, expected):
    assert terms_of({"until": given}, "request").until == expected


@pytest.mark.parametrize("until", [3, [3], {"a": 1}])
def test_until_of_another_type_is_refused(until):
    with pytest.raises(SettingError, match="request: until must be a text"):
        terms_of({"until": until}, "request")


def test_other_models_names_of_the_budget_are_understood():
    assert terms_of({"max_new_tokens": 9}, "request").values == {"max_gen_toks": 9}
    assert terms_of({"max_tokens": 9, "max_gen_toks": 5}, "request").values == {"max_gen_toks": 5}


def test_an_unknown_setting_names_the_nearest():
    with pytest.raises(UnknownSettingError, match=r"request: .*did you mean turns"):
        terms_of({"turn": 3}, "request")


def test_settings_of_other_models_must_be_neutral():
    assert terms_of({"num_beams": 1, "repetition_penalty": 1.0}, "request").values == {}
    with pytest.raises(SettingError, match="num_beams is not supported"):
        terms_of({"num_beams": 4}, "request")


def test_a_problem_has_the_terms_of_its_request_and_the_runs_own_settings_win():
    terms = terms_of({"until": "Q:", "max_tokens": 9, "temperature": 0.5}, "request")
    free = make_problem("t", 3, ASKED, terms, parse_settings({}))
    assert (free.task, free.doc, free.until, free.max_tokens) == ("t", 3, ("Q:",), 9)
    assert free.prompt_hash == prompt_hash(ASKED)
    assert {role: s.temperature for role, s in free.sampling.items()} == {
        "draft": 0.5,
        "target": 0.5,
    }
    bound = make_problem("t", 3, ASKED, terms, parse_settings({"max_gen_toks": 5}))
    assert bound.max_tokens == 5


def test_a_sample_ends_at_an_answer_where_the_strategy_says_so():
    assert make_problem("t", 0, ASKED, Terms(), parse_settings({})).answered(r"\boxed{3}")
    plain = parse_settings({"stop_at_answer": False})
    assert make_problem("t", 0, ASKED, Terms(), plain).answered is None


@pytest.mark.parametrize(
    "messages", [(), (Message("user", " "),), (Message("system", "Be brief."),)]
)
def test_messages_that_ask_nothing_are_refused(messages):
    with pytest.raises(SettingError, match="task t: the prompt of document 3 is empty"):
        make_problem("t", 3, messages, Terms(), parse_settings({}))


def test_a_frame_is_the_roles_and_the_systems_words():
    other = (Message("user", "Compute 4 + 5."),)
    brief = Message("system", "Be brief.")
    assert framing(ASKED) == framing(other)
    assert (
        len(
            {
                framing(ASKED),
                framing((brief, *ASKED)),
                framing((Message("system", "Think."), *ASKED)),
            }
        )
        == 3
    )
