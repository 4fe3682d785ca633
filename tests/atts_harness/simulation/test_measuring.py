"""`atts measure` as a user meets it, against mock engines over HTTP."""

import asyncio
import threading
from pathlib import Path

import atts_tiny
import pytest
import typer.testing

from atts_harness.cli import build_app
from atts_harness.errors import SettingError
from atts_harness.simulation.costfile import read_costs
from atts_harness.testing.mock_engine import MockEngine, random_text
from atts_harness.testing.mock_latency import per_token
from atts_harness.testing.mock_server import MockServer
from atts_harness.tokenizer import load_tokenizer

MODEL = str(Path(atts_tiny.__file__).parent / "models" / "draft")


@pytest.fixture
def servers():
    """Two mock engines in a thread of their own: their addresses, and the engines."""
    tokenizer = load_tokenizer(MODEL)
    alphabet = tokenizer.encode("a plain sentence, to draw words from: so they are.")
    engines = [
        MockEngine(
            latency=per_token(0.001, 1e-6, 1e-4),
            writer=random_text(alphabet, min(tokenizer.eos_ids), (8, 24)),
            tokenizer=tokenizer,
            max_length=700,
            seed=seed,
        )
        for seed in (1, 2)
    ]
    ready, stop = threading.Event(), []
    urls = []

    async def serve():
        end = asyncio.Event()
        stop.append((asyncio.get_running_loop(), end))
        async with (
            MockServer(engines[0], "sglang", model=MODEL) as first,
            MockServer(engines[1], "sglang", model=MODEL) as second,
        ):
            urls.extend([first.url, second.url])
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    yield urls, engines
    loop, end = stop[0]
    loop.call_soon_threadsafe(end.set)
    thread.join()


def measure(*arguments):
    result = typer.testing.CliRunner().invoke(build_app(), ["measure", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def test_two_engines_are_measured_at_once_and_a_plan_takes_the_files(servers, tmp_path):
    (draft, target), engines = servers
    out = tmp_path / "costs"
    told = measure(f"draft={draft}", f"target={target}", "--out", out, "--batch", 2)
    assert f"--cost draft={out}/draft.json --cost target={out}/target.json" in told
    for role in ("draft", "target"):
        costs = read_costs(out / f"{role}.json")
        assert costs.engine.startswith("sglang")
        assert costs.scores_read_cache
        assert not costs.mixed_steps  # SGLang's default
        assert costs.cost.step + costs.cost.sequence > 0
        assert f"{role}: sglang" in told
    # Neither was idle while the other one was still measured.
    first, last = zip(*((e.log[0].at, e.log[-1].at) for e in engines), strict=True)
    rounds = [len(engine.log) for engine in engines]
    assert max(first) < min(last)
    assert min(rounds) >= 8
    assert sorted(path.name for path in out.iterdir()) == ["draft.json", "target.json"]


def test_one_engine_needs_no_role(servers, tmp_path):
    (url, _), _ = servers
    told = measure(url, "--out", tmp_path, "--batch", 2)
    assert f"--cost ROLE={tmp_path}/engine.json" in told
    assert read_costs(tmp_path / "engine.json").model == MODEL


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("draft=http://a:1", "draft=http://a:2"), "the second address of one draft"),
        (("http://a:1", "http://a:2"), "draft=URL target=URL"),
        (("http://a:1", "target=http://a:2"), "without a role beside one with"),
        (("draft=127.0.0.1:1",), "has no scheme"),
        (("draft=http://127.0.0.1:1",), "nothing answers at"),
        (("http://127.0.0.1:1", "--out", "/proc/costs"), "--out /proc/costs: cannot be written"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingError, match=words) as caught:
        measure(*arguments)
    assert "\n" not in str(caught.value)
