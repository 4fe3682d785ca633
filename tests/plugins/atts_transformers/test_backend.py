"""The backend as a whole: what it promises beyond the conformance suite."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from atts_transformers.backend import open_backend
from atts_transformers.options import TransformersOptions, check
from atts_transformers.plugin import atts_backends

from atts_harness.backend import (
    Backend,
    BackendSpec,
    GenerateRequest,
    Sampling,
    ScoreRequest,
)
from atts_harness.errors import (
    BackendError,
    BackendUnavailableError,
    BadRequestError,
    ContextLengthError,
    MalformedReplyError,
    SettingError,
)
from atts_harness.testing.conformance_folder import train_tokenizer, write_model_folder
from atts_harness.transcript import Message


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model_folder(tmp_path_factory.mktemp("model"))


def spec(folder: Path | str, **options: Any) -> BackendSpec:
    return BackendSpec("transformers", str(folder), TransformersOptions(threads=1, **options))


def use(folder: Path, body: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
    async def run() -> Any:
        backend = await open_backend(spec(folder, **options))
        try:
            return await body(backend)
        finally:
            await backend.aclose()

    return asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to that")


def context_of(backend: Backend, text: str = "Compute 17 + 5 - 8 * 2 + 9.") -> tuple[int, ...]:
    return backend.tokenizer.render([Message("user", text)])


async def sample(backend: Backend, problem: int, repeat: int) -> tuple[int, ...]:
    """A sample as ATTS makes it: draft, score, sometimes draft again from before."""
    dice = random.Random(problem * 100 + repeat)
    ids = context_of(backend, f"Compute {problem} + 5 - 8 * 2 + 9 (left to right).")
    for _ in range(4):
        reply = await backend.generate(
            GenerateRequest(ids=ids, max_tokens=9, seed=dice.getrandbits(40), stop=("\n\n",))
        )
        score = await backend.score(ScoreRequest(ids=ids + reply.ids, start=len(ids)))
        assert len(score.logprobs) == len(reply.ids)
        if sum(score.logprobs) / len(score.logprobs) > -1.5 or dice.random() < 0.7:
            ids += reply.ids
    return ids


def test_the_kind_is_announced_and_opens(folder: Path) -> None:
    (kind,) = atts_backends()
    assert kind.name == "transformers"
    assert kind.options is TransformersOptions
    wanted = spec(folder)
    assert kind.check is not None
    kind.check(wanted)

    async def run() -> None:
        backend = await kind.open(wanted)
        assert isinstance(backend, Backend)
        about = backend.identity
        assert about.dtype == "float32"
        assert about.platform["attention"] == "packed"
        assert about.tokenizer == backend.tokenizer.fingerprint
        assert backend.max_length == 512
        await backend.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samples_are_the_same_at_any_concurrency(folder: Path, dtype: str) -> None:
    async def run(backend: Backend, at_once: int) -> list[tuple[int, ...]]:
        gate = asyncio.Semaphore(at_once)

        async def one(problem: int, repeat: int) -> tuple[int, ...]:
            async with gate:
                return await sample(backend, problem, repeat)

        return await asyncio.gather(*(one(p, r) for p in range(3) for r in range(3)))

    runs = [use(folder, lambda b, n=n: run(b, n), dtype=dtype) for n in (1, 16, 16)]
    assert runs[1] == runs[2]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 9


def test_a_cache_too_small_for_all_changes_nothing(folder: Path) -> None:
    async def run(backend: Backend) -> list[tuple[int, ...]]:
        return await asyncio.gather(*(sample(backend, p, r) for p in range(3) for r in range(4)))

    # A kilobyte a token here: room for about four samples, then for all of them.
    tight = use(folder, run, kv_cache_memory_bytes=1 << 19, dtype="float64", max_length=256)
    roomy = use(folder, run, dtype="float64")
    assert tight == roomy


def test_long_contexts_go_in_pieces(folder: Path) -> None:
    async def run(backend: Backend) -> tuple[float, ...]:
        ids = (context_of(backend) + backend.tokenizer.encode("17 + 5 = 22, so " * 60))[:300]
        # Others run beside it.
        short = [
            asyncio.create_task(
                backend.generate(
                    GenerateRequest(ids=ids[:20], max_tokens=30, seed=n, sampling=Sampling())
                )
            )
            for n in range(3)
        ]
        reply = await backend.score(ScoreRequest(ids=ids, start=1))
        await asyncio.gather(*short)
        return reply.logprobs

    whole = use(folder, run)
    pieces = use(folder, run, max_batch_tokens=32, max_batch_size=8)
    assert len(whole) == 299
    assert pieces == pytest.approx(whole, abs=1e-4)


def test_turns_of_a_sample_compute_only_what_is_new(folder: Path) -> None:
    async def run(backend: Backend) -> None:
        ids = context_of(backend)
        first = await backend.generate(GenerateRequest(ids=ids, max_tokens=20, seed=1))
        assert first.usage.cached_tokens == 0
        assert first.usage.time_to_first_token is not None
        ids += first.ids
        second = await backend.generate(GenerateRequest(ids=ids, max_tokens=20, seed=2))
        # All but the last token, whose logits are needed and whose keys were never computed.
        assert second.usage.cached_tokens == len(ids) - 1
        segment = second.ids
        score = await backend.score(ScoreRequest(ids=ids + segment, start=len(ids)))
        assert score.usage.cached_tokens == len(ids) - 1
        # The rejected segment is rolled back, not the whole sample.
        again = await backend.generate(GenerateRequest(ids=ids, max_tokens=20, seed=3))
        assert again.usage.cached_tokens == len(ids) - 1

    use(folder, run)


def test_samples_of_a_problem_share_its_prompt(folder: Path) -> None:
    async def run(backend: Backend) -> None:
        ids = context_of(backend, "Compute 17 + 5 - 8 * 2 + 9 (left to right). " * 3)
        replies = await asyncio.gather(
            *(backend.generate(GenerateRequest(ids=ids, max_tokens=8, seed=n)) for n in range(8))
        )
        cached = sorted(reply.usage.cached_tokens or 0 for reply in replies)
        # One of them computes it, the others wait for that.
        assert cached == [0] + [len(ids) - 1] * 7

    use(folder, run)


def test_requests_without_a_seed_differ(folder: Path) -> None:
    async def run(backend: Backend) -> None:
        ids = context_of(backend)
        hot = Sampling(temperature=1.5)
        replies = await asyncio.gather(
            *(
                backend.generate(GenerateRequest(ids=ids, max_tokens=16, sampling=hot))
                for _ in range(4)
            )
        )
        assert len({reply.ids for reply in replies}) == 4

    use(folder, run)


def test_urgent_requests_go_first(folder: Path) -> None:
    async def run(backend: Backend) -> list[int]:
        ids = context_of(backend)
        done: list[int] = []

        async def ask(priority: int) -> None:
            await backend.generate(
                GenerateRequest(ids=ids, max_tokens=60, seed=priority, priority=priority)
            )
            done.append(priority)

        first = asyncio.create_task(ask(0))
        await asyncio.sleep(0)
        await asyncio.gather(first, *(ask(priority) for priority in (5, 3, 1)))
        return done

    # One at a time, so that the order of service is the order of ends.
    assert use(folder, run, max_batch_size=1)[1:] == [1, 3, 5]


def test_the_loop_is_never_blocked(folder: Path) -> None:
    async def run(backend: Backend) -> int:
        ids = context_of(backend)
        work = asyncio.gather(
            *(backend.generate(GenerateRequest(ids=ids, max_tokens=80, seed=n)) for n in range(8))
        )
        turns = 0
        while not work.done():
            turns += 1
            await asyncio.sleep(0)
        await work
        return turns

    # A loop that waited for the model would turn at most once a token.
    assert use(folder, run) > 200


def test_cancelled_requests_leave_at_the_next_turn(folder: Path) -> None:
    async def run(backend: Any) -> None:
        ids = context_of(backend)
        hot = Sampling(temperature=1.5)
        long = GenerateRequest(ids=ids, max_tokens=400, sampling=hot, seed=1)
        tasks = [asyncio.create_task(backend.generate(long)) for _ in range(6)]
        await until(lambda: backend.running == 4)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError)
            for end in await asyncio.gather(*tasks, return_exceptions=True)
        )
        # With four slots taken this could not start before they are free.
        short = await backend.generate(GenerateRequest(ids=ids, max_tokens=2, seed=1))
        assert len(short.ids) <= 2
        assert backend.running == 0

    use(folder, run, max_batch_size=4)


def test_several_event_loops_share_a_backend(folder: Path) -> None:
    async def run(backend: Backend) -> None:
        ids = context_of(backend)
        request = GenerateRequest(ids=ids, max_tokens=12, seed=4)

        def elsewhere() -> tuple[int, ...]:
            return asyncio.run(backend.generate(request)).ids  # type: ignore[arg-type]

        other, mine = await asyncio.gather(asyncio.to_thread(elsewhere), backend.generate(request))
        assert other == mine.ids

    use(folder, run)


def test_closing_gives_the_memory_of_keys_and_values_back(folder: Path) -> None:
    async def run() -> None:
        backend = await open_backend(spec(folder))
        await backend.generate(GenerateRequest(ids=context_of(backend), max_tokens=3))
        store = backend._loaded.runner.store  # type: ignore[union-attr]

        def held() -> int:
            return sum(tensor.nelement() for pair in store.layers.values() for tensor in pair)

        assert held() > 0
        await backend.aclose()
        assert held() == 0

    asyncio.run(run())


def test_closing_fails_what_still_runs_and_can_be_repeated(folder: Path) -> None:
    async def run() -> None:
        backend = await open_backend(spec(folder))
        ids = context_of(backend)
        hot = Sampling(temperature=1.5)
        task = asyncio.create_task(
            backend.generate(GenerateRequest(ids=ids, max_tokens=400, sampling=hot, seed=1))
        )
        await until(lambda: backend.running == 1)
        await backend.aclose()
        with pytest.raises(BackendError, match="closed"):
            await task
        await backend.aclose()
        with pytest.raises(BackendError, match="closed"):
            await backend.generate(GenerateRequest(ids=ids, max_tokens=1))

    asyncio.run(run())


def test_logits_that_are_no_numbers_fail_their_request_only(folder: Path) -> None:
    async def run(backend: Any) -> None:
        ids = context_of(backend)
        runner = backend._loaded.runner
        forward = runner.forward

        def poisoned(works: Any) -> torch.Tensor:
            logits: torch.Tensor = forward(works).clone()
            at = 0
            for work in works:
                count = len(work.ids) - work.logits_from
                if work.ids[-1] == 7:
                    logits[at : at + count] = float("nan")
                at += count
            return logits

        runner.forward = poisoned
        bad = backend.score(ScoreRequest(ids=(*ids, 9, 7, 7), start=2))
        good = backend.generate(GenerateRequest(ids=ids, max_tokens=3, seed=1))
        first, second = await asyncio.gather(bad, good, return_exceptions=True)
        assert isinstance(first, MalformedReplyError)
        assert len(second.ids) == 3

    use(folder, run)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (RuntimeError("kernel died"), BackendError),
        (torch.OutOfMemoryError("CUDA out of memory"), BackendUnavailableError),
    ],
)
def test_a_failed_pass_fails_its_requests_and_the_backend_goes_on(
    folder: Path, failure: Exception, expected: type[BackendError]
) -> None:
    async def run(backend: Any) -> None:
        ids = context_of(backend)
        request = GenerateRequest(ids=ids, max_tokens=3, seed=1)
        before = await backend.generate(request)
        runner = backend._loaded.runner
        forward = runner.forward

        def broken(works: Any) -> torch.Tensor:
            runner.forward = forward
            raise failure

        runner.forward = broken
        with pytest.raises(expected) as caught:
            await backend.generate(request)
        assert caught.value.retryable == (expected is BackendUnavailableError)
        assert (await backend.generate(request)).ids == before.ids

    use(folder, run)


def test_models_run_one_by_one_give_the_same_replies(folder: Path) -> None:
    async def run(backend: Backend) -> list[tuple[int, ...]]:
        return await asyncio.gather(*(sample(backend, p, r) for p in range(2) for r in range(2)))

    packed = use(folder, run, dtype="float64")
    assert use(folder, run, dtype="float64", attn_implementation="sdpa") == packed


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (GenerateRequest(ids=(1,), max_tokens=0), BadRequestError, "max_tokens"),
        (GenerateRequest(ids=(1,), max_tokens=1, stop=("",)), BadRequestError, "stop"),
        (GenerateRequest(ids=(1,), max_tokens=1, top_logprobs=5000), BadRequestError, "top_log"),
        (
            GenerateRequest(ids=(1,), max_tokens=1, sampling=Sampling(top_p=0.0)),
            BadRequestError,
            "top_p",
        ),
        (GenerateRequest(ids=(), max_tokens=1), BadRequestError, "empty"),
        (GenerateRequest(ids=(1,) * 500, max_tokens=13), ContextLengthError, "max_length"),
        (ScoreRequest(ids=(1, 2), start=0), BadRequestError, "start"),
        (ScoreRequest(ids=(1, 2), start=2), BadRequestError, "start"),
        (ScoreRequest(ids=(1, 9999), start=1), BadRequestError, "9999"),
        (ScoreRequest(ids=(1,) * 513, start=1), ContextLengthError, "max_length"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_requests_that_cannot_be_served_say_why(
    folder: Path, request_: Any, error: type[Exception], message: str
) -> None:
    async def run(backend: Backend) -> None:
        call = backend.generate if isinstance(request_, GenerateRequest) else backend.score
        with pytest.raises(error, match=message) as caught:
            await call(request_)
        assert "\n" not in str(caught.value)

    use(folder, run)


def test_the_whole_window_can_be_used(folder: Path) -> None:
    async def run(backend: Backend) -> None:
        ids = (context_of(backend) * 40)[:508]
        reply = await backend.generate(GenerateRequest(ids=ids, max_tokens=4, seed=1))
        assert reply.usage.prompt_tokens == 508
        assert len((await backend.score(ScoreRequest(ids=ids, start=1))).logprobs) == 507

    use(folder, run)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 0}, "max_length: must be at least 1"),
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_batch_tokens": 10}, "max_batch_tokens: must be at least max_batch_size"),
        ({"kv_cache_memory_bytes": -5}, "kv_cache_memory_bytes"),
    ],
)
def test_settings_out_of_range_are_named_before_anything_is_opened(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        check(spec("anything", **options))


def test_a_model_has_to_be_named() -> None:
    with pytest.raises(SettingError, match=r"draft: .* needs a model folder"):
        check(BackendSpec("transformers", None, TransformersOptions(), role="draft"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 600}, "max_length: 600 is more than the 512 positions"),
        ({"kv_cache_memory_bytes": 1000}, "kv_cache_memory_bytes: 1000 bytes hold"),
        ({"kv_cache_memory_bytes": 1 << 17, "max_length": 500}, "raise|give"),
        ({"device": "cuda:7"}, "device: 'cuda:7' is not there"),
        ({"device": "abacus"}, "device: 'abacus' is not a device"),
        ({"tokenizer": "/nowhere"}, "tokenizer: cannot load '/nowhere'"),
        ({"chat_template": "/nowhere.jinja"}, "chat_template: cannot read"),
        ({"attn_implementation": "telepathy"}, "telepathy"),
    ],
)
def test_settings_a_model_cannot_take_are_one_line(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        asyncio.run(open_backend(spec(folder, **options)))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named_with_its_role(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"target=.*gone: there is no such folder"):
        asyncio.run(open_backend(spec(tmp_path / "gone")))


def test_a_folder_that_is_no_model_or_has_no_template_is_one_line(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SettingError, match="cannot load"):
        asyncio.run(open_backend(spec(tmp_path / "nothing")))
    train_tokenizer(chat_template=None).save_pretrained(tmp_path / "plain")
    with pytest.raises(SettingError, match=r"chat_template: the tokenizer of .* has none"):
        asyncio.run(open_backend(spec(folder, tokenizer=str(tmp_path / "plain"))))


def test_equal_specifications_are_equal_whatever_role_asks(folder: Path) -> None:
    options = TransformersOptions()
    draft = BackendSpec("transformers", str(folder), options, role="draft")
    assert draft == BackendSpec("transformers", str(folder), options, role="target")
    assert draft != spec(folder, dtype="float64")
