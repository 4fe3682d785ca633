"""The engine's own speculative decoding: methods, presets, and what was accepted."""

import json

import pytest
from atts_sglang.options import SGLangOptions
from atts_sglang.plugin import KIND as SGLANG
from atts_sglang.speculation import METHODS as OF_SGLANG
from atts_sglang.speculation import speculation_flags as sglang_flags
from atts_vllm.options import VLLMOptions
from atts_vllm.plugin import KIND as VLLM
from atts_vllm.speculation import METHODS as OF_VLLM
from atts_vllm.speculation import speculation_flags as vllm_flags

from atts_harness import plugins
from atts_harness.backend import BackendSpec, GenerateReply, Usage
from atts_harness.engines.managed import speculative
from atts_harness.errors import SettingError
from atts_harness.ledger.speculation import accepted_by_engines, accepted_of
from atts_harness.records import CallKey, CallRecord, CallTotals, SampleId
from atts_harness.settings import parse_settings


def config(**options):
    given = VLLMOptions(**options)
    name, value = vllm_flags(given)
    assert name == "--speculative-config"
    return json.loads(value)


def test_every_method_of_vllm_as_flags():
    assert config(speculate="ngram") == {
        "method": "ngram", "num_speculative_tokens": 4,
        "prompt_lookup_min": 2, "prompt_lookup_max": 4,
    }  # fmt: skip
    assert config(speculate="suffix", speculate_tokens=8) == {
        "method": "suffix", "num_speculative_tokens": 8,
    }  # fmt: skip
    for method in ("draft_model", "eagle3"):
        assert config(speculate=method, speculate_model="a/b", speculate_tokens=3) == {
            "method": method, "num_speculative_tokens": 3, "model": "a/b",
        }  # fmt: skip
    assert vllm_flags(VLLMOptions()) == []


def test_every_method_of_sglang_as_flags():
    assert sglang_flags(SGLangOptions(speculate="NGRAM")) == [
        "--speculative-algorithm", "NGRAM", "--speculative-num-draft-tokens", "5",
    ]  # fmt: skip
    for method in ("STANDALONE", "EAGLE3"):
        given = SGLangOptions(speculate=method, speculate_model="a/b", speculate_tokens=3)
        assert sglang_flags(given) == [
            "--speculative-algorithm", method, "--speculative-draft-model-path", "a/b",
            "--speculative-num-steps", "3", "--speculative-eagle-topk", "1",
            "--speculative-num-draft-tokens", "4",
        ]  # fmt: skip
    assert sglang_flags(SGLangOptions()) == []


def test_the_record_says_it_whichever_way_it_was_asked_for():
    by_option = VLLMOptions(speculate="suffix")
    by_flags = VLLMOptions(server_args=vllm_flags(by_option))
    assert speculative(by_option, vllm_flags(by_option)) == speculative(by_flags)
    assert "suffix" in speculative(by_flags)["speculative-config"]


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (VLLM, {"speculate": "eagle"}, r"target_speculate=eagle: vllm has draft_model, eagle3, "),
        (SGLANG, {"speculate": "ngram"}, "target_speculate=ngram: sglang has EAGLE3, NGRAM, STAND"),
        (VLLM, {"speculate": "draft_model"}, "give target_speculate_model=FOLDER_OR_HUB_ID"),
        (SGLANG, {"speculate": "EAGLE3"}, "give target_speculate_model=FOLDER_OR_HUB_ID"),
        (VLLM, {"speculate": "ngram", "speculate_model": "a/b"}, "ngram proposes without a model"),
        (SGLANG, {"speculate_model": "a/b"}, "target_speculate=EAGLE3 or STANDALONE"),
        (VLLM, {"speculate": "ngram", "url": "http://h:1"}, "runs already"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_started(kind, options, words):
    spec = BackendSpec(kind.name, "m", kind.options(**options))
    with pytest.raises(SettingError, match=words) as caught:
        kind.check(spec)
    assert "\n" not in str(caught.value)


def test_there_is_a_preset_for_every_method_and_it_takes_any_strategy():
    presets = plugins.presets()
    names = {f"vllm-{m.replace('_', '-')}": m for m in OF_VLLM}
    names |= {f"sglang-{m.lower()}": m for m in OF_SGLANG}
    for name, method in names.items():
        settings = presets[name].value.settings
        assert settings == {
            "target_backend": name.partition("-")[0], "target_speculate": method,
        }  # fmt: skip


@pytest.mark.parametrize("strategy", ["target-only", "atts"])
def test_a_preset_reaches_the_target_alone(strategy, monkeypatch):
    monkeypatch.setattr("atts_harness.engines.managed.package_version", lambda *_: "1")
    monkeypatch.setattr("atts_harness.engines.managed.visible_devices", lambda: ())
    given = {"preset": "vllm-ngram", "strategy": strategy, "target": "a/b"}
    if strategy == "atts":
        given |= {"draft": "c/d", "draft_backend": "vllm"}
    settings = parse_settings(given)
    assert settings.roles["target"].options.speculate == "ngram"
    if strategy == "atts":
        assert settings.roles["draft"].options.speculate is None


def totals(proposed, accepted):
    made = CallTotals()
    made.proposed_tokens, made.accepted_tokens = proposed, accepted
    return made


def test_acceptance_is_of_a_roles_calls_together():
    calls = {
        "target/takeover": totals(80, 20), "target/answer": totals(20, 20),
        "draft/draft": totals(0, 0),
    }  # fmt: skip
    assert accepted_of(calls) == {"target": 0.4}


def answered(usage):
    """A call whose reply ended at a stop string."""
    key = CallKey(SampleId("t", 0, 0), "takeover", "target", 0)
    reply = GenerateReply(ids=(5,) * usage.completion_tokens, ending="stop", usage=usage)
    return CallRecord(key=key, request_hash="", reply=reply)


def test_a_role_whose_replies_do_not_all_say_it_is_left_to_the_engines_figures():
    # Turns that end at a stop string say nothing on vLLM; the others are not a fair sample.
    silent = CallTotals()
    usage = Usage(prompt_tokens=9, completion_tokens=12)
    silent.add(answered(usage))
    assert silent.unreported_tokens == 12
    assert accepted_of({"target/takeover": totals(80, 20), "target/answer": silent}) == {}
    scored = CallTotals()
    scored.add(answered(Usage(prompt_tokens=9, scored_tokens=5)))
    assert accepted_of({"target/takeover": totals(80, 20), "target/score": scored}) == {
        "target": 0.25
    }


def look(at, proposed, accepted, engine="target"):
    return at, engine, {"proposed_tokens": proposed, "accepted_tokens": accepted, "running": 1.0}


def test_an_engines_own_figures_count_from_the_first_look_on():
    # The server had decoded for somebody else before; it is restarted between the last looks.
    looks = [look(0, 1000, 900), look(1, 1100, 920), look(2, 1200, 950), look(3, 40, 10)]
    assert accepted_by_engines(looks) == {"target": (50 + 10) / (200 + 40)}
    assert accepted_by_engines(looks[:1]) == {}
    assert accepted_by_engines([(0, "draft", {"running": 1.0})]) == {}


def test_usage_says_nothing_where_the_engine_does_not():
    usage = Usage(prompt_tokens=1)
    assert (usage.proposed_tokens, usage.accepted_tokens) == (None, None)
