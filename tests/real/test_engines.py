"""The conformance suite on a real model, and what only a real vocabulary has: tokens that cut."""

import pytest

from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.testing.conformance import all_cases, describe, run_conformance
from atts_harness.transcript import Message

# They look into an engine and at its error bodies: tests/engines does, on a model that is quicker.
NEED_HOOKS = {"cancellation_frees", "refusals_are_typed"}
# Each case shows that the backend says so by skipping itself.
CANNOT = {"sglang": {"seeds"}}
NAMES = [name for name in all_cases() if name not in NEED_HOOKS]
GREEDY = Sampling(temperature=0.0)
# Two to four bytes a character; none of the ideographs and faces is one token here.
TEXT = "東京と京都 naïve façade Ω≠∞ 🙂🙃 Привет"


@pytest.mark.parametrize("name", NAMES)
def test_conformance(loop, backend, reference, name):
    results = loop.run(run_conformance(backend, reference, only=[name]))
    left_out = name in CANNOT.get(backend.identity.engine, ())
    assert [r.status for r in results] == ["skipped" if left_out else "passed"], describe(results)


def test_characters_of_several_tokens_are_scored_token_by_token(loop, backend, reference):
    prompt = backend.tokenizer.render([Message("user", "Copy this: " + TEXT)])
    segment = backend.tokenizer.encode(TEXT)
    assert len(segment) > len(TEXT) / 2  # not one token a word
    cut = [n for n in range(len(segment)) if "\ufffd" in backend.tokenizer.decode(segment[:n])]
    assert len(cut) > 5  # so many of its tokens end inside a character
    ids = prompt + segment
    for start in (len(prompt), *(len(prompt) + n for n in cut[:4])):
        reply = loop.run(backend.score(ScoreRequest(ids=ids, start=start)))
        expected = reference.logprobs(ids)[start - 1 :]
        assert reply.logprobs == pytest.approx(expected, abs=1e-3)


def test_a_stop_inside_a_token_keeps_whole_tokens(loop, backend):
    ids = backend.tokenizer.render([Message("user", "Tell me a story about a cat.")])
    asked = GenerateRequest(ids=ids, max_tokens=40, sampling=GREEDY)
    free = loop.run(backend.generate(asked)).ids
    texts = [backend.tokenizer.decode(free[:n]) for n in range(len(free) + 1)]
    # A token of four letters or more whose text without its last letter ends in something new.
    place = next(
        n
        for n in range(5, len(free))
        if len(texts[n + 1]) - len(texts[n]) >= 4 and texts[n + 1][-7:-1] not in texts[n + 1][:-2]
    )
    stop = texts[place + 1][-7:-1]
    stopped = GenerateRequest(ids=ids, max_tokens=40, sampling=GREEDY, stop=(stop,))
    reply = loop.run(backend.generate(stopped))
    assert (reply.ending, reply.stop) == ("stop", stop)
    assert reply.ids == free[: place + 1]
