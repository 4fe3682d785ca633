"""What `atts ledger` says beside its table."""

from atts_harness.ledger.command import _facts
from atts_harness.ledger.statistics import intensity_in_words
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


def test_a_ratio_says_no_more_than_it_tells():
    assert intensity_in_words(166718.77) == ">1,000"
    assert [intensity_in_words(value) for value in (0.512, 12.34, 431.2)] == [
        "0.512",
        "12.3",
        "431",
    ]
