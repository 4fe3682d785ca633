"""Many requests at once, full queues, and clients that go away."""

import asyncio
import contextlib
import re
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from aiohttp import ClientSession, ClientTimeout

from atts_harness.testing.scripted import ByteTokenizer

openai = pytest.importorskip("openai")
SLOW = {
    **{"backend": "mock", "draft": "d", "target": "t", "strategy": "mock-turns", "turns": 2},
    **{"ending": 0, "draft_tokens": 8},
}
ASKED = {"model": "mock-turns", "messages": [{"role": "user", "content": "How far?"}]}


def held(service):
    return sum(engine.slots.in_use for engine in service.house.engines)


def running(service):
    """Requests that the mock engines themselves have in work."""
    backends = service.house._backends.values()
    return sum(backend.engine.figures()["running"] for backend in backends)


async def gone(server, asked, until):
    """Ask, and hang up once `until` holds."""
    async with ClientSession(timeout=ClientTimeout(30)) as session:
        asking = asyncio.create_task(session.post(f"{server.url}/chat/completions", json=asked))
        if asked.get("stream"):
            reply = await asking
            await reply.content.readline()
        await asyncio.to_thread(server.wait_for, until)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            reply = await asking
            reply.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_the_engine(serving, stream):
    with serving(args={**SLOW, "mock_seconds": 60}) as server:
        assert server.do(running) == 0
        asked = {**ASKED, "n": 3, "stream": stream}
        asyncio.run(gone(server, asked, lambda s: running(s) == 3))
        server.wait_for(lambda s: running(s) == held(s) == s.works.running == 0)


@pytest.fixture(params=["sglang", "vllm"])
def slow_engine(request, monkeypatch):
    """Dialect and address of a mock engine behind HTTP that writes two tokens a second."""
    command = [sys.executable, "-m", "atts_harness.testing.mock_server", "--decode", "0.5"]
    command += ["--dialect", request.param, "--length", "240"]
    bytewise = f"atts_{request.param}.backend.open_tokenizer"
    monkeypatch.setattr(bytewise, lambda spec, served: ByteTokenizer())
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield request.param, server.stdout.readline().split()[-1]
    finally:
        server.terminate()
        server.wait()


def running_in(url):
    """What an engine behind HTTP says of itself: the requests that it has in work."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as reply:
        told = reply.read().decode()
    return float(re.search(r"^\w+:num_(?:requests_running|running_reqs)\S* (\S+)", told, re.M)[1])


def until(condition):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_a_stream_that_the_sdk_closes_frees_an_engine_behind_http(serving, slow_engine):
    dialect, url = slow_engine
    args = {"backend": dialect, "draft_url": url}
    with serving(["draft-only"], args=args) as server:
        stream = server.client().chat.completions.create(
            model="draft-only", messages=ASKED["messages"], n=3, stream=True, max_tokens=240
        )
        until(lambda: running_in(url) == 3)
        stream.close()
        until(lambda: running_in(url) == 0)
        server.wait_for(lambda s: held(s) == s.works.running == 0)


def test_equal_requests_share_a_sample_and_the_last_one_to_leave_ends_it(serving):
    with serving(args={**SLOW, "mock_seconds": 60}) as server:
        asked = {**ASKED, "seed": 1}

        async def both():
            first = asyncio.create_task(gone(server, asked, lambda s: running(s) == 1))
            await asyncio.to_thread(server.wait_for, lambda s: s.works.running == 1)
            second = gone(server, asked, lambda s: running(s) == 1)
            await asyncio.gather(first, second)

        asyncio.run(both())
        server.wait_for(lambda s: running(s) == s.works.running == 0)


def test_another_question_under_a_name_that_is_in_use_is_refused(serving):
    with serving(args={**SLOW, "mock_seconds": 60}) as server:
        place = {"task": "t", "doc": 0}
        asked = {**ASKED, "atts": place}

        async def one():
            other = {**ASKED, "messages": [{"role": "user", "content": "Else?"}]}

            async def ask():
                await asyncio.to_thread(server.wait_for, lambda s: running(s) == 1)
                with pytest.raises(openai.ConflictError, match="another question"):
                    await asyncio.to_thread(
                        lambda: server.client().chat.completions.create(
                            **other, extra_body={"atts": place}
                        )
                    )
                asked_and_refused.set()

            await asyncio.gather(
                gone(server, asked, lambda s: asked_and_refused.is_set()),
                ask(),
            )

        asked_and_refused = threading.Event()
        asyncio.run(one())


def test_a_full_queue_says_when_to_come_again(serving):
    with serving(args={**SLOW, "mock_seconds": 60}, most=2) as server:
        refused = {}

        def full(service):
            return service.works.running == 2

        async def fill():
            def ask():
                server.wait_for(full)
                with pytest.raises(openai.RateLimitError) as caught:
                    server.client().chat.completions.create(**ASKED)
                refused["headers"] = caught.value.response.headers
                refused["code"] = caught.value.code

            await asyncio.gather(
                gone(server, {**ASKED, "n": 2}, lambda s: "code" in refused),
                asyncio.to_thread(ask),
            )

        asyncio.run(fill())
        assert refused["code"] == "rate_limit_exceeded"
        assert 1 <= int(refused["headers"]["Retry-After"]) <= 60


def test_a_client_that_comes_again_is_served_once_there_is_room(serving):
    with serving(args={**SLOW, "mock_seconds": 0.02}, most=1) as server:
        client = server.client(max_retries=8)
        answers = []

        def ask():
            answers.append(client.chat.completions.create(**ASKED))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(answers) == 3


def test_no_answer_is_lost_among_many_at_once(serving):
    count = 200

    async def ask(server):
        async with ClientSession(timeout=ClientTimeout(60)) as session:

            async def one(doc):
                body = {**ASKED, "atts": {"task": "many", "doc": doc}, "stream": doc % 2 == 0}
                async with session.post(f"{server.url}/chat/completions", json=body) as reply:
                    assert reply.status == 200
                    text = await reply.text()
                    assert not body["stream"] or text.endswith("data: [DONE]\n\n")
                    assert f'"doc":{doc},' in text
                    return text

            return await asyncio.gather(*(one(doc) for doc in range(count)))

    with serving(args={**SLOW, "mock_seconds": 0.001}, most=count) as server:
        assert len(set(asyncio.run(ask(server)))) == count
        server.wait_for(lambda s: s.works.running == 0)
        (room,) = server.do(lambda s: s.rooms.open())
        assert not room.listeners
        assert not room.session.finished


def test_samples_begun_are_bounded_over_all_sessions(serving):
    seen = []

    async def ask(server):
        async with ClientSession() as session:
            asked = [{**ASKED, "atts": {"rate": rate / 8}} for rate in range(6)]

            async def one(body):
                async with session.post(f"{server.url}/chat/completions", json=body) as reply:
                    return await reply.json()

            asking = asyncio.gather(*map(one, asked))
            while not asking.done():
                live = await asyncio.to_thread(
                    server.do, lambda s: sum(r.session.control.live for r in s.rooms.open())
                )
                seen.append(live)
            return await asking

    with serving(args={**SLOW, "mock_seconds": 0.02}, live=2) as server:
        answers = asyncio.run(ask(server))
    assert len(answers) == 6
    assert max(seen) == 2
