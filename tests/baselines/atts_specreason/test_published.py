import os
import pickle

import pytest
from atts_specreason import published

from atts_harness.errors import SettingError
from atts_harness.importing.write import write_run
from atts_harness.journal.reader import open_run
from atts_harness.records import SampleId

KEPT = {
    "step_id": 0,
    "small_model_step": "First",
    "num_output_tokens_small": 3,
    "score": 8,
    "base_model_step": None,
    "num_output_tokens_base": None,
    "justification": "8",
}
REDONE = {**KEPT, "score": 2, "base_model_step": "Better \\boxed{4}", "num_output_tokens_base": 5}
OWN = {**REDONE, "small_model_step": None, "num_output_tokens_small": None, "score": None}


def write(folder, problem, repeat, content):
    path = folder / str(problem) / f"{repeat}.pickle"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    return path


def test_steps_become_segments_and_decisions(tmp_path):
    write(tmp_path, 60, 0, [OWN, KEPT, {**REDONE, "stop_reason": "budget"}])
    write(tmp_path, 61, 1, [KEPT])
    assert published.recognises(tmp_path)
    run = published.read(tmp_path, "aime")
    first, second = run.questions
    assert (first.text, second.text) == ("problem 60", "problem 61")
    sample = first.samples[0]
    assert sample.text == "Better \\boxed{4}\n\nFirst\n\nBetter \\boxed{4}"
    assert [(d.turn, d.takeover) for d in sample.decisions] == [(1, False), (2, True)]
    assert sample.kept_tokens == {"draft": 3, "target": 10}
    assert sample.finish == "budget"
    assert [s.kept for s in sample.segments if s.author == "draft"] == [True, False]
    write_run(run, tmp_path / "run", task="aime", program="specreason")
    with open_run(tmp_path / "run") as opened:
        assert opened.missing() == [SampleId("aime", 0, 1), SampleId("aime", 1, 0)]


def test_the_copy_with_questions_and_golds(tmp_path):
    content = {
        "problem_id": 60,
        "problem_text": "What is 2 + 2?",
        "ground_truth": 4,
        "reasoning_steps": [REDONE],
        "total_steps": 1,
    }
    write(tmp_path, 60, 0, content)
    (question,) = published.read(tmp_path, "aime").questions
    assert (question.text, question.gold) == ("What is 2 + 2?", "4")


class Touch:
    """Runs code when it is loaded by Python's own reader."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    trap = tmp_path / "trap"
    write(tmp_path / "results", 0, 0, [{**KEPT, "justification": Touch(trap)}])
    with pytest.raises(SettingError, match="would run code"):
        published.read(tmp_path / "results", "aime")
    assert not trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"garbage",
        pickle.dumps([1, 2]),
        pickle.dumps("text"),
        pickle.dumps([KEPT])[:-4],
    ],
)
def test_damaged_pickles_are_one_line(tmp_path, content):
    path = write(tmp_path, 0, 0, content)
    with pytest.raises(SettingError) as caught:
        published.read(tmp_path, "aime")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_files_of_one_sample_are_refused(tmp_path):
    write(tmp_path, 0, "0", [KEPT])
    write(tmp_path, 0, "00", [REDONE])
    with pytest.raises(SettingError, match="a second file of problem 0, repeat 0"):
        published.read(tmp_path, "aime")


def test_two_questions_under_one_number_are_refused(tmp_path):
    for repeat, gold in enumerate(("4", "5")):
        content = {"problem_text": "q", "ground_truth": gold, "reasoning_steps": [KEPT]}
        write(tmp_path, 0, repeat, content)
    with pytest.raises(SettingError, match="put each run into a folder of its own"):
        published.read(tmp_path, "aime")


def test_problems_without_any_file_are_said(tmp_path):
    for problem in (60, 63):
        write(tmp_path, problem, 0, [KEPT])
    (tmp_path / "64").mkdir()
    run = published.read(tmp_path, "aime")
    assert run.notes[-1] == "problems without any file, which are left out: 3 (61, 62, 64)"


def test_a_pickle_that_was_cut_is_called_so(tmp_path):
    write(tmp_path, 0, 0, pickle.dumps([KEPT])[:40])
    with pytest.raises(SettingError, match="not a sample of published SpecReason") as caught:
        published.read(tmp_path, "aime")
    assert "would run code" not in str(caught.value)


def test_a_count_below_zero_is_refused(tmp_path):
    write(tmp_path, 0, 0, [{**KEPT, "num_output_tokens_small": -5}])
    with pytest.raises(SettingError, match="num_output_tokens_small"):
        published.read(tmp_path, "aime")
