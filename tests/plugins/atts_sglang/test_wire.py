"""SGLang's `/generate`: what is sent, and replies as a real server gave them."""

from itertools import islice, pairwise

import msgspec
import pytest
from atts_sglang.wire import (
    Reply,
    generate_payload,
    read_generate,
    read_score,
    request_ids,
    score_payload,
)

from atts_harness.backend import GenerateRequest, Sampling, ScoreRequest
from atts_harness.engines.replies import decode
from atts_harness.errors import BackendUnavailableError, MalformedReplyError

GENERATION = b"""{"text":"x numbers$","output_ids":[180,422,271,8],"meta_info":{"id":"a2",
"finish_reason":{"type":"length","length":4},"prompt_tokens":20,"weight_version":"default",
"queue_time":0.0008,"input_token_logprobs":[],"output_token_logprobs":[[-3.0677,180,null],
[-4.9963,422,null],[-1.1541,271,null],[-1.7032,8,null]],"output_token_logprobs_length":4,
"input_top_logprobs":[],"output_top_logprobs":[[[-2.5298,450,null],[-2.7533,423,null]],
[[-2.7799,174,null],[-2.9634,345,null]],[[-1.1541,271,null],[-2.6458,278,null]],
[[-1.7032,8,null],[-2.1876,18,null]]],"completion_tokens":4,"cached_tokens":19,"dp_rank":null,
"e2e_latency":0.0331,"first_token_latency":0.0155}}"""
SCORE = b"""{"text":"","output_ids":[],"meta_info":{"id":"a3","finish_reason":{"type":"length",
"length":0},"prompt_tokens":14,"input_token_logprobs":[[null,203,null],[-7.959,1,null],
[-8.8495,69,null],[-4.6857,87,null]],"output_token_logprobs":[],"completion_tokens":0,
"cached_tokens":10,"first_token_latency":0.0118}}"""
ASKED = GenerateRequest(ids=(1, 2), max_tokens=4, top_logprobs=2, seed=7, stop=("\n\n",))
SCORED = ScoreRequest(ids=(*range(10), 203, 1, 69, 87), start=11)


def changed(body: bytes, **meta):
    """A reply with other fields in `meta_info`."""
    plain = msgspec.json.decode(body)
    plain["meta_info"] |= meta
    return decode(msgspec.json.encode(plain), Reply)


def payload(request, **fields):
    usual = {"eos_ids": [2], "seeds": True, "priority": None}
    return generate_payload(request, "r", **(usual | fields))


def test_everything_a_servers_defaults_could_change_is_sent():
    sent = payload(
        msgspec.structs.replace(
            ASKED, sampling=Sampling(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1)
        )
    )
    assert sent["rid"] == "r"
    assert sent["sampling_params"] == {
        "max_new_tokens": 4,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "repetition_penalty": 1.0,
        "stop": ["\n\n"],
        "stop_token_ids": [2],
        "no_stop_trim": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
        "sampling_seed": 7,
    }
    assert (sent["return_logprob"], sent["top_logprobs_num"]) == (True, 2)
    assert "priority" not in sent


def test_no_top_k_is_all_tokens_and_seeds_only_where_they_are_taken():
    assert payload(ASKED)["sampling_params"]["top_k"] == -1
    assert "sampling_seed" not in payload(ASKED, seeds=False)["sampling_params"]
    plain = GenerateRequest(ids=(1,), max_tokens=1)
    assert "return_logprob" not in payload(plain)
    assert payload(plain, priority=-2)["priority"] == -2


def test_a_score_asks_from_one_before_the_segment_and_is_never_greedy():
    sent = score_payload(SCORED, "r", priority=None)
    assert sent["logprob_start_len"] == 10
    assert sent["sampling_params"] == {"max_new_tokens": 0, "temperature": 1.0}


def test_a_generation():
    reply = read_generate(decode(GENERATION, Reply), ASKED, tempered=False)
    assert reply.ids == (180, 422, 271, 8)
    assert (reply.ending, reply.stop) == ("length", None)
    assert reply.logprobs == (-3.0677, -4.9963, -1.1541, -1.7032)
    assert reply.top_logprobs is not None
    assert reply.top_logprobs[0] == {450: -2.5298, 423: -2.7533}
    assert (reply.usage.prompt_tokens, reply.usage.cached_tokens) == (20, 19)
    assert reply.usage.computed_tokens == 5
    assert reply.usage.time_to_first_token == 0.0155


@pytest.mark.parametrize(("temperature", "known"), [(0.0, True), (1.0, True), (0.8, False)])
def test_tempered_log_probabilities_are_not_passed_off_as_others(temperature, known):
    asked = msgspec.structs.replace(ASKED, sampling=Sampling(temperature=temperature))
    reply = read_generate(decode(GENERATION, Reply), asked, tempered=True)
    assert (reply.logprobs is not None) == known
    assert (reply.top_logprobs is not None) == known


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ({"type": "stop", "matched": "\n\n"}, ("stop", "\n\n")),
        ({"type": "stop", "matched": 2}, ("eos", None)),
        ({"type": "stop", "matched": None}, ("eos", None)),
        ({"type": "length", "length": 4}, ("length", None)),
    ],
)
def test_why_it_ended(reason, expected):
    reply = read_generate(changed(GENERATION, finish_reason=reason), ASKED, tempered=False)
    assert (reply.ending, reply.stop) == expected


def test_an_aborted_request_is_tried_again():
    reply = changed(GENERATION, finish_reason={"type": "abort", "message": "shutting down"})
    with pytest.raises(BackendUnavailableError, match="shutting down"):
        read_generate(reply, ASKED, tempered=False)
    with pytest.raises(BackendUnavailableError):
        read_score(reply, SCORED, 1000)


@pytest.mark.parametrize(
    "meta",
    [
        {"completion_tokens": 5},
        {"output_token_logprobs": [[-1.0, 180, None]]},
        {"output_token_logprobs": [[None, i, None] for i in (180, 422, 271, 8)]},
        {"output_token_logprobs": [[-1.0, i, None] for i in (180, 422, 271, 9)]},
        {"output_top_logprobs": None},
    ],
)
def test_a_generation_that_contradicts_itself(meta):
    with pytest.raises(MalformedReplyError):
        read_generate(changed(GENERATION, **meta), ASKED, tempered=False)


def test_a_score():
    reply = read_score(decode(SCORE, Reply), SCORED, 1000)
    assert reply.logprobs == (-7.959, -8.8495, -4.6857)
    assert reply.usage.scored_tokens == 3
    assert reply.usage.computed_tokens == 4


ENTRIES = [[None, 203, None], [-7.9, 1, None], [-8.8, 69, None], [-4.6, 87, None]]


@pytest.mark.parametrize(
    "entries",
    [
        None,
        [],
        ENTRIES[:-1],
        ENTRIES[1:],
        [*ENTRIES, [-1.0, 5, None]],
        [*ENTRIES[:3], [None, 87, None]],
        [*ENTRIES[:3], [-4.6, 88, None]],
    ],
)
def test_a_score_of_other_tokens_or_without_a_number(entries):
    with pytest.raises(MalformedReplyError):
        read_score(changed(SCORE, input_token_logprobs=entries), SCORED, 1000)


def test_a_probability_of_zero_is_a_score():
    zero = [*ENTRIES[:3], [-3.4028234663852886e38, 87, None]]
    reply = read_score(changed(SCORE, input_token_logprobs=zero), SCORED, 1000)
    assert reply.logprobs[-1] == float("-inf")


def test_the_last_id_of_a_vocabulary_is_told_as_0():
    """As SGLang 0.5.23 does: `x if x < vocab_size - 1 else 0`."""
    asked = msgspec.structs.replace(SCORED, ids=(*SCORED.ids[:-1], 87))
    told = changed(SCORE, input_token_logprobs=[*ENTRIES[:3], [-4.6, 0, None]])
    assert read_score(told, asked, 88).logprobs == (-7.9, -8.8, -4.6)
    with pytest.raises(MalformedReplyError):
        read_score(told, asked, 89)


def test_no_request_id_begins_with_another_for_that_would_abort_both():
    made = list(islice(request_ids(), 1200))
    other = next(request_ids())
    assert len(set(made)) == 1200
    # What begins with an id stands right behind it when they are sorted.
    assert not any(b.startswith(a) for a, b in pairwise(sorted(made)))
    assert not other.startswith(made[0][:8])
