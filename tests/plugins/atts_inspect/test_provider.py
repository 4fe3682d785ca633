"""A strategy as an inspect_ai model: samples, seeds, log, limits, ends, and what is refused."""

import asyncio

import pytest

inspect_ai = pytest.importorskip(
    "inspect_ai", reason="inspect_ai is not installed; `make test-frameworks` has it"
)

from atts_inspect.grader import grader  # noqa: E402
from inspect_ai import Task  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import (  # noqa: E402
    ChatMessageUser,
    ContentImage,
    GenerateConfig,
    get_model,
)
from inspect_ai.solver import generate, solver, use_tools, user_message  # noqa: E402
from inspect_ai.tool import tool  # noqa: E402

from atts_harness.errors import BadRequestError  # noqa: E402
from atts_harness.message import Message  # noqa: E402
from atts_harness.running.harness import Harness  # noqa: E402
from atts_harness.running.problems import Terms, make_problem  # noqa: E402
from atts_harness.settings import parse_settings  # noqa: E402

PIXEL = "data:image/png;base64,iVBORw0KGgo="


def by_seed(asked):
    """A text that tells which seed drew it."""
    return rf"{asked.request.seed} \boxed{{42}}"


def first_step(asked):
    """A step, then the answer."""
    return r"So \boxed{42}." if "One step." in asked.text else "One step.\n\n"


def quiz(samples=2, **options):
    asked = [Sample(f"Question {n}?", target="42", id=n) for n in range(samples)]
    return Task(dataset=asked, scorer=grader(), name="quiz", **options)


def texts(log):
    return {(sample.id, sample.epoch): sample.output.completion for sample in log.samples}


def line(log):
    """The last line of a log's error."""
    return log.error.message


def test_epochs_are_repeats_with_the_seeds_of_the_session(pair, evaluate):
    pair.target.replies = by_seed
    log = evaluate(quiz(epochs=2), args={"seed": 7})
    assert log.status == "success", log.error

    async def ask():
        settings = parse_settings({"strategy": "target-only", "seed": 7})
        async with Harness.serving(settings) as session:
            for doc in range(2):
                asked = (Message("user", f"Question {doc}?"),)
                problem = make_problem("quiz", doc, asked, Terms(), settings)
                for repeat in range(2):
                    record = await session.sample(problem, repeat=repeat)
                    yield (doc, repeat + 1), record.text

    async def collect():
        return {name: text async for name, text in ask()}

    assert texts(log) == asyncio.run(collect())
    assert len(set(texts(log).values())) == 4


def test_the_seed_of_the_evaluation_is_the_runs(pair, evaluate):
    pair.target.replies = by_seed
    assert texts(evaluate(quiz(), seed=7)) == texts(evaluate(quiz(), args={"seed": 7}))


def test_the_log_tells_turns_decisions_and_cost(pair, evaluate):
    pair.draft.replies = first_step
    log = evaluate(quiz(1), model="atts/atts", args={"rate": 0.3, "turn_stop": "\n\n"})
    (sample,) = log.samples
    events = [event.data for event in sample.events if event.event == "info"]
    assert [event["turn"] for event in events] == list(range(len(events)))
    assert {"takeover", "p_value", "threshold", "nonconformity"} <= events[0]["decision"].keys()
    assert events[0]["segments"][0]["author"] == "draft"
    facts = sample.output.metadata["atts"]
    assert facts["sample"] == {"task": "quiz", "doc": 0, "repeat": 0}
    assert facts["calls"]["target/score"]["scored_tokens"] > 0
    assert facts["judged_turns"] >= 1
    assert sample.output.usage.total_tokens == sum(
        calls["prompt_tokens"] + calls["completion_tokens"] for calls in facts["calls"].values()
    )
    assert (sample.scores["grader"].value, sample.scores["grader"].answer) == ("C", "42")


def test_thoughts_are_a_part_of_their_own_and_nothing_is_lost(pair, evaluate):
    pair.target.replies = lambda asked: "Hm.\n</think>\n\nSo \\boxed{42}."
    (sample,) = evaluate(quiz(1)).samples
    thought, said = sample.output.choices[0].message.content
    assert (thought.reasoning, said.text) == ("Hm.\n", "\n\nSo \\boxed{42}.")
    assert sample.output.metadata["atts"]["text"] == "Hm.\n</think>\n\nSo \\boxed{42}."
    assert sample.scores["grader"].value == "C"


def test_the_session_is_closed_when_the_run_ends(pair, evaluate):
    evaluate(quiz(1))
    assert pair.target.closed


def test_a_run_directory_goes_on(pair, evaluate, tmp_path):
    args = {"run_dir": str(tmp_path / "run")}
    first = evaluate(quiz(epochs=2), args=args)
    calls = len(pair.target.served)
    assert texts(evaluate(quiz(epochs=3), args=args)).items() >= texts(first).items()
    assert len(pair.target.served) == calls + 2


def test_as_many_samples_are_in_progress_as_the_scheduler_has_slots(pair, evaluate):
    now = most = 0
    full = asyncio.Event()

    async def wait_for_the_others(request, reply=pair.target.generate):
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 48:
            full.set()
        await full.wait()
        now -= 1
        return await reply(request)

    pair.target.generate = wait_for_the_others
    args = {"takeover_concurrency": 48}
    log = evaluate(quiz(60), adaptive_connections=False, args=args, time_limit=120)
    assert log.status == "success"
    assert (most, [sample.limit for sample in log.samples if sample.limit]) == (48, [])


def test_a_sample_that_is_given_up_frees_the_engine(pair, evaluate):
    ended = []

    async def hang(request):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(request)

    pair.target.generate = hang
    log = evaluate(quiz(1), time_limit=1)
    assert log.samples[0].limit.type == "time"
    assert len(ended) == 1


def test_a_sample_that_fails_for_good_is_wrong_and_says_so(pair, evaluate):
    def broken(asked):
        return BadRequestError("no") if "Question 1" in asked.text else r"\boxed{42}"

    pair.target.replies = broken
    log = evaluate(quiz())
    values = {sample.id: sample.scores["grader"].value for sample in log.samples}
    assert values == {0: "C", 1: "I"}
    failed = next(sample for sample in log.samples if sample.id == 1)
    assert failed.output.completion == ""
    assert "no" in failed.output.error
    assert "no" in failed.scores["grader"].explanation


def test_a_later_call_of_a_sample_is_a_problem_of_its_own(pair, evaluate):
    task = quiz(1)
    task.solver = [generate(), user_message("Are you sure?"), generate()]
    (sample,) = evaluate(task).samples
    calls = [event for event in sample.events if event.event == "model"]
    named = [event.output.metadata["atts"]["sample"] for event in calls]
    assert [name["task"] for name in named] == ["quiz", "quiz#later"]


def test_without_an_evaluation_a_model_answers_too(pair):
    async def ask():
        async with get_model("atts/target-only", memoize=False) as model:
            answers = [await model.generate("2+2?") for _ in range(2)]
        return [answer.metadata["atts"]["sample"]["repeat"] for answer in answers]

    assert asyncio.run(ask()) == [0, 1]
    assert pair.target.closed


@pytest.mark.parametrize(
    ("model", "args", "message"),
    [
        ("atts/atts", {"rat": 0.3}, "unknown setting 'rat'; did you mean rate"),
        ("atts/ats", {}, "did you mean atts"),
        ("atts/draft-only", {"strategy": "atts"}, "strategy=atts: the model is atts/draft-only"),
        ("atts/atts", {"draft_price": "much"}, "draft_price: expected dollars"),
        ("atts/atts", {"api_key": "sk-1"}, "api_key: keys come from the environment"),
        ("atts/atts", {"openai_api_key": "sk-1"}, "openai_api_key: looks like a secret"),
    ],
)
def test_settings_that_cannot_be_used_are_one_line(pair, model, args, message):
    from inspect_ai._util.error import PrerequisiteError

    with pytest.raises(PrerequisiteError) as error:
        get_model(model, memoize=False, **args)
    assert message in error.value.message
    assert "\n" not in error.value.message


def test_an_address_for_both_models_is_refused(pair):
    from inspect_ai._util.error import PrerequisiteError

    with pytest.raises(PrerequisiteError) as error:
        get_model("atts/atts", memoize=False, base_url="http://127.0.0.1:1")
    assert "-M draft_url=URL -M target_url=URL" in error.value.message


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"seed": 7}, "seed=7: the run has seed 1234"),
        ({"logprobs": True}, "logprobs: a strategy's text has no one model's"),
        ({"num_choices": 2}, "n is not supported"),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not supported"),
        ({"max_tokens": 0}, "max_gen_toks: expected"),
    ],
)
def test_generation_settings_that_cannot_be_used_are_one_line(pair, evaluate, config, message):
    log = evaluate(quiz(1, config=GenerateConfig(**config)))
    assert log.status == "error"
    assert message in line(log)


@tool
def add():
    async def execute(a: int, b: int):
        """Add.

        Args:
            a: one.
            b: other.
        """
        return a + b

    return execute


def test_tools_and_images_are_refused(pair, evaluate):
    task = quiz(1)
    task.solver = [use_tools(add()), generate()]
    assert "tools: a strategy writes text alone" in line(evaluate(task))
    seen = Sample([ChatMessageUser(content=[ContentImage(image=PIXEL)])], target="42")
    log = evaluate(Task(dataset=[seen], scorer=grader()))
    assert "message 0: holds a part of type 'image'" in line(log)


def test_strategies_whose_samples_wait_for_each_other_are_refused(pair, evaluate):
    log = evaluate(quiz(1), model="atts/synchronous")
    assert "inspect_ai asks for them one by one" in line(log)


@solver
def neutral():
    """Settings of other models at the values at which they change nothing."""

    async def solve(state, ask):
        return await ask(state, frequency_penalty=0, num_choices=1, logprobs=False)

    return solve


def test_settings_that_change_nothing_are_let_through(pair, evaluate):
    task = quiz(1)
    task.solver = [neutral()]
    assert evaluate(task).status == "success"


def test_other_settings_are_other_entries_of_the_cache(pair, evaluate, tmp_path, monkeypatch):
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    pair.target.replies = by_seed
    task = quiz(1)
    task.solver = [generate(cache=True)]
    first = texts(evaluate(task, args={"seed": 7}))
    asked = len(pair.target.served)
    assert texts(evaluate(task, args={"seed": 7})) == first
    assert len(pair.target.served) == asked
    assert texts(evaluate(task, args={"seed": 8})) != first
