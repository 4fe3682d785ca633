"""lm-eval as the commands of the core see it: the command of a cell, and what it leaves."""

import json

import pytest
from atts_lm_eval.framework import LmEval, headline

from atts_harness.errors import RunDirError
from atts_harness.framework import Evaluation, EvaluationOutcome


def test_the_command_of_an_evaluation(tmp_path):
    settings = {"rate": 0.1, "stop": ["a", "b,c"]}
    asked = Evaluation(
        task="sums",
        strategy="atts",
        settings=settings,
        limit=40,
        num_fewshot=2,
        metadata={"repeats": 4},
        system_instruction="Be brief.",
        include_path="tasks",
    )
    program, *options = LmEval().command(asked, tmp_path)
    place = options.index("--model_args") + 1
    assert json.loads(options[place]) == {**settings, "run_dir": str(tmp_path)}
    assert [program, *options[: place - 1], *options[place + 1 :]] == [
        *("lm-eval", "--model", "atts", "--tasks", "sums", "--apply_chat_template"),
        *("--system_instruction", "Be brief.", "--include_path", "tasks", "--limit", "40"),
        *("--num_fewshot", "2", "--metadata", '{"repeats":4}'),
        *("--output_path", str(tmp_path / "results.json"), "--log_samples"),
    ]


def test_the_newest_results_and_the_figure_that_stands_for_them(tmp_path):
    def wrote(name, **figures):
        path = tmp_path / f"results_{name}.json"
        path.write_text(json.dumps({"results": figures}))
        return path

    framework = LmEval()
    assert framework.outcome(tmp_path) is None
    ours = {"alias": "sums", "pass@1,all": 0.25, "pass@1_interval,all": [0, 1], "failed,all": 0.0}
    path = wrote("a", sums=ours)
    assert framework.outcome(tmp_path) == EvaluationOutcome(path, "pass@1", 0.25)
    stock = {"exact_match,strict": 0.5, "exact_match,flexible": 1.0, "exact_match_stderr,s": 0.1}
    assert headline(wrote("b", gsm8k=stock)).value == 0.75
    assert headline(wrote("c", sums=ours, more={"pass@1,all": 0.75})).value == 0.5
    voted = wrote("v", sums={**ours, "vote,all": 1.0, "drawn,all": 6.0})
    assert headline(voted) == EvaluationOutcome(voted, "vote", 1.0)
    path = wrote("d", sums={"alias": "sums"})
    assert headline(path) == EvaluationOutcome(path, None, None)
    broken = tmp_path / "results_e.json"
    broken.write_text("{")
    with pytest.raises(RunDirError, match=r"results_e.json: cannot be read"):
        framework.outcome(tmp_path)
