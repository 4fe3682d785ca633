"""The scripted backend cuts as an engine cuts, and its tokenizer keeps the contract."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atts_harness.backend import Backend, GenerateRequest, ScoreRequest
from atts_harness.errors import BackendUnavailableError
from atts_harness.testing.scripted import (
    CACHE_BLOCK,
    ByteTokenizer,
    Says,
    ScriptedBackend,
    ScriptedRequest,
    ScriptError,
)
from atts_harness.tokenizer import Tokenizer
from atts_harness.transcript import Message, written

TOKENS = ByteTokenizer()
MERGED = ByteTokenizer((".\n\n", "\n\n", "85", "</th"))


def generate(backend, text="Q", **options):
    options.setdefault("max_tokens", 100)
    request = GenerateRequest(ids=backend.tokenizer.encode(text), **options)
    return asyncio.run(backend.generate(request))


@given(st.text())
def test_encoding_any_text_comes_back_unchanged(text):
    assert MERGED.decode(MERGED.encode(text)) == text
    assert MERGED.decode(MERGED.encode_named(text)) == text


def test_plain_text_never_becomes_a_named_token():
    assert TOKENS.named["</think>"] not in TOKENS.encode("a</think>")
    assert TOKENS.encode_named("a</think>b") == (97, TOKENS.named["</think>"], 98)


def test_the_longest_piece_wins():
    assert [MERGED.decode((id_,)) for id_ in MERGED.encode("x.\n\n85")] == ["x", ".\n\n", "85"]


def test_shifted_vocabularies_differ_and_mean_the_same():
    other = ByteTokenizer(shift=7)
    assert other.fingerprint != TOKENS.fingerprint
    assert other.encode("abc") != TOKENS.encode("abc")
    assert other.decode(other.encode("abc")) == "abc"


def test_template_continues_a_partial_turn_and_never_repeats_a_prefill():
    tokens = ByteTokenizer(generation_prompt="<think>\n")
    user, partial = Message("user", "hi"), Message("assistant", "so")
    opened = tokens.render([user])
    assert tokens.decode(opened) == "<|user|>hi<|end|><|assistant|><think>\n"
    assert tokens.render([user, partial]) == (*opened, *tokens.encode("so"))
    tail = tokens.render_tail([user], "<think>\nThe score is: ")
    assert tokens.decode(tail) == ("<|end|><|user|>hi<|end|><|assistant|><think>\nThe score is: ")


def test_it_is_a_backend_and_its_tokenizer_a_tokenizer():
    assert isinstance(ScriptedBackend(), Backend)
    assert isinstance(TOKENS, Tokenizer)


def test_text_that_ends_by_itself_closes_the_turn():
    reply = generate(ScriptedBackend(["ab"]))
    assert (reply.ids, reply.ending) == ((97, 98, TOKENS.named["<|end|>"]), "eos")


def test_text_may_break_off_without_an_end_of_turn():
    reply = generate(ScriptedBackend([Says("ab", ending="length")]))
    assert (reply.ids, reply.ending) == ((97, 98), "length")


@pytest.mark.parametrize(("limit", "ending"), [(2, "length"), (3, "eos")])
def test_the_limit_counts_the_end_of_turn(limit, ending):
    assert generate(ScriptedBackend(["ab"]), max_tokens=limit).ending == ending


def test_a_stop_ends_with_the_token_that_completes_it():
    backend = ScriptedBackend(["one.\n\ntwo"], tokenizer=MERGED)
    reply = generate(backend, stop=("two", "\n\n"))
    assert (MERGED.decode(reply.ids), reply.ending, reply.stop) == ("one.\n\n", "stop", "\n\n")


def test_a_stop_beyond_the_limit_does_not_count():
    reply = generate(ScriptedBackend(["abcd"]), stop=("d",), max_tokens=3)
    assert (reply.ending, reply.stop, len(reply.ids)) == ("length", None, 3)


def test_a_stop_inside_a_token_is_cut_by_the_transcript():
    reply = generate(ScriptedBackend(["a.\n\n"], tokenizer=MERGED), stop=(".",))
    assert MERGED.decode(reply.ids) == "a.\n\n"
    segment = written(MERGED, reply.ids, author="draft", ending="stop", stop=reply.stop)
    assert segment.text == "a."


def test_alternatives_are_single_tokens_best_first():
    says = Says("7x", top_logprobs=({"8": -2.0, "7": -0.1, "85": -3.0},))
    reply = generate(ScriptedBackend([says], tokenizer=MERGED), top_logprobs=2)
    first, second, *_ = reply.top_logprobs
    assert list(first.items()) == [(ord("7"), -0.1), (ord("8"), -2.0)]
    assert second == {ord("x"): 0.0}
    broken = ScriptedBackend([Says("7", top_logprobs=({"no": -1.0},))])
    with pytest.raises(ScriptError, match="not one token"):
        generate(broken, top_logprobs=1)


def test_functions_see_role_context_and_number():
    seen = []

    def reply(asked: ScriptedRequest):
        seen.append((asked.role, asked.text, asked.number))
        return str(asked.number)

    backend = ScriptedBackend(reply, role="draft")
    replies = [generate(backend, text) for text in ("A", "B")]
    assert [TOKENS.decode(r.ids[:1]) for r in replies] == ["0", "1"]
    assert seen == [("draft", "A", 0), ("draft", "B", 1)]


def test_scores_cover_the_segment_and_read_the_cache():
    ids = tuple(range(64))

    async def both():
        backend = ScriptedBackend(scores=[0.5, [-1.0, -2.0]])
        first = await backend.score(ScoreRequest(ids=ids, start=60))
        second = await backend.score(ScoreRequest(ids=(*ids, 1, 2), start=64))
        return first, second

    first, second = asyncio.run(both())
    assert first.logprobs == (-0.5,) * 4
    assert (first.usage.cached_tokens, first.usage.scored_tokens) == (0, 4)
    assert second.logprobs == (-1.0, -2.0)
    assert second.usage.cached_tokens == 63  # all four blocks, but the last position is needed
    assert 64 % CACHE_BLOCK == 0


def test_a_script_that_does_not_fit_says_so():
    backend = ScriptedBackend([], scores=[[-1.0]], role="draft")
    with pytest.raises(ScriptError, match="request 1 of a script of 0"):
        generate(backend)
    with pytest.raises(ScriptError, match="1 scripted for 2 tokens"):
        asyncio.run(backend.score(ScoreRequest(ids=(1, 2, 3), start=1)))


def test_scripted_errors_are_raised_and_remembered():
    backend = ScriptedBackend([BackendUnavailableError("busy"), "ok"])
    with pytest.raises(BackendUnavailableError):
        generate(backend)
    assert backend.unused == 1
    generate(backend)
    assert backend.unused == 0
    assert [entry.error is None for entry in backend.served] == [False, True]
