"""The same strategy under lm_eval and behind the endpoint: the same texts, byte for byte."""

import json

import pytest

from atts_harness.errors import SettingError

pytest.importorskip("torch", reason="real models need the extra `transformers`")
pytest.importorskip("transformers", reason="real models need the extra `transformers`")
pytest.importorskip("openai")

TASK = "atts_chain_easy"
# What the task's YAML says, which lm_eval takes from there.
TURNS = {"turn_stop": "\n\n", "draft_tokens": 96, "target_tokens": 96, "turns": 40}
DRAWN = {"temperature": 0.8, "top_p": 1.0, "max_tokens": 640}
PRESET = "tiny-calibrated"


@pytest.fixture(scope="module")
def evaluated():
    """By document and repeat the messages and the text, as `lm_eval --model atts` has them."""
    from atts_lm_eval import bridge
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from atts_harness import plugins

    bridge.install()
    folders = [str(entry.value) for entry in plugins.task_dirs().values()]
    wanted = {"num_problems": 2, "repeats": 2}
    results = simple_evaluate(
        model="atts",
        model_args={"preset": PRESET, "rate": 0.3},
        tasks=[TASK],
        task_manager=TaskManager(include_defaults=False, include_path=folders, metadata=wanted),
        limit=2,
        bootstrap_iters=0,
        apply_chat_template=True,
        device="cpu",
    )
    found = {}
    for sample in results["samples"][TASK]:
        messages = json.loads(sample["arguments"][0][0])
        for repeat, text in enumerate(sample["resps"][0]):
            found[sample["doc_id"], repeat] = (messages, text)
    return found


def test_texts_are_those_of_lm_eval(evaluated, serving):
    with serving([PRESET], {"rate": 0.3, **TURNS}) as server:
        client = server.client(timeout=120).chat.completions
        assert len(evaluated) == 4
        for (doc, repeat), (messages, text) in evaluated.items():
            place = {"task": TASK, "doc": doc, "repeat": repeat}
            answer = client.create(
                model=PRESET, messages=messages, **DRAWN, extra_body={"atts": place}
            )
            (choice,) = answer.choices
            assert choice.model_extra["atts"]["text"] == str(text)
            told = text.record.decisions
            turns = {t["turn"]: t for t in choice.model_extra["atts"]["turns"] if "p_value" in t}
            assert [turns[d.turn]["p_value"] for d in told] == [d.p_value for d in told]
            thoughts = choice.message.model_extra["reasoning_content"]
            assert f"{thoughts}</think>{choice.message.content}" == str(text)
            usage = answer.usage
            reasoning = usage.completion_tokens_details.reasoning_tokens
            assert 0 < reasoning < usage.completion_tokens
            assert 0 < usage.prompt_tokens_details.cached_tokens < usage.prompt_tokens


def test_a_stream_tells_the_same_text(evaluated, serving):
    with serving([PRESET], {"rate": 0.3, **TURNS}) as server:
        messages, text = evaluated[0, 0]
        parts = server.client(timeout=120).chat.completions.create(
            model=PRESET,
            messages=messages,
            **DRAWN,
            stream=True,
            extra_body={"atts": {"task": TASK, "doc": 0, "repeat": 0, "thoughts": "within"}},
        )
        streamed = [part.choices[0].delta.content or "" for part in parts]
    assert "".join(streamed) == str(text)
    assert len([piece for piece in streamed if piece]) > 1


def test_n_samples_are_the_repeats_of_lm_eval(evaluated, serving):
    with serving([PRESET], {"rate": 0.3, **TURNS}, thoughts="within", task=TASK) as server:
        client = server.client(timeout=120).chat.completions
        (messages, first), (_, second) = evaluated[0, 0], evaluated[0, 1]
        place = {"task": TASK, "doc": 0}
        answer = client.create(
            model=PRESET, messages=messages, **DRAWN, n=2, extra_body={"atts": place}
        )
        assert [choice.message.content for choice in answer.choices] == [str(first), str(second)]
        # Without a place it counts to the server's task, whose bank decides.
        alone = client.create(model=PRESET, messages=messages, **DRAWN)
        assert alone.choices[0].model_extra["atts"]["task"] == TASK


def test_a_bank_is_for_the_task_and_settings_that_it_was_made_with(evaluated, serving, caplog):
    import openai

    with serving([PRESET], TURNS) as server:
        client = server.client(timeout=120).chat.completions
        messages, _ = evaluated[0, 0]
        asked = {"model": PRESET, "messages": messages, **DRAWN}
        for more in (
            {"extra_body": {"atts": {"task": "another", "doc": 0}}},
            {"temperature": 0.1, "extra_body": {"atts": {"task": TASK, "doc": 0}}},
        ):
            with pytest.raises(openai.BadRequestError, match="how this model is served") as caught:
                client.create(**{**asked, **more})
            assert "bank" not in str(caught.value)
    assert "banks of task another" in caplog.text
    assert "draft_temperature" in caplog.text


def test_a_bank_that_does_not_fit_the_servers_task_is_told_at_the_start(serving, caplog):
    with (
        pytest.raises(SettingError, match="on_reject"),
        serving([PRESET], {**TURNS, "on_reject": "replace"}, task=TASK),
    ):
        pass
    with serving([PRESET], {**TURNS, "on_reject": "replace"}):
        pass
    assert "requests have to name a task that its bank is for" in caplog.text
