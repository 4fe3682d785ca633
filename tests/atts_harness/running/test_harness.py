"""What a harness does beside its runs."""

import functools

import pytest

from atts_harness.backend import GenerateRequest
from atts_harness.journal.reader import open_run
from atts_harness.running.harness import Harness
from atts_harness.settings import parse_settings
from atts_harness.testing.mock_runs import MockOptions, MockTurns, make_groups

pytestmark = pytest.mark.usefixtures("mock_installed")


def test_a_backend_can_be_asked_beside_the_runs_which_do_not_record_it(tmp_path):
    given = {"strategy": "mock-turns", "backend": "mock", "draft": "d", "target": "t"}
    asked = GenerateRequest(ids=(5, 6, 7), max_tokens=4)
    with Harness(parse_settings({**given, "progress": "off", "run_dir": str(tmp_path)})) as harness:
        before = harness.call(functools.partial(harness.backends["target"].generate, asked))
        harness.run(make_groups(1, 1, MockTurns(MockOptions(turns=2, draft_tokens=8))), show=False)
        after = harness.call(functools.partial(harness.backends["target"].generate, asked))
        made = sum(totals["calls"] for totals in harness.summary.ledger["calls"].values())
    assert len(before.ids) == len(after.ids) == 4
    with open_run(tmp_path) as run:
        assert len(list(run.calls())) == made > 0
