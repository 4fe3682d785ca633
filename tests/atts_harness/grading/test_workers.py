"""Grading in processes that can be killed."""

import os
import signal
import threading

import pytest

from atts_harness.grading.equivalence import RIGHT, WRONG, Gold, GradingVerdict
from atts_harness.grading.workers import Grader, candidates

HARD = (r"\int_0^1 x^2\,dx", Gold(r"\frac13"))
HARDER = (r"\int_0^1 x^3\,dx", Gold(r"\frac14"))
HARDEST = (r"\int_0^1 x^4\,dx", Gold(r"\frac15"))
EXPLOSION = (r"\sum_{k=1}^{10^9} \frac{1}{k!+\sqrt{k}}", Gold("5"))


def test_verdicts_come_in_order_from_text_and_from_algebra(grader):
    pairs = [
        ("5", Gold("5")),
        HARD,
        ("6", Gold("5")),
        (r"\int_0^1 x^2\,dx", Gold(r"\frac12")),
        ("5", Gold("5")),
    ]
    assert grader.grade(pairs) == [RIGHT, RIGHT, WRONG, WRONG, RIGHT]
    assert grader.grade([]) == []


@pytest.mark.parametrize(
    "answer",
    [
        r"10^{10^{10^{10}}}",
        r"(1+x)^{1000000}",
        r"2^{2^{2^{2^{2^{2}}}}}",
        r"\binom{10^9}{5\cdot10^8}",
        "9" * 1900 + "!",
        r"\sum_{k=1}^{10^9} \frac{1}{k!+\sqrt{k}}",
        r"\int_0^1 e^{x^{x^{x}}}\,dx",
    ],
    ids=lambda text: text[:14],
)
def test_an_explosion_is_said_and_not_the_end(hasty, grader, answer):
    (verdict,) = hasty.grade([(answer, Gold("x+5"))])
    assert not verdict.right
    assert verdict.error is not None or verdict.undecided is not None
    assert hasty.grade([(answer, Gold("x+5"))]) == [verdict]
    assert grader.grade([HARD]) == [RIGHT]


def test_what_is_too_large_starts_no_process():
    pool = Grader(workers=1, seconds=1.0)
    (verdict,) = pool.grade([(r"10^{10^{10^{10}}}", Gold("5"))])
    assert verdict == GradingVerdict(False, undecided="too large")
    assert pool._workers == []


def test_a_pool_goes_on_after_an_explosion():
    pool = Grader(workers=1, seconds=1.0)
    try:
        assert pool.grade([EXPLOSION]) == [GradingVerdict(False, "timeout")]
        pool._seconds = 60.0
        assert pool.grade([HARD]) == [RIGHT]
        assert pool.killed == 1
    finally:
        pool.close()


def test_a_killed_process_is_a_crash_of_one_pair_and_is_replaced():
    pool = Grader(workers=1, seconds=60.0)
    try:
        assert pool.grade([HARD]) == [RIGHT]
        process = pool._workers[0].process
        timer = threading.Timer(0.5, process.send_signal, [signal.SIGKILL])
        timer.start()
        assert pool.grade([EXPLOSION]) == [GradingVerdict(False, "crash")]
        assert pool.grade([HARDER]) == [RIGHT]
        assert pool.killed == 1
    finally:
        pool.close()


def test_a_process_that_dies_between_gradings_is_replaced():
    pool = Grader(workers=1, seconds=60.0)
    try:
        assert pool.grade([HARD]) == [RIGHT]
        process = pool._workers[0].process
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        (verdict,) = pool.grade([HARDER])
        assert verdict in (RIGHT, GradingVerdict(False, "crash"))
        assert pool.grade([HARDEST]) == [RIGHT]
    finally:
        pool.close()


def test_it_works_outside_the_main_thread(grader):
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.extend(grader.grade([HARDEST])))
    thread.start()
    thread.join()
    assert verdicts == [RIGHT]


def test_processes_end_with_close():
    pool = Grader(workers=1, seconds=60.0)
    pool.grade([HARD])
    process = pool._workers[0].process
    pool.close()
    assert process.poll() is not None


def test_equivalent_wrong_answers_are_one_candidate(grader):
    answers = ["1/2", "0.5", "x", r"\sqrt{4}", "2", "x+0", "1/2"]
    assert candidates(answers, Gold("7"), grader) == [0, 0, 1, 2, 2, 1, 0]
    assert candidates([], Gold("7"), grader) == []


def test_an_answer_that_explodes_is_tried_once_and_stands_alone(hasty):
    before = hasty.killed
    answers = [r"\sqrt{8}", EXPLOSION[0], r"2\sqrt{2}", "x", "y", "x+0", r"\sqrt{3}"]
    assert candidates(answers, Gold("7"), hasty) == [0, 1, 0, 2, 3, 2, 4]
    assert hasty.killed == before + 1
