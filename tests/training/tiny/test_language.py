import random

import pytest
from atts_tasks.chain.problems import Chain, draw_problem, make_problems, parse_chain, split_of

from training.tiny import language
from training.tiny.examples import (
    DRAFT_DIET,
    SILENT,
    TARGET_DIET,
    WRONG,
    Writer,
    carry_on,
    draw_example,
    right_step,
    spoil_step,
)
from training.tiny.language import check_step, check_steps, split_steps
from training.tiny.tokenizer import THINK, Codec


@pytest.fixture(scope="module")
def codec():
    return Codec()


BEFORE = parse_chain("17 + 5 - 8 * 2")
NOW = parse_chain("22 - 8 * 2")


@pytest.mark.parametrize(
    ("text", "kind", "error"),
    [
        ("22 - 8 = 14, so 14 * 2.", "step", None),
        ("Next, 22 - 8 = 14, leaving 14 * 2.", "step", None),
        ("22 - 8 = 13, so 13 * 2.", "step", "result"),
        ("22 - 8 = 14, so 14 * 3.", "step", "restatement"),
        ("22 - 8 = 14, so 15 * 2.", "step", "restatement"),
        ("22 - 9 = 13, so 13 * 2.", "step", "operands"),
        ("22 + 8 = 30, so 30 * 2.", "step", "operands"),
        ("Wait, 17 + 5 = 22, so 22 - 8 * 2.", "reflection", None),
        ("Let me check: 17 + 5 = 23, so 23 - 8 * 2.", "reflection", "result"),
        ("Hold on, 22 - 8 = 14, so 14 * 2.", "reflection", "operands"),
        ("So it is 28.\n</think>", "closing", "premature"),
        ("The answer is \\boxed{28}.", "answer", "premature"),
        ("22 - 8 = 14, so", "other", "form"),
        ("", "other", "form"),
    ],
)
def test_a_step_is_checked_against_the_steps_before_it(text, kind, error):
    check = check_step(BEFORE, NOW, text)
    assert (check.kind, check.error) == (kind, error)


def test_an_end_is_right_if_it_names_what_is_left():
    done = Chain(28)
    assert check_step(NOW, done, "Yes, it is 28.\n</think>").error is None
    assert check_step(NOW, done, "Yes, it is 29.\n</think>").error == "restatement"
    assert check_step(NOW, done, "The final answer is \\boxed{28}.").error is None
    assert check_step(NOW, done, "The answer is \\boxed{29}.").error == "restatement"


def test_only_the_step_that_went_wrong_is_wrong_and_a_reflection_repairs_it():
    steps = ["17 + 5 = 23, so 23 - 8 * 2.", "23 - 8 = 15, so 15 * 2."]
    assert [check.error for check in check_steps(BEFORE, steps)] == ["result", None]
    repaired = [steps[0], "Wait, 17 + 5 = 22, so 22 - 8 * 2.", "22 - 8 = 14, so 14 * 2."]
    assert [check.error for check in check_steps(BEFORE, repaired)] == ["result", None, None]


def test_spoiled_steps_are_wrong_for_every_reason(codec):
    rng = random.Random(0)
    errors = set()
    for _ in range(400):
        chain = draw_problem(rng, "hard", "train").chain
        wrong = spoil_step(rng, chain)
        assert wrong != right_step(chain)
        text = f"{wrong.left} {wrong.op} {wrong.right} = {wrong.result}, so {wrong.rest}."
        error = check_step(chain, chain, text).error
        assert error is not None
        errors.add(error)
    assert errors == {"operands", "result", "restatement"}


def test_unspoiled_solutions_are_right_to_the_last_step(codec):
    rng = random.Random(1)
    diet = TARGET_DIET.__class__(TARGET_DIET.levels, 0.0, 0.2, 0.0, 0.0)
    for problem in make_problems("mixed", "train", 60):
        writer = Writer(rng, codec, problem)
        start = len(writer.example.ids)
        for chance in (diet,):
            # Doubts may be spoiled on purpose; they are masked and repaired, so the end is right.
            example = carry_on(writer, chance)
        text = codec.decode(example.ids[start:]).removesuffix("<|end|>")
        checks = check_steps(problem.chain, split_steps(text))
        assert checks[-1].kind == "answer"
        assert checks[-1].error is None
        assert str(problem.answer) in text.rpartition("\\boxed{")[2]


@pytest.mark.parametrize("diet", [DRAFT_DIET, TARGET_DIET])
def test_examples_are_tokenised_as_their_text_is(codec, diet):
    rng = random.Random(2)
    for _ in range(300):
        example = draw_example(rng, codec, diet)
        assert len(example.ids) == len(example.weights)
        text = codec.decode(example.ids)
        assert codec.tokenizer.encode(text, add_special_tokens=False).ids == example.ids


def test_prompts_are_masked_and_never_held_out(codec):
    rng = random.Random(3)
    for _ in range(200):
        example = draw_example(rng, codec, TARGET_DIET)
        text = codec.decode(example.ids)
        if not text.startswith("<|"):
            continue  # a drill has no problem
        prompt = text.split(THINK[0])[0]
        opened = len(codec.tokenizer.encode(prompt, add_special_tokens=False).ids)
        assert set(example.weights[:opened]) == {SILENT}
        question = prompt.split("<|user|>")[1]
        for opening in ("Compute ", "Work out ", "What is "):
            question = question.removeprefix(opening)
        expression = question.split(" (left")[0].split(", ")[0]
        assert split_of(parse_chain(expression)) == "train"


def test_judging_turn_ends_in_one_digit_behind_the_prefill(codec):
    rng = random.Random(4)
    diet = TARGET_DIET.__class__(TARGET_DIET.levels, 0.1, 0.1, 1.0, 0.0)
    seen = set()
    for _ in range(100):
        text = codec.decode(draw_example(rng, codec, diet).ids)
        assert text.count(language.JUDGE_QUESTION) == 1
        digit = text.rpartition(language.JUDGE_PREFILL)[2].removesuffix("<|end|>")
        assert digit in "0123456789"
        seen.add(int(digit))
    assert min(seen) <= 1
    assert max(seen) == 9


def test_flags_agree_with_the_checked_text(codec):
    rng = random.Random(7)
    diet = TARGET_DIET.__class__(TARGET_DIET.levels, 0.3, 0.1, 0.0, 0.0)
    wrong = 0
    for problem in make_problems("mixed", "train", 80):
        writer = Writer(rng, codec, problem)
        start = len(writer.example.ids)
        carry_on(writer, diet)
        ids, flags = writer.example.ids[start:], writer.example.flags[start:]
        ends = [place for place, token in enumerate(ids) if token == codec.blank]
        checks = check_steps(problem.chain, split_steps(codec.decode(ids)))
        begin = 0
        for end, check in zip(ends, checks, strict=False):
            if check.kind not in ("step", "reflection"):
                break
            step = flags[begin : end + 1]
            assert (step[-1] == WRONG) == (check.error is not None)
            # The mistake itself is one token; the step's end repeats the verdict.
            assert step.count(WRONG) == (0 if check.error is None else 2)
            wrong += check.error is not None
            begin = end + 1
    assert wrong > 50
