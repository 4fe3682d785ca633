"""Generation settings: plain for other models, whole for ours."""

import copy
import pickle

from atts_harness.generation import GenerationSettings, all_settings

GIVEN = {"until": [], "temperature": 0.8, "max_gen_toks": 640, "turns": 40, "turn_stop": "\n\n"}
PLAIN = {"until": [], "temperature": 0.8, "max_gen_toks": 640}


def test_options_of_strategies_are_no_keys():
    made = GenerationSettings.of(GIVEN)
    assert dict(made) == PLAIN
    assert {**made} == PLAIN
    assert all_settings(made) == GIVEN


def test_copies_keep_both():
    made = GenerationSettings.of(GIVEN)
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert dict(copied) == PLAIN
        assert all_settings(copied) == GIVEN


def test_plain_settings_of_other_tasks_are_whole():
    assert all_settings(GIVEN) == GIVEN


def test_what_was_set_later_wins():
    made = GenerationSettings.of(GIVEN)
    made["turns"] = 3
    assert all_settings(made)["turns"] == 3
