"""Seeds depend on what a call is for, and on nothing else."""

from atts_harness.records import SampleId
from atts_harness.running.seeds import call_seed, uniform

SAMPLE = SampleId("task", 3, 5)


def test_every_part_of_the_key_matters():
    seeds = {
        call_seed(run, SampleId(task, doc, repeat), role, kind, turn, attempt)
        for run in (0, 1)
        for task in ("a", "b")
        for doc in (0, 1)
        for repeat in (0, 1)
        for role in ("draft", "target")
        for kind in ("draft", "takeover")
        for turn in (0, 1)
        for attempt in (0, 1)
    }
    assert len(seeds) == 2**8


def test_parts_do_not_run_into_each_other():
    assert call_seed(1, SampleId("t", 1, 23), "draft", "draft", 0) != call_seed(
        1, SampleId("t", 12, 3), "draft", "draft", 0
    )


def test_seeds_are_the_same_in_every_process():
    assert call_seed(1234, SAMPLE, "draft", "draft", 0) == 1785127270
    assert 0 <= call_seed(1234, SAMPLE, "draft", "draft", 0) < 2**31


def test_draws_are_uniform():
    draws = sorted(uniform(1, SampleId("t", i, 0), "decide", 0) for i in range(4000))
    assert 0 <= draws[0] <= draws[-1] < 1
    # Kolmogorov-Smirnov, far beyond the 1e-6 quantile for a fixed seed.
    assert max(abs(d - i / 4000) for i, d in enumerate(draws)) < 0.045
