"""Chat templates: of the published pairs by their shape, and those that say something else."""

from pathlib import Path

import pytest

from atts_harness.errors import SettingError
from atts_harness.tokenizer import HuggingFaceTokenizer, load_tokenizer
from atts_harness.transcript import Message

pytest.importorskip("transformers")

from transformers import AutoTokenizer

DATA = Path(__file__).parent / "data" / "templates"
DRAFT = Path(__file__).parents[2] / "plugins" / "atts_tiny" / "models" / "draft"
CHATML = ("<|im_start|>", "<|im_end|>")
# By template: its special tokens, begin-of-text, and what ends a turn.
SHAPES = {
    "r1-distill": (
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
    ),
    "qwq": (CHATML, None, "<|im_end|>"),
    "qwen2.5": (CHATML, None, "<|im_end|>"),
    "s1.1": (CHATML, None, "<|im_end|>"),
    "qwen3": (CHATML, None, "<|im_end|>"),
    "llama-3.1": (
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
    ),
}
LOOP = "{%- for m in messages -%}{{ '<|' ~ m.role ~ '|>' ~ m.content ~ '<|end|>' }}{%- endfor -%}"
OPENS = "{%- if add_generation_prompt -%}{{ '<|assistant|><think>\n' }}{%- endif -%}"
NO_SYSTEM = (
    "{%- if messages[0].role == 'system' -%}{{ raise_exception('System role not supported') }}"
    "{%- endif -%}"
)
QUESTION = [Message("user", "What is 17 + 4?")]


def shape(name, **given):
    tokens, bos, _ = SHAPES[name]
    raw = AutoTokenizer.from_pretrained(DRAFT)
    raw.add_special_tokens({"additional_special_tokens": list(tokens)})
    if bos is not None:
        raw.bos_token = bos
    # The end of the turn is not among the listed ends, as in several published folders.
    template = (DATA / f"{name}.jinja").read_text(encoding="utf-8")
    return HuggingFaceTokenizer(raw, chat_template=template, **given)


def ours(template, **given):
    return load_tokenizer(str(DRAFT), chat_template=template, **given)


@pytest.mark.parametrize("name", SHAPES)
def test_the_published_pairs_templates_say_what_is_meant(name, caplog):
    tokenizer = shape(name)
    tokenizer.check()
    assert "drops" not in caplog.text
    text = tokenizer.decode(tokenizer.render(QUESTION))
    assert text.count("What is 17 + 4?") == 1
    bos = SHAPES[name][1]
    assert bos is None or text.count(bos) == 1


@pytest.mark.parametrize("name", SHAPES)
def test_what_ends_a_turn_in_the_template_ends_a_generation(name):
    tokenizer = shape(name)
    assert tokenizer.named[SHAPES[name][2]] in tokenizer.eos_ids
    assert not {tokenizer.named["</think>"], tokenizer.named["<think>"]} & tokenizer.eos_ids


@pytest.mark.parametrize("name", SHAPES)
def test_a_partial_turn_is_continued_where_it_stopped(name):
    tokenizer = shape(name)
    opened = tokenizer.render(QUESTION)
    partial = tokenizer.render([*QUESTION, Message("assistant", "17 + 4 = 2")])
    assert partial[: len(opened)] == opened
    assert tokenizer.decode(partial[len(opened) :]) == "17 + 4 = 2"


@pytest.mark.parametrize(
    ("listed", "what"),
    [({"eos_token": None}, "none"), ({"eos_token": "<|pad|>"}, "another")],
)
def test_an_end_of_turn_that_nobody_listed(tmp_path, listed, what):
    raw = AutoTokenizer.from_pretrained(DRAFT)
    end = raw.convert_tokens_to_ids("<|end|>")
    for name, value in listed.items():
        setattr(raw, name, value)
    assert end in HuggingFaceTokenizer(raw, chat_template=LOOP + OPENS).eos_ids
    # A template without an end of its own: the next turn's beginning is one.
    bare = LOOP.replace("<|end|>", "") + OPENS
    ids = HuggingFaceTokenizer(raw, chat_template=bare).eos_ids
    assert raw.convert_tokens_to_ids("<|user|>") in ids


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (LOOP.replace("m.content", "m.content[0].text") + OPENS, "drops or changes"),
        (LOOP.replace("m.content", "m.content[:40]") + OPENS, "drops or changes"),
        (LOOP.replace("m.content", "(m.content | e)") + OPENS, "drops or changes"),
        (LOOP.replace("m.content", "(m.content | lower)") + OPENS, "drops or changes"),
        (LOOP + LOOP + OPENS, "repeats the user's words 2 times"),
        (LOOP, "ignores add_generation_prompt"),
        (LOOP + OPENS.replace("<think>\n", "<|end|>"), "ends with an end-of-turn token"),
        ("{{ undefined_function(1) }}", "refuses messages of user"),
        ("{%- for m in messages -%}{{ m.content", "refuses messages of user"),
    ],
)
def test_a_template_that_says_something_else_is_refused(template, says):
    with pytest.raises(SettingError, match=says) as caught:
        ours(template).check()
    assert str(caught.value).startswith("chat_template: ")
    assert "\n" not in str(caught.value)


def test_a_begin_of_text_that_is_doubled_is_refused():
    raw = AutoTokenizer.from_pretrained(DRAFT)
    raw.bos_token = "<|pad|>"
    template = "{{ bos_token }}{{ bos_token }}" + LOOP + OPENS
    with pytest.raises(SettingError, match="two begin-of-text tokens"):
        HuggingFaceTokenizer(raw, chat_template=template).check()


@pytest.mark.parametrize(
    "template",
    [
        NO_SYSTEM + LOOP + OPENS,
        LOOP + "{{ '<|assistant|><think>\n' }}",
        LOOP.replace("m.content", "m.content.split('</think>')[-1]") + OPENS,
        "{{ '<|system|>' ~ strftime_now('%H:%M:%S') ~ '<|end|>' }}" + LOOP + OPENS,
    ],
)
def test_odd_templates_that_keep_the_question_are_used(template):
    tokenizer = ours(template)
    tokenizer.check()
    assert tokenizer.named["<|end|>"] in tokenizer.eos_ids


def test_a_template_that_refuses_a_system_message_says_so_in_one_line():
    tokenizer = ours(NO_SYSTEM + LOOP + OPENS)
    with pytest.raises(SettingError, match="System role not supported; leave the system") as caught:
        tokenizer.render([Message("system", "Be brief."), *QUESTION])
    assert "\n" not in str(caught.value)


def test_a_template_that_drops_earlier_turns_is_named(caplog):
    drops = "{%- for m in messages -%}{%- if m.role != 'assistant' -%}"
    drops += "{{ '<|' ~ m.role ~ '|>' ~ m.content ~ '<|end|>' }}{%- endif -%}{%- endfor -%}"
    ours(drops + OPENS).check()
    assert "drops earlier words of the assistant" in caplog.text


def test_a_date_is_frozen_and_comes_back_with_its_moment():
    dated = "{{ '<|system|>' ~ strftime_now('%d %b %Y %H:%M:%S.%f') ~ '<|end|>' }}" + LOOP + OPENS
    first = ours(dated)
    assert first.moment is not None
    prompt = first.render(QUESTION)
    assert first.render(QUESTION) == prompt
    assert ours(dated, moment=first.moment).render(QUESTION) == prompt
    assert ours(dated, moment="2001-02-03T04:05:06").render(QUESTION) != prompt
    assert shape("llama-3.1").moment is not None
    assert ours(LOOP + OPENS).moment is None
