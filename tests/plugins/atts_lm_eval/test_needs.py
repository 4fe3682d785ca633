"""`atts lm-eval` reads lm-eval's own task files where a command may need one of them, only."""

import pytest
from atts_lm_eval import bridge
from atts_lm_eval.needs import needs_own_tasks
from lm_eval.tasks import manager

OWN = ["gsm8k"]


@pytest.fixture
def included(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: mine\n")
    return ["--include_path", str(tmp_path)]


@pytest.mark.parametrize(
    "given",
    [
        ["--tasks", "atts_chain"],
        ["run", "--tasks", "atts_chain,atts_math500"],
        ["--model", "atts", "-t", "atts_chain", "atts_gsm8k", "--limit", "3"],
    ],
)
def test_tasks_of_ours_need_none_of_lm_evals(given):
    assert not needs_own_tasks(given)


@pytest.mark.parametrize(
    "given",
    [
        ["--tasks", "gsm8k"],
        ["--tasks", "atts_chain,gsm8k"],
        ["--tasks", "atts_*"],
        ["--tasks", "mine"],
        ["--tasks"],
        ["--tasks", "atts_chain", "--config", "plan.yaml"],
        ["ls", "tasks"],
        ["validate", "--tasks", "atts_chain"],
        ["--help"],
        [],
    ],
)
def test_whatever_else_is_asked_reads_them(given):
    assert needs_own_tasks(given)


def test_a_further_folder_counts(included):
    assert not needs_own_tasks(["--tasks", "mine,atts_chain", *included])
    assert needs_own_tasks(["--tasks", "mine,gsm8k", *included])


def test_the_index_is_that_of_the_plugins_alone_and_whole_again(monkeypatch):
    bridge.extend_tasks(manager)
    read = []
    known = manager.TaskIndex
    monkeypatch.setattr(bridge, "_LEFT_OUT", {"own tasks": False})

    def names():
        made = manager.TaskManager()
        read.append(len(made.all_tasks))
        return set(made.all_tasks)

    bridge.leave_own_tasks_out(True)
    ours = names()
    assert "atts_chain" in ours
    assert not ours & set(OWN)
    assert manager.TaskIndex is known
