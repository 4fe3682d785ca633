"""Regrading a run directory, whose golds come from its task."""

import pytest
from typer.testing import CliRunner

from atts_harness.analysis.regrade.regrade import regrade
from atts_harness.errors import SettingError
from atts_harness.journal.hashing import prompt_hash
from atts_harness.results.golds import PROMPTS
from atts_harness.transcript import Message

from .conftest import command, read


def asked(question, **fields):
    """A document as its task hands it over, with the digest of the prompt it is asked by."""
    return {**fields, PROMPTS: [prompt_hash([Message("user", question)])]}


SEVEN = asked("What is 7?", id="seven", gold="7")

EIGHT = asked("What is 8?", id="eight", gold="8")

NINE = asked("What is 9?", id="nine", gold="9")


@pytest.mark.parametrize("documents", [[SEVEN, EIGHT], [NINE, EIGHT, SEVEN]])
def test_a_run_directory(folder, documents):
    """A journal holds texts and no golds: those come from the task's documents, by their words."""
    (result,) = regrade(read(folder, lambda task: documents))
    assert [q.question.name for q in result.questions] == ["seven", "eight"]
    assert [[g.right for g in own] for own in result.grades] == [[True, False], [False, True]]
    assert result.missing == [("eight", 0)]
    assert result.grades[0][1].truncated is True


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([SEVEN], "1 of 2 questions of the run, the first of them document 1, are not asked in"),
        ([EIGHT, NINE], "the first of them document 0, .* --system-instruction if it had one"),
        ([SEVEN, EIGHT, {**SEVEN, "gold": "6"}], "asked in the same words and have different"),
    ],
)
def test_documents_that_are_not_the_runs_are_refused(folder, documents, message):
    with pytest.raises(SettingError, match=message):
        read(folder, lambda task: documents)


def test_the_command_hands_on_what_the_run_was_given(folder):
    given = []

    def documents(task, **how):
        given.append((task, how))
        return [SEVEN, EIGHT]

    how = {"system_instruction": "Think.", "metadata": {"repeats": 2}}
    args = ["--system-instruction", "Think.", "--metadata", '{"repeats": 2}']
    shown = CliRunner().invoke(command(documents), ["regrade", str(folder), *args])
    assert shown.exit_code == 0, shown.output
    assert given == [("t", how)]
    for wrong in ("{", "[]"):
        args = ["regrade", str(folder), "--metadata", wrong]
        shown = CliRunner().invoke(command(documents), args)
        assert "--metadata: " in str(shown.exception)


def test_a_run_directory_needs_documents(folder):
    with pytest.raises(SettingError, match="needs its tasks' documents"):
        read(folder)
