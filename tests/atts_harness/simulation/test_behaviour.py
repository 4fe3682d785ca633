"""What simulated models write where a strategy asks for more than the trace has."""

from atts_harness.backend import GenerateRequest, ScoreRequest
from atts_harness.records import CallKey, SampleId
from atts_harness.simulation.behaviour import TraceBehaviour
from atts_harness.simulation.traces import RunTrace, SampleTrace, TurnTrace
from atts_harness.simulation.words import WordTokenizer

TRACE = RunTrace(
    "sums",
    {
        0: tuple(
            SampleTrace(0, n, (TurnTrace(draft=10 * (n + 1), score=(n + 1) / 10),))
            for n in range(8)
        )
    },
)
BEHAVIOUR = TraceBehaviour(TRACE, WordTokenizer())
CONTEXT = (1, 2, 3)


def draft_and_score(repeat, attempt):
    sample = SampleId("sums", 0, repeat)
    draft = CallKey(sample, "draft", "draft", 0, attempt)
    text = BEHAVIOUR.write(draft, GenerateRequest(ids=CONTEXT, max_tokens=100))
    score = CallKey(sample, "score", "target", 0, attempt)
    (first, *_) = BEHAVIOUR.score(score, ScoreRequest(ids=(*CONTEXT, *text.ids), start=3))
    return len(text.ids), -first


def test_the_first_attempt_at_a_turn_is_the_recorded_one():
    assert [draft_and_score(n, 0) for n in range(3)] == [(10, 0.1), (20, 0.2), (30, 0.3)]


def test_further_attempts_at_a_turn_are_other_texts_with_scores_of_their_own():
    attempts = [draft_and_score(0, attempt) for attempt in range(1, 9)]
    assert len(set(attempts)) > 2
    assert all(tokens == round(score * 100) for tokens, score in attempts)
    assert attempts == [draft_and_score(0, attempt) for attempt in range(1, 9)]
