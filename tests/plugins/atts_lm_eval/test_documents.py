"""A task's documents as lm-eval asks them, for those who ask a model in its place."""

import pytest
from atts_lm_eval.framework import LmEval

from atts_harness.errors import SettingError
from atts_harness.framework import Evaluation
from atts_harness.journal.hashing import prompt_hash
from atts_harness.results.golds import PROMPTS, gold_of

CHAIN = {"num_problems": 3}


def questions(task="atts_chain", **options):
    return LmEval().questions(Evaluation(task, "", metadata=CHAIN, **options))


def test_they_are_the_documents_in_the_words_of_a_run():
    asked = questions()
    documents = LmEval().documents("atts_chain", metadata=CHAIN)
    assert [question.doc for question in asked] == [0, 1, 2]
    for question, document in zip(asked, documents, strict=True):
        assert prompt_hash(question.messages) in document[PROMPTS]
        assert gold_of(question.document) == gold_of(document)
    assert asked[0].generation["max_gen_toks"] == 640
    assert asked[0].wording == asked[1].wording is not None


def test_a_limit_and_a_systems_words_count():
    (question,) = questions(limit=1, system_instruction="Be brief.")
    assert [message.role for message in question.messages] == ["system", "user"]
    assert question.messages[0].content == "Be brief."


def test_an_unknown_task_is_one_line():
    with pytest.raises(SettingError, match="atts_chains: no such task is installed"):
        questions("atts_chains")
