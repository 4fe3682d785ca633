"""Answers, whole and as they are written, by the OpenAI SDK."""

import pytest

from atts_harness.records import SampleId
from atts_harness.running.seeds import call_seed

chat = pytest.importorskip("openai.types.chat")
ChatCompletion, ChatCompletionChunk = chat.ChatCompletion, chat.ChatCompletionChunk

ASKED = {"model": "mock-turns", "messages": [{"role": "user", "content": "How far?"}]}


def facts(choice):
    return choice.model_extra["atts"]


def test_a_whole_answer_has_openais_shape_and_the_facts_of_its_sample(shared):
    answer = shared.client().chat.completions.create(**ASKED)
    assert type(answer) is ChatCompletion
    ChatCompletion.model_validate(answer.to_dict(), strict=True)
    (choice,) = answer.choices
    told = facts(choice)
    kept = [s["text"] for turn in told["turns"] for s in turn["segments"] if s["kept"]]
    assert choice.message.content == "".join(kept)
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "length"  # its turns ran out
    assert told["finish"] == "turns"
    assert [turn["turn"] for turn in told["turns"]] == [0, 1, 2]
    usage = answer.usage
    kept_tokens = sum(role.get("kept", 0) for role in told["tokens"].values())
    assert usage.completion_tokens == kept_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens_details.reasoning_tokens == 0
    assert 0 <= usage.prompt_tokens_details.cached_tokens <= usage.prompt_tokens
    assert told["tokens"]["target"]["scored"] > 0


def test_a_stream_tells_the_turns_and_then_what_they_cost(shared):
    client = shared.client().chat.completions
    whole = client.create(**ASKED, seed=7)
    parts = list(
        client.create(**ASKED, seed=7, stream=True, stream_options={"include_usage": True})
    )
    assert all(type(part) is ChatCompletionChunk for part in parts)
    for part in parts:
        ChatCompletionChunk.model_validate(part.to_dict(), strict=True)
    *told, last = parts
    assert told[0].choices[0].delta.role == "assistant"
    words = [part.choices[0].delta.content for part in told if part.choices[0].delta.content]
    assert "".join(words) == whole.choices[0].message.content
    assert len(words) >= 3  # one a turn, and what the target wrote behind
    assert told[-1].choices[0].finish_reason == "length"
    assert facts(told[-1].choices[0])["turns"] == facts(whole.choices[0])["turns"]
    assert last.choices == []
    assert last.usage == whole.usage
    assert all(part.usage is None for part in told)


def test_without_include_usage_a_stream_has_none(shared):
    parts = list(shared.client().chat.completions.create(**ASKED, stream=True))
    assert all(part.choices and "usage" not in part.model_fields_set for part in parts)


@pytest.mark.parametrize("seed", range(8))  # some drafts close their turn, or are empty
def test_events_tell_every_call_and_decision(shared, seed):
    parts = shared.client().chat.completions.create(
        **ASKED, seed=seed, stream=True, extra_body={"atts": {"events": True}}
    )
    told = [part.choices[0].model_extra.get("atts", {}) for part in parts]
    events = [atts["event"] for atts in told if "event" in atts]
    facts = told[-1]
    kinds = [(event["author"], event["kind"]) for event in events if event["type"] == "call"]
    drafts = [event["text"] for event in events if event.get("kind") == "draft"]
    assert kinds.count(("draft", "draft")) == len(drafts) == 3
    assert kinds.count(("target", "score")) == len(list(filter(None, drafts)))
    decided = [event for event in events if event["type"] == "decision"]
    assert [d["turn"] for d in decided] == [t["turn"] for t in facts["turns"] if "takeover" in t]
    kept = [s["text"] for t in facts["turns"] for s in t["segments"] if s["author"] == "draft"]
    assert list(filter(None, drafts)) == kept


def test_n_samples_are_n_repeats(shared):
    client = shared.client().chat.completions
    answer = client.create(**ASKED, n=3, seed=1)
    texts = [choice.message.content for choice in answer.choices]
    assert len(set(texts)) == 3
    assert [facts(choice)["repeat"] for choice in answer.choices] == [0, 1, 2]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    alone = client.create(**ASKED, seed=1)
    assert alone.choices[0].message.content == texts[0]
    assert answer.usage.prompt_tokens == alone.usage.prompt_tokens
    streamed = {0: "", 1: "", 2: ""}
    for part in client.create(**ASKED, n=3, seed=1, stream=True):
        for choice in part.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert list(streamed.values()) == texts


def test_a_seed_repeats_an_answer_and_without_one_each_is_fresh(shared):
    def text(**more):
        answer = shared.client().chat.completions.create(**ASKED, **more)
        return answer.choices[0].message.content

    assert text(seed=5) == text(seed=5) != text(seed=6)
    assert len({text() for _ in range(4)}) == 4


def test_a_place_makes_the_seeds_those_of_the_evaluation(shared):
    place = {"task": "some_task", "doc": 4, "repeat": 1}
    seen = []
    backend = shared.do(lambda s: next(iter(s.house._backends.values())))
    generate = backend.generate

    async def watched(request):
        seen.append(request.seed)
        return await generate(request)

    backend.generate = watched
    try:
        answer = shared.client().chat.completions.create(
            **ASKED, seed=99, extra_body={"atts": place}
        )
    finally:
        del backend.generate
    told = facts(answer.choices[0])
    assert (told["task"], told["doc"], told["repeat"]) == ("some_task", 4, 1)
    assert seen[0] == call_seed(1234, SampleId("some_task", 4, 1), "draft", "draft", 0)


def test_stops_cut_the_text_and_are_never_told(shared):
    client = shared.client().chat.completions
    whole = client.create(**ASKED, seed=3, extra_body={"atts": {"task": "t", "doc": 0}})
    text = whole.choices[0].message.content
    stop = text[14:17]  # in the middle of a turn
    at = text.find(stop)
    more = {"stop": [stop], "extra_body": {"atts": {"task": "t", "doc": 0}}}
    cut = client.create(**ASKED, **more)
    assert cut.choices[0].message.content == text[:at]
    parts = client.create(**ASKED, **more, stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in parts) == text[:at]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_budget_is_kept(shared, name):
    answer = shared.client().chat.completions.create(**ASKED, **{name: 5})
    assert answer.usage.completion_tokens <= 5
    assert answer.choices[0].finish_reason == "length"


def test_values_of_the_strategy_can_be_set(shared):
    for rate, expected in ((0, 0), (1, 3)):
        answer = shared.client().chat.completions.create(
            **ASKED, extra_body={"atts": {"rate": rate}}
        )
        taken = [t for t in facts(answer.choices[0])["turns"] if t.get("takeover")]
        assert len(taken) == expected


def test_temperature_and_nucleus_reach_the_engine(shared):
    seen = []
    backend = shared.do(lambda s: next(iter(s.house._backends.values())))
    generate = backend.generate

    async def watched(request):
        seen.append(request.sampling)
        return await generate(request)

    backend.generate = watched
    try:
        shared.client().chat.completions.create(
            **ASKED, temperature=0.25, top_p=0.5, extra_body={"top_k": 7, "min_p": 0.125}
        )
    finally:
        del backend.generate
    first = seen[0]
    assert (first.temperature, first.top_p, first.top_k, first.min_p) == (0.25, 0.5, 7, 0.125)


def test_fields_that_are_not_read_are_named_once(shared, caplog):
    for _ in range(2):
        shared.client().chat.completions.create(
            **ASKED, extra_body={"mirostat_tau": 3, "user": "x"}
        )
    said = [record.getMessage() for record in caplog.records if "ignored" in record.message]
    assert said == ["fields of requests that are ignored: mirostat_tau"]


def test_models_are_listed_by_name(shared):
    client = shared.client()
    (model,) = client.models.list().data
    assert model.id == "mock-turns"
    assert client.models.retrieve("mock-turns") == model
    assert model.model_extra["atts"]["options"]["turns"] == 3
