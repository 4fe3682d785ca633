"""The shipped banks belong to the shipped weights, tasks and default settings."""

from pathlib import Path

import atts_tasks
import msgspec
import pytest
from atts_lm_eval.model import model_class
from atts_tiny.paths import BANKS, bank_path, draft_path, target_path
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from atts_harness.conformal.bankfile import read_bank
from atts_harness.conformal.provenance import check
from atts_harness.errors import SettingError
from atts_harness.identity import read_identity
from atts_harness.weights import weights_digest

TASKS = ("atts_chain", "atts_chain_easy", "atts_chain_hard", "atts_chain_shifted")


def test_there_is_a_bank_for_every_chain_task():
    assert {path.stem for path in BANKS.glob("*.json")} == set(TASKS)
    assert [bank_path(task).stem for task in TASKS] == list(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_a_bank_says_by_content_which_models_it_is_of(task):
    made = read_bank(bank_path(task)).provenance
    for role, path in (("draft", draft_path()), ("target", target_path())):
        identity = read_identity(getattr(made, f"{role}_identity"))
        assert identity.weights == weights_digest(str(path))
        assert identity.dtype == "float32"
        other = msgspec.structs.replace(identity, dtype="bfloat16")
        run = msgspec.structs.replace(made, **{f"{role}_identity": other.record()})
        with pytest.raises(SettingError, match=f"the {role}'s dtype is 'float32' in the bank"):
            check(made, run, task, first_turns_only=False)


@pytest.mark.parametrize("task", TASKS)
def test_a_run_with_default_settings_takes_its_bank(task):
    # A bank of other weights, another wording or another task would be refused here.
    manager = TaskManager(
        include_defaults=False,
        include_path=str(Path(atts_tasks.__file__).parent),
        metadata={"repeats": 2},
    )
    model = model_class("atts")(preset="tiny-calibrated")
    try:
        results = simple_evaluate(
            model=model, tasks=[task], task_manager=manager, limit=2, bootstrap_iters=0
        )
    finally:
        model.close()
    statistics = results["config"]["atts"]["statistics"][task]
    assert (statistics["samples"], statistics["failed"]) == (4, 0)
    assert statistics["calls"]["target/score"]["calls"] >= 4
