"""Tokenizers trained on the spot: byte-level and metaspace, ChatML-like and R1-like templates."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")

from atts_harness.errors import SettingError
from atts_harness.testing.conformance_folder import CHATML, NAMES, train_tokenizer
from atts_harness.tokenizer import HuggingFaceTokenizer, Tokenizer, load_tokenizer
from atts_harness.transcript import Message

# Deletes what stands before </think> in an assistant turn, and opens <think> by itself.
R1 = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<|assistant|>"
    "{{ m.content.split('</think>')[-1] }}<|end|>"
    "{% else %}<|{{ m.role }}|>{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
# Whoever else uses the machine, no example fails by the clock.
relaxed = settings(deadline=None)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=40)


@cache
def made(kind: str) -> HuggingFaceTokenizer:
    if kind == "metaspace":
        return HuggingFaceTokenizer(train_tokenizer(size=420, metaspace=True))
    if kind == "r1":
        return HuggingFaceTokenizer(train_tokenizer(chat_template=R1))
    return HuggingFaceTokenizer(train_tokenizer())


@pytest.fixture(params=["bytes", "metaspace"])
def tokenizer(request: pytest.FixtureRequest) -> HuggingFaceTokenizer:
    return made(request.param)


KINDS = st.sampled_from(["bytes", "metaspace"])


def test_it_fulfils_the_protocol(tokenizer: HuggingFaceTokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)


@relaxed
@given(KINDS, TEXTS)
@example("metaspace", " leading")
@example("metaspace", "glued")
@example("metaspace", "\n\nblank line")
@example("metaspace", "=\n a")
@example("bytes", "naïve 東京 🙂🙃")
@example("bytes", "e\u0301")
@example("bytes", "<|end|></think>")
def test_text_comes_back(kind: str, text: str) -> None:
    tokenizer = made(kind)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert all(0 <= id_ < tokenizer.vocab_size for id_ in ids)


@relaxed
@given(KINDS, TEXTS, TEXTS)
@example("metaspace", "17 + 5 = 2", "2, so")
def test_texts_encoded_apart_read_as_one(kind: str, first: str, second: str) -> None:
    tokenizer = made(kind)
    assert tokenizer.decode(tokenizer.encode(first) + tokenizer.encode(second)) == first + second


@relaxed
@given(KINDS, st.lists(st.sampled_from([*NAMES, " ", "x"]), max_size=6).map("".join))
def test_names_of_special_tokens_in_text_stay_text(kind: str, text: str) -> None:
    tokenizer = made(kind)
    assert not set(tokenizer.encode(text)) & set(tokenizer.named.values())


def test_named_and_end_of_turn(tokenizer: HuggingFaceTokenizer) -> None:
    assert set(tokenizer.named) == set(NAMES)
    assert tokenizer.eos_ids == {tokenizer.named["<|end|>"]}
    assert tokenizer.decode([tokenizer.named["</think>"]]) == "</think>"


def test_render_ends_where_the_assistant_writes() -> None:
    chatml = made("bytes")
    ids = chatml.render([Message("system", "Be brief."), Message("user", "2 + 2?")])
    assert chatml.decode(ids) == "<|system|>Be brief.<|end|><|user|>2 + 2?<|end|><|assistant|>"
    assert ids[0] == chatml.named["<|system|>"]
    assert ids[-1] == chatml.named["<|assistant|>"]


def test_a_partial_turn_is_continued_and_nothing_of_it_is_lost() -> None:
    r1 = made("r1")
    thought = "So 2 + 2 = 4.\n</think>\nThe answer"
    ids = r1.render([Message("user", "2 + 2?"), Message("assistant", thought)])
    assert r1.decode(ids) == f"<|user|>2 + 2?<|assistant|><think>\n{thought}"
    assert r1.named["</think>"] in ids
    assert r1.named["<|end|>"] not in ids


def test_a_judging_tail_closes_the_turn_and_keeps_the_thought_before_it() -> None:
    r1 = made("r1")
    context = r1.render([Message("user", "2 + 2?")]) + r1.encode("Well, 2 + 2 = 4.\n\n")
    tail = r1.render_tail([Message("user", "Rate the last step.")])
    assert r1.decode(context + tail) == (
        "<|user|>2 + 2?<|assistant|><think>\nWell, 2 + 2 = 4.\n\n"
        "<|end|><|user|>Rate the last step.<|assistant|><think>\n"
    )
    assert tail[0] == r1.named["<|end|>"]


@pytest.mark.parametrize(
    ("prefill", "end"),
    [
        ("", "<think>\n"),
        ("<think>\nscore is: ", "<think>\nscore is: "),
        ("<think>", "<think>\n<think>"),
        ("score", "<think>\nscore"),
        ("\nscore", "<think>\nscore"),
    ],
)
def test_a_prefill_does_not_repeat_what_the_generation_prompt_ends_with(
    prefill: str, end: str
) -> None:
    r1 = made("r1")
    tail = r1.decode(r1.render_tail([Message("user", "Rate.")], prefill))
    assert tail == "<|end|><|user|>Rate.<|assistant|>" + end


def test_a_template_that_drops_the_assistant_is_named() -> None:
    template = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"
    tokenizer = HuggingFaceTokenizer(train_tokenizer(chat_template=template))
    with pytest.raises(SettingError, match="chat_template"):
        tokenizer.render_tail([Message("user", "Rate.")])


def test_no_template_is_named_with_the_remedy() -> None:
    tokenizer = HuggingFaceTokenizer(train_tokenizer(chat_template=None))
    with pytest.raises(SettingError, match=r"chat_template: .* give `chat_template=FILE`"):
        tokenizer.render([Message("user", "2 + 2?")])


def test_template_arguments_reach_the_template_and_its_fingerprint() -> None:
    template = "{{ messages[0].content }}{% if enable_thinking %}<think>{% endif %}"
    hf = train_tokenizer(chat_template=template)
    on = HuggingFaceTokenizer(hf, template_args={"enable_thinking": True})
    off = HuggingFaceTokenizer(hf, template_args={"enable_thinking": False})
    assert on.decode(on.render([Message("user", "hi")])) == "hi<think>"
    assert off.decode(off.render([Message("user", "hi")])) == "hi"
    assert on.template_fingerprint != off.template_fingerprint
    assert on.fingerprint == off.fingerprint


def test_fingerprint_tells_vocabularies_apart_and_ignores_a_callers_settings() -> None:
    assert len({made("bytes").fingerprint, made("metaspace").fingerprint}) == 2
    fewer = HuggingFaceTokenizer(train_tokenizer(size=330))
    renamed = HuggingFaceTokenizer(train_tokenizer(names=["<|im_end|>", *NAMES[1:]]))
    assert len({made("bytes").fingerprint, fewer.fingerprint, renamed.fingerprint}) == 3
    padded = train_tokenizer()
    padded.backend_tokenizer.enable_truncation(5)
    padded.backend_tokenizer.enable_padding()
    assert HuggingFaceTokenizer(padded).fingerprint == made("bytes").fingerprint


def save(path: Path, **generation: Any) -> Path:
    train_tokenizer().save_pretrained(path)
    (path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    if generation:
        (path / "generation_config.json").write_text(json.dumps(generation))
    return path


def test_load_gives_the_same_identity(tmp_path: Path) -> None:
    loaded = load_tokenizer(str(save(tmp_path)))
    assert loaded.fingerprint == made("bytes").fingerprint
    assert loaded.template_fingerprint == made("bytes").template_fingerprint
    assert loaded.eos_ids == {0}


@pytest.mark.parametrize(("given_", "expected"), [(2, {0, 2}), ([1, 3], {0, 1, 3})])
def test_load_takes_ends_of_turn_from_the_generation_config(
    tmp_path: Path, given_: Any, expected: set[int]
) -> None:
    assert load_tokenizer(str(save(tmp_path, eos_token_id=given_))).eos_ids == expected


def test_load_reads_a_template_from_a_file_or_takes_it_as_it_is(tmp_path: Path) -> None:
    folder = save(tmp_path / "model")
    file = tmp_path / "template.jinja"
    file.write_text(R1)
    from_file = load_tokenizer(str(folder), chat_template=str(file))
    as_text = load_tokenizer(str(folder), chat_template=R1)
    assert from_file.template_fingerprint == as_text.template_fingerprint
    assert from_file.template_fingerprint != load_tokenizer(str(folder)).template_fingerprint
    assert CHATML != R1


def test_load_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="tokenizer: cannot load"):
        load_tokenizer(str(tmp_path / "nothing"))
    with pytest.raises(SettingError, match="chat_template: cannot read"):
        load_tokenizer(str(save(tmp_path)), chat_template=str(tmp_path / "none.jinja"))


LOADED_TWICE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from atts_harness.tokenizer import load_tokenizer
with ThreadPoolExecutor(2) as pool:
    loaded = list(pool.map(load_tokenizer, sys.argv[1:]))
print(*(tokenizer.vocab_size for tokenizer in loaded))
"""


def test_two_roles_may_load_theirs_at_once(tmp_path):
    """In a process that has not imported transformers, as `atts serve-models` does."""
    folders = [tmp_path / "draft", tmp_path / "target"]
    for folder in folders:
        train_tokenizer(["some words to train on"], size=300).save_pretrained(folder)
    command = [sys.executable, "-c", LOADED_TWICE, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2
