"""The lm-eval model on a scripted pair: what reaches the roles, what comes back."""

import asyncio
import json

import pytest
from atts_lm_eval.answer import Answer
from atts_lm_eval.model import AttsLM, model_class
from atts_lm_eval.prompts import ChatPrompt

from atts_harness import plugins
from atts_harness.backend import BackendKind, BackendOptions
from atts_harness.errors import BadRequestError, ContextLengthError, SettingError
from atts_harness.hookspecs import Preset, hookimpl
from atts_harness.testing.scripted import Says


@pytest.fixture
def lm(pair):
    made = []

    def make(cls=AttsLM, **args):
        made.append(cls(**args))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_without_arguments_the_default_pair_is_used(pair, lm):
    lm()
    assert [(spec.role, spec.kind, spec.model) for spec in pair.opened] == [
        ("draft", "scripted", "small"),
        ("target", "scripted", "large"),
    ]


def test_answers_come_in_the_order_of_requests(pair, lm, ask):
    pair.draft.replies = lambda asked: rf"\boxed{{{asked.text.count('x')}}}"
    requests = [ask("xxx", doc=2), ask("x", doc=0), ask("xx", doc=0, task="other")]
    answers = lm(rate=0.0).generate_until(requests)
    assert answers == [r"\boxed{3}", r"\boxed{1}", r"\boxed{2}"]
    assert [(a.record.id.task, a.record.id.doc) for a in answers] == [
        ("sums", 2),
        ("sums", 0),
        ("other", 0),
    ]


def test_repeats_are_numbered_and_have_seeds_of_their_own(pair, lm, ask):
    request = ask("q", doc=5)
    answers = lm().generate_until([request] * 3)
    assert [a.record.id.repeat for a in answers] == [0, 1, 2]
    seeds = [served.request.seed for served in pair.draft.served]
    assert len(set(seeds)) == 3


def test_the_same_run_seed_gives_the_same_call_seeds(pair, lm, ask):
    def seeds(**args):
        pair.draft.served.clear()
        lm(**args).generate_until([ask("q")] * 2)
        return sorted(served.request.seed for served in pair.draft.served)

    assert seeds(seed=7) == seeds(seed=7)
    assert seeds(seed=7) != seeds(seed=8)


def test_chat_messages_reach_each_role_unrendered(pair, lm, ask):
    history = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}]
    model = lm()
    prompt = model.apply_chat_template(history)
    assert json.loads(prompt) == history
    model.generate_until([ask(prompt)])
    expected = "<|system|>Be brief.<|end|><|user|>2+2?<|end|><|assistant|>"
    assert pair.draft.served[0].text == expected
    assert pair.target.served[0].text.startswith(expected)


def test_a_partial_assistant_turn_is_continued(pair, lm, ask):
    model = lm()
    history = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "The answer is"}]
    model.generate_until([ask(model.apply_chat_template(history, add_generation_prompt=False))])
    assert pair.draft.served[0].text == "<|user|>q<|end|><|assistant|>The answer is"


def test_raw_text_is_one_user_message_and_said_once(pair, lm, ask, caplog, monkeypatch):
    monkeypatch.setattr("atts_lm_eval.planning._said", set())
    caplog.set_level("INFO", "lm_eval.atts")
    model = lm()
    model.generate_until([ask("2+2?")])
    model.generate_until([ask("3+3?", doc=1)])
    assert pair.draft.served[0].text == "<|user|>2+2?<|end|><|assistant|>"
    assert [r.message for r in caplog.records].count(
        "without --apply_chat_template each raw prompt becomes one user message; every role "
        "renders it with its own chat template"
    ) == 1


def test_until_ends_and_cuts_a_sample(pair, lm, ask):
    pair.draft.replies = lambda asked: "one Q: two"
    (answer,) = lm().generate_until([ask(until=["Q:"])])
    assert answer == "one "
    assert answer.record.finish == "until"


def test_model_args_win_over_the_task_which_wins_over_defaults(pair, lm, ask, caplog):
    caplog.set_level("INFO", "lm_eval.atts")
    pair.draft.replies = lambda asked: Says("word " * 50, ending="length")
    task = {"max_gen_toks": 12, "draft_tokens": 4, "temperature": 0.3}
    (by_task,) = lm(rate=0.0).generate_until([ask(**task)])
    assert by_task.record.kept_tokens == {"draft": 12}
    assert by_task.record.turns == 3
    assert pair.draft.served[0].request.sampling.temperature == 0.3
    (explicit,) = lm(rate=0.0, draft_tokens=6, draft_temperature=0.9).generate_until([ask(**task)])
    assert explicit.record.turns == 2
    assert pair.draft.served[-1].request.sampling.temperature == 0.9
    messages = [r.message for r in caplog.records]
    assert "sums: draft_tokens=6 (model_args) wins over the task's 4" in messages


def test_a_failed_sample_is_an_empty_answer_and_told(pair, lm, ask, caplog):
    def reply(asked):
        return BadRequestError("no") if "bad" in asked.text else r"\boxed{1}"

    pair.draft.replies = reply
    bad, good = lm(rate=0.0).generate_until([ask("bad", doc=0), ask("good", doc=1)])
    assert (bad, good) == ("", r"\boxed{1}")
    assert bad.record.finish == "failed"
    assert "BadRequestError" in bad.record.failed
    assert any("1 of 2 samples failed" in r.message for r in caplog.records)


def test_model_info_is_json_with_options_and_statistics(pair, lm, ask):
    pair.target.scores = lambda asked: 3.0 if "0" in asked.text else 0.1
    model = lm(model_class("random-takeover"), rate=1.0)
    model.generate_until([ask("0", doc=0), ask("1", doc=1)] * 2)
    info = json.loads(json.dumps(model.get_model_info()))["atts"]
    assert info["strategy"] == "random-takeover"
    assert info["options"]["rate"] == 1.0
    assert info["roles"]["draft"]["engine"] == "scripted"
    statistics = info["statistics"]["sums"]
    assert (statistics["problems"], statistics["samples"], statistics["failed"]) == (2, 4, 0)
    assert statistics["takeover"]["nominal_rate"] == 1.0
    assert statistics["takeover"]["realised_rate"] == 1.0
    written = len(r"Thus \boxed{42}.") + 1  # and the end of the turn
    assert statistics["tokens_per_sample"]["target_written"] == written
    assert statistics["calls"]["target/takeover"]["calls"] == 4


def test_it_works_where_a_loop_is_running_already(pair, lm, ask):
    async def notebook():
        return lm(rate=0.0).generate_until([ask()])

    assert asyncio.run(notebook()) == [r"So \boxed{42}."]


def test_closing_closes_the_engines(pair, lm):
    model = lm()
    model.close()
    assert pair.draft.closed
    assert pair.target.closed


@pytest.mark.parametrize("strategy", ["atts", "draft-only", "target-only", "random-takeover"])
def test_every_strategy_is_a_model(pair, lm, ask, strategy):
    model = lm(model_class(strategy))
    (answer,) = model.generate_until([ask()])
    assert "42" in answer
    assert isinstance(answer, Answer)
    assert answer.record.strategy == strategy


def test_model_atts_takes_a_strategy(pair, lm):
    assert lm(strategy="target-only").settings.strategy.name == "target-only"


class Published:
    """A preset that is made for a strategy."""

    @hookimpl
    def atts_presets(self):
        return [Preset("alone", {"strategy": "target-only", "top_p": 0.9}, "as published")]


def test_a_presets_strategy_counts_where_the_models_name_says_none(pair, lm):
    plugins.manager().register(Published(), name="published")
    try:
        for cls in (AttsLM, model_class("target-only")):
            settings = lm(cls, preset="alone").settings
            assert settings.strategy.name == "target-only"
            assert settings.run.top_p == 0.9
        with pytest.raises(SettingError, match="made for strategy target-only, not draft-only"):
            lm(model_class("draft-only"), preset="alone")
    finally:
        plugins.manager().unregister(name="published")


UNSAID = {"batch_size": 1, "max_batch_size": None, "device": "cuda:0"}


@pytest.fixture
def from_flags(pair):
    """A model as lm-eval's command makes it."""
    made = []

    def make(flags, model_args=None):
        made.append(AttsLM.create_from_arg_obj(model_args or {}, {**UNSAID, **flags}))
        return made[-1].settings

    yield make
    for model in made:
        model.close()


def test_flags_are_worked_in(from_flags):
    settings = from_flags({"batch_size": "8", "max_batch_size": 4, "device": "cpu"})
    assert settings.run.live_samples == 8
    assert settings.roles["draft"].options.device == "cpu"
    assert settings.roles["target"].options.max_batch_size == 4


def test_what_nobody_said_changes_nothing(from_flags):
    assert from_flags({}) == from_flags({"batch_size": "auto:4", "device": None})
    assert from_flags({}).roles["draft"].options.device == "auto"
    assert from_flags({}).run.live_samples == 0


def test_model_args_win_over_flags_of_their_name(from_flags):
    explicit = {"device": "cuda:0", "batch_size": 2, "max_batch_size": 3}
    settings = from_flags({"device": "cpu", "batch_size": "8", "max_batch_size": 4}, explicit)
    assert settings.roles["draft"].options.device == "cuda:0"
    assert settings.roles["draft"].options.max_batch_size == 3
    assert settings.run.live_samples == 2


def test_one_roles_device_wins_over_the_flag(from_flags):
    settings = from_flags({"device": "cpu"}, {"draft_device": "cuda:1"})
    assert settings.roles["draft"].options.device == "cuda:1"
    assert settings.roles["target"].options.device == "cpu"


def test_arguments_as_text(pair):
    model = AttsLM.create_from_arg_string("rate=0.3,coverage=marginal,seed=7", UNSAID)
    model.close()
    assert model.settings.explicit == {"rate": 0.3, "coverage": "marginal"}
    assert model.settings.run.seed == 7


def test_a_flag_that_no_backend_takes_is_told(from_flags, caplog):
    class Remote(BackendOptions, frozen=True, kw_only=True):
        url: str | None = None

    async def never(spec):
        raise BadRequestError("opened")

    class Plugin:
        @hookimpl
        def atts_backends(self):
            return [BackendKind("remote", Remote, never)]

    plugins.manager().register(Plugin())
    with pytest.raises(BadRequestError):
        from_flags({"device": "cpu"}, {"backend": "remote", "url": "http://x"})
    assert "--device: no backend of this run has such a setting" in caplog.text


def test_trust_remote_code_reaches_backends_that_have_it(pair, lm):
    assert lm(trust_remote_code=True).settings.roles["target"].options.trust_remote_code


class Recorded:
    dbdict = frozenset({"x"})


BAD = {
    "unknown": ({"rat": 0.3}, "model_args: unknown setting 'rat'; did you mean rate"),
    "wrong type": ({"turns": "many"}, "turns: expected `int`"),
    "out of range": ({"rate": 1.5}, "rate: expected `float` <= 1"),
    "unknown backend": ({"backend": "skripted"}, "did you mean scripted"),
    "unknown strategy": ({"strategy": "at"}, "did you mean atts"),
    "unknown preset": ({"preset": "papr"}, "did you mean paper"),
    "unknown extractor": ({"extractor": "boxd"}, "did you mean boxed"),
    "key": ({"api_key": "sk-123"}, "api_key: looks like a secret"),
    "choice": ({"on_reject": "keep"}, "on_reject: expected one of continue, replace (got 'keep')"),
    "password in an address": ({"draft": "http://me:pw@host/v1"}, "draft: looks like a secret"),
    "key as value": ({"draft": "sk-abcdefghijklmnop"}, "looks like a secret"),
    "batch size": ({"batch_size": "0"}, "batch_size: must be at least 1"),
    "batch size text": ({"batch_size": "big"}, "batch_size: expected `int`"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_model_args_are_one_clear_line(pair, lm, name):
    args, message = BAD[name]
    with pytest.raises(SettingError) as caught:
        lm(**args)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "sk-abc" not in str(caught.value)
    assert "pw" not in str(caught.value)
    assert not pair.opened


def test_a_strategy_that_contradicts_the_model_is_refused(pair, lm):
    with pytest.raises(SettingError, match="strategy=atts: the model is draft-only"):
        lm(model_class("draft-only"), strategy="atts")


def test_many_processes_are_refused(pair, lm, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match=r"world_size=2.*router"):
        lm()


def test_a_response_cache_is_refused(pair, lm):
    with pytest.raises(SettingError, match=r"--use_cache.*run_dir"):
        lm().set_cache_hook(Recorded())


def test_a_template_by_name_is_refused(pair, lm):
    with pytest.raises(SettingError, match="--apply_chat_template rag"):
        lm().chat_template("rag")


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_prompt_is_refused(pair, lm, ask, text):
    with pytest.raises(SettingError, match="task sums: the prompt of document 3 is empty"):
        lm().generate_until([ask(text, doc=3)])
    assert not pair.draft.served


def test_an_overlong_prompt_is_refused_before_anything_is_generated(pair, lm, ask):
    pair.draft.max_length = 64
    with pytest.raises(ContextLengthError, match="the prompt of document 1 has"):
        lm(max_gen_toks=8).generate_until([ask("short"), ask("long " * 20, doc=1)])
    assert not pair.draft.served


def test_a_context_too_small_for_the_budget_is_refused(pair, lm, ask):
    pair.target.max_length = 100
    with pytest.raises(ContextLengthError, match=r"max_gen_toks=500: .* at most max_gen_toks="):
        lm(max_gen_toks=500).generate_until([ask()])
    assert not pair.draft.served


def test_a_model_without_a_chat_template_is_refused_at_once(pair, lm):
    def render(messages):
        raise SettingError("chat_template: the tokenizer of 'small' has none")

    pair.draft.tokenizer.render = render
    with pytest.raises(SettingError, match="chat_template"):
        lm()


def test_prompts_survive_a_cache(pair):
    import copy
    import pickle

    prompt = ChatPrompt.of([{"role": "user", "content": "ä"}])
    for other in (copy.deepcopy(prompt), pickle.loads(pickle.dumps(prompt))):
        assert other == prompt
        assert other.messages == prompt.messages


def test_a_model_that_is_evaluated_twice_has_its_statistics_apart(pair, lm, ask):
    model = lm(rate=0.0)
    model.generate_until([ask("one"), ask("two", doc=1)])
    first = model.get_model_info()["atts"]["statistics"]
    model.generate_until([ask("three", doc=2, task="other")])
    second = model.get_model_info()["atts"]["statistics"]
    assert {task: told["samples"] for task, told in first.items()} == {"sums": 2}
    assert {task: told["samples"] for task, told in second.items()} == {"other": 1}
    model.generate_until([ask("one"), ask("two", doc=1)])
    assert model.get_model_info()["atts"]["statistics"]["sums"]["samples"] == 2
