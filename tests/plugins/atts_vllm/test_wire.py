"""vLLM's completions and tail scores: what is sent, and replies as a real server gave them."""

import base64
import io

import msgspec
import numpy as np
import pytest
from atts_vllm import wire

from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.engines.replies import decode
from atts_harness.errors import BackendUnavailableError, MalformedReplyError

GENERATION = b"""{"id":"cmpl-1","object":"text_completion","created":1,"model":"tiny","choices":[
{"index":0,"text":"42 z","logprobs":{"text_offset":[0,12],"token_logprobs":[-3.665,-5.5107],
"tokens":["token_id:273","token_id:207"],"top_logprobs":[{"token_id:273":-3.665,
"token_id:450":-2.5298,"token_id:423":-2.7533},{"token_id:207":-5.5107,"token_id:375":-2.7406,
"token_id:429":-2.7923}]},"finish_reason":"length","stop_reason":null,"token_ids":[273,207],
"prompt_logprobs":null,"prompt_token_ids":[1,89,87],"routed_experts":null}],"service_tier":null,
"usage":{"prompt_tokens":20,"total_tokens":22,"completion_tokens":2,"prompt_tokens_details":
{"cached_tokens":16,"created_cache_tokens":null}},"kv_transfer_params":null}"""
SCORE = b"""{"id":"cmpl-2","choices":[{"index":0,"text":"42","logprobs":null,"finish_reason":
"length","stop_reason":null,"token_ids":[273],"prompt_logprobs":[null,{"89":{"logprob":-8.8141,
"rank":289,"decoded_token":"u"}},{"87":{"logprob":-7.0592,"rank":146,"decoded_token":"s"}},
{"295":{"logprob":-8.8367,"rank":328,"decoded_token":"er"}}]}],"usage":{"prompt_tokens":4,
"total_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":0}}}"""
ASKED = GenerateRequest(ids=(1, 2), max_tokens=4, top_logprobs=2, seed=7, stop=("\n\n",))
SCORED = ScoreRequest(ids=(1, 89, 87, 295), start=2)


def changed(body: bytes, kind, **choice):
    """A reply with other fields in its choice."""
    plain = msgspec.json.decode(body)
    plain["choices"][0] |= choice
    return decode(msgspec.json.encode(plain), kind)


def test_everything_a_models_defaults_could_change_is_sent():
    request = msgspec.structs.replace(
        ASKED, sampling=Sampling(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1)
    )
    payload = wire.generate_payload(request, "tiny", eos_ids=[9, 2], priority=False)
    assert msgspec.json.decode(msgspec.json.encode(payload)) == {
        "model": "tiny",
        "prompt": [1, 2],
        "max_tokens": 4,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stop": ["\n\n"],
        "stop_token_ids": [2, 9],
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "return_token_ids": True,
        "seed": 7,
        "logprobs": 2,
        "return_tokens_as_token_ids": True,
    }


def test_a_seed_of_64_bits_fits_into_the_servers():
    big = msgspec.structs.replace(ASKED, seed=2**64 - 1)
    assert wire.generate_payload(big, "m", eos_ids=[], priority=False)["seed"] == 2**63 - 1


def test_prompt_log_probabilities_never_stand_beside_a_cache_that_is_read():
    plain = wire.score_payload(SCORED, "tiny", priority=True)
    assert plain["prompt_logprobs"] == 0
    assert "skip_reading_prefix_cache" not in str(plain)
    tail = wire.tail_payload(SCORED, "tiny", priority=True)
    assert "prompt_logprobs" not in str(tail)
    assert tail["sampling_params"]["skip_reading_prefix_cache"] is False
    assert plain["priority"] == tail["priority"] == 0


def test_a_tail_score_names_each_id_and_starts_one_before_the_segment():
    asked = wire.tail_payload(SCORED, "tiny", priority=False)["sampling_params"]
    assert asked["prompt_logprob_token_ids"] == [[87], [295]]
    assert asked["prompt_logprob_start"] == 1


def test_a_generation():
    reply = wire.read_generate(decode(GENERATION, wire.COMPLETION), ASKED)
    assert reply.ids == (273, 207)
    assert (reply.ending, reply.stop) == ("length", None)
    assert reply.logprobs == (-3.665, -5.5107)
    # The two most likely ones; the sampled token only if it is among them.
    assert reply.top_logprobs == ({450: -2.5298, 423: -2.7533}, {375: -2.7406, 429: -2.7923})
    assert (reply.usage.cached_tokens, reply.usage.computed_tokens) == (16, 6)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"finish_reason": "stop", "stop_reason": "\n\n"}, ("stop", "\n\n")),
        ({"finish_reason": "stop", "stop_reason": 2}, ("eos", None)),
        ({"finish_reason": "stop", "stop_reason": None}, ("eos", None)),
        ({"finish_reason": "length"}, ("length", None)),
    ],
)
def test_why_it_ended(choice, expected):
    reply = wire.read_generate(changed(GENERATION, wire.COMPLETION, **choice), ASKED)
    assert (reply.ending, reply.stop) == expected


def test_a_request_that_was_given_up_is_tried_again():
    with pytest.raises(BackendUnavailableError):
        wire.read_generate(changed(GENERATION, wire.COMPLETION, finish_reason="abort"), ASKED)


@pytest.mark.parametrize("reason", ["error", "repetition", "", None])
def test_an_ending_that_is_not_known_is_a_failed_call_and_not_a_dead_engine(reason):
    with pytest.raises(MalformedReplyError):
        wire.read_generate(changed(GENERATION, wire.COMPLETION, finish_reason=reason), ASKED)


@pytest.mark.parametrize(
    "choice",
    [
        {"token_ids": None},
        {"token_ids": []},
        {"token_ids": [273]},
        {"token_ids": [273, 208]},
        {"logprobs": None},
        {"logprobs": {"tokens": ["42", "z"], "token_logprobs": [-1, -1], "top_logprobs": [{}, {}]}},
    ],
)
def test_a_generation_that_contradicts_itself(choice):
    with pytest.raises(MalformedReplyError):
        wire.read_generate(changed(GENERATION, wire.COMPLETION, **choice), ASKED)


@pytest.mark.parametrize("token", ["token_id:²", "token_id:" + "9" * 5000, "²", ""])
def test_an_alternative_that_names_no_id(token):
    logprobs = {"tokens": [token] * 2, "token_logprobs": [-1.0, -1.0], "top_logprobs": [{}, {}]}
    with pytest.raises(MalformedReplyError, match="is not token_id:N"):
        wire.read_generate(changed(GENERATION, wire.COMPLETION, logprobs=logprobs), ASKED)


def test_a_score_by_prompt_log_probabilities_reads_no_cache():
    reply = wire.read_score(decode(SCORE, wire.SCORED), SCORED)
    assert reply.logprobs == (-7.0592, -8.8367)
    assert reply.usage.computed_tokens == 4
    assert reply.usage.scored_tokens == 2


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        [None, {"89": {"logprob": -1.0}}, {"87": {"logprob": -1.0}}],
        [None, {"89": {"logprob": -1.0}}, {"87": {"logprob": -1.0}}, None],
        [None, {"89": {"logprob": -1.0}}, {"87": {"logprob": -1.0}}, {"296": {"logprob": -1.0}}],
        [None, {"89": {"logprob": -1.0}}, {"87": {"logprob": -1.0}}, {"295": {"logprob": None}}],
    ],
)
def test_a_score_of_other_tokens_or_without_a_number(entries):
    with pytest.raises(MalformedReplyError):
        wire.read_score(changed(SCORE, wire.SCORED, prompt_logprobs=entries), SCORED)


def test_a_score_that_names_its_start_and_a_reply_with_its_rows_alone():
    payload = wire.score_payload(SCORED, "tiny", priority=False, tail=True)
    assert payload["vllm_xargs"] == {"atts_score_from": 2}
    assert "vllm_xargs" not in wire.score_payload(SCORED, "tiny", priority=False)
    rows = [None, {"87": {"logprob": -1.0}}, {"295": {"logprob": -2.0}}]
    reply = changed(SCORE, wire.SCORED, prompt_logprobs=rows)
    assert not wire.whole(reply, SCORED)
    assert wire.read_score(reply, SCORED).logprobs == (-1.0, -2.0)
    assert wire.whole(decode(SCORE, wire.SCORED), SCORED)


@pytest.mark.parametrize(
    "rows",
    [
        [None],
        [None, {"295": {"logprob": -2.0}}],
        [None, {"295": {"logprob": -2.0}}, {"87": {"logprob": -1.0}}],
        [None, {"89": {"logprob": -1.0}}, {"87": {"logprob": -1.0}}],
        [None, None, {"295": {"logprob": -2.0}}],
    ],
)
def test_rows_of_a_segment_that_are_missing_or_anothers(rows):
    with pytest.raises(MalformedReplyError):
        wire.read_score(changed(SCORE, wire.SCORED, prompt_logprobs=rows), SCORED)


def test_a_probability_of_zero_is_a_score():
    zero = [None, {"89": {"logprob": -1.0}}, {"87": {"logprob": -9999.0}}, {"295": {"logprob": -1}}]
    reply = wire.read_score(changed(SCORE, wire.SCORED, prompt_logprobs=zero), SCORED)
    assert reply.logprobs == (-np.inf, -1.0)
    tailed = wire.read_tail(tail([[-1.5], [-np.inf]]), SCORED)
    assert tailed is not None
    assert tailed.logprobs == (-1.5, -np.inf)


def test_entries_before_the_segment_are_not_even_decoded():
    odd = [None, {"89": {"logprob": "odd"}}, {"87": {"logprob": -1.0}}, {"295": {"logprob": -2.0}}]
    reply = wire.read_score(changed(SCORE, wire.SCORED, prompt_logprobs=odd), SCORED)
    assert reply.logprobs == (-1.0, -2.0)


def tail(array, cached=0):
    """A reply of the tail-scoring route."""
    file = io.BytesIO()
    if array is not None:
        np.save(file, np.asarray(array, dtype=np.float32))
    body = {
        "usage": {"prompt_tokens": 4, "prompt_tokens_details": {"cached_tokens": cached}},
        "prompt_token_id_logprobs": None
        if array is None
        else base64.b64encode(file.getvalue()).decode(),
    }
    return decode(msgspec.json.encode(body), wire.TAIL)


def test_a_tail_score_computes_the_segment_only():
    reply = wire.read_tail(tail([[-1.5], [-2.5]], cached=1), SCORED)
    assert reply is not None
    assert reply.logprobs == (-1.5, -2.5)
    assert reply.usage.computed_tokens == 3


def test_a_tail_that_was_dropped_for_the_cache_is_no_score():
    assert wire.read_tail(tail(None), SCORED) is None


@pytest.mark.parametrize(
    "array", [[[-1.5]], [[-1.5], [-2.5], [-3.5]], [-1.5, -2.5], [[-1.5, 0], [-2, 0]]]
)  # fmt: skip
def test_a_tail_of_another_shape(array):
    with pytest.raises(MalformedReplyError):
        wire.read_tail(tail(array), SCORED)


def test_a_tail_that_is_no_array():
    broken = decode(
        b'{"usage": {"prompt_tokens": 4}, "prompt_token_id_logprobs": "AAAA"}', wire.TAIL
    )
    with pytest.raises(MalformedReplyError):
        wire.read_tail(broken, SCORED)
