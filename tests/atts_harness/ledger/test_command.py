"""What `atts ledger` says beside its table."""

from atts_harness.ledger.command import _facts
from atts_harness.records import RunRecord


class Run:
    """As much of a recorded run as is asked."""

    def __init__(self, **routes):
        roles = {
            role: {"engine": "vllm", "server": {"score_route": r}} for role, r in routes.items()
        }
        self.record = RunRecord(harness="0.1.0", strategy="atts", roles=roles)

    def missing(self):
        return []


def facts(run, *calls):
    summary = {
        "samples": {"finished": 2},
        "seconds": 1.0,
        "slots": {},
        "intensity": {"ratio": None},
        "cost": {},
        "calls": dict.fromkeys(calls),
    }
    return _facts(run, summary)


def test_the_way_scores_came_is_named_for_roles_that_score():
    run = Run(draft="/a", target="/b")
    assert facts(run, "target/score", "draft/draft")[1:] == ["target: scores by /b"]
    assert facts(run, "draft/draft")[1:] == []
