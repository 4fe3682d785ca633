import pytest
from atts_tiny import draft_path, target_path
from hypothesis import given
from hypothesis import strategies as st

from training.tiny.language import JUDGE_PREFILL, JUDGE_QUESTION
from training.tiny.tokenizer import Codec, build_tokenizer

CODEC = Codec()


@given(st.text(max_size=60))
def test_any_text_comes_back(text):
    ids = CODEC.tokenizer.encode(text, add_special_tokens=False).ids
    assert CODEC.tokenizer.decode(ids, skip_special_tokens=False) == text


def test_numbers_below_100_and_the_blank_line_are_single_tokens():
    assert len(set(CODEC.numbers)) == 100
    assert all(CODEC.encode(str(number)) == (CODEC.numbers[number],) for number in range(100))
    assert CODEC.encode("\n\n") == (CODEC.blank,)
    assert CODEC.encode("17 + 5 = 22")[1:4:2] == (CODEC.token("Ġ+Ġ"), CODEC.token("Ġ=Ġ"))


def test_building_it_again_gives_the_same_tokenizer():
    assert build_tokenizer().to_str() == CODEC.tokenizer.to_str()


@pytest.fixture(scope="module", params=[draft_path, target_path])
def tokenizer(request):
    transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(request.param())


def test_auto_tokenizer_gives_the_training_ids(tokenizer):
    text = (
        "<|user|>What is 3 * 4, taken left to right?<|end|><|assistant|><think>\nWait, 3 * 4 = 12, "
        "now 12.\n\nYes, it is 12.\n</think>\n\nThe answer is \\boxed{12}.<|end|> été 你好 123"
    )
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == list(CODEC.encode(text))
    assert tokenizer.decode(list(CODEC.encode(text))) == text
    assert tokenizer.eos_token_id == CODEC.end


def test_template_renders_the_prompt_and_continues_a_partial_turn(tokenizer):
    question = "Compute 3 * 4 (left to right)."
    user = {"role": "user", "content": question}
    prompt = tokenizer.apply_chat_template([user], add_generation_prompt=True, tokenize=False)
    assert list(CODEC.encode(prompt)) == CODEC.prompt(question)
    step = "3 * 4 = 12, so 12.\n\n"
    partial = [user, {"role": "assistant", "content": "<think>\n" + step}]
    text = tokenizer.apply_chat_template(partial, continue_final_message=True, tokenize=False)
    assert text == prompt + step
    judged = [
        *partial,
        {"role": "user", "content": JUDGE_QUESTION},
        {"role": "assistant", "content": JUDGE_PREFILL},
    ]
    text = tokenizer.apply_chat_template(judged, continue_final_message=True, tokenize=False)
    assert list(CODEC.encode(text)) == [
        *CODEC.encode(prompt + step),
        *CODEC.judge_tail(),
    ]


def test_template_knows_system_turns_and_refuses_other_roles(tokenizer):
    turns = [{"role": "system", "content": "A"}, {"role": "user", "content": "B"}]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    assert text == "<|system|>A<|end|><|user|>B<|end|><|assistant|><think>\n"
    with pytest.raises(Exception, match="unknown role tool"):
        tokenizer.apply_chat_template([{"role": "tool", "content": "A"}], tokenize=False)
