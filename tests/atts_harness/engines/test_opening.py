"""Opening a backend ends, with one line, whatever the server does."""

import asyncio
import contextlib

import pytest
import typer.testing
from aiohttp import web

from atts_harness import cli, plugins
from atts_harness.backend import BackendSpec
from atts_harness.engines.backend import unreachable
from atts_harness.errors import BackendError, SettingError
from atts_harness.settings import parse_settings

KINDS = ("vllm", "sglang", "openai")


@contextlib.asynccontextmanager
async def serving(handler):
    """The address of a server that answers everything in one way."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def never(request):
    await asyncio.sleep(60)
    return web.Response()


def opened(kind, handler, run_timeout=600.0, **options):
    async def main():
        async with serving(handler) as url:
            found = plugins.backend(kind)
            spec = BackendSpec(
                kind, None, found.options(url=url, **options), "draft", timeout=run_timeout
            )
            async with asyncio.timeout(20):
                await found.open(spec)

    asyncio.run(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"run_timeout": 0.2}, "timeout=0.2"),
        # The limit of the request and that of the whole opening are the same; either may be first.
        ({"timeout": 0.2}, "no reply in|within draft_timeout=0.2 s"),
    ],
)
def test_a_server_that_accepts_and_never_answers(kind, limits, name):
    with pytest.raises(SettingError, match=name) as caught:
        opened(kind, never, **limits)
    assert str(caught.value).startswith("draft_url: ")
    assert "\n" not in str(caught.value)


def test_the_limit_is_the_one_that_was_set():
    given = {"backend": "vllm", "url": "http://127.0.0.1:1", "timeout": 7}
    assert parse_settings(given).roles["draft"].timeout == 7


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_redirects_is_named(kind):
    async def elsewhere(request):
        raise web.HTTPTemporaryRedirect("http://127.0.0.1:9/x")

    with pytest.raises(SettingError, match="redirect"):
        opened(kind, elsewhere)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b"\xff\xfe", b"<html>hello</html>", b'{"error": {"message": "m"}}', b""],
)
def test_a_server_that_talks_nonsense_is_one_line(kind, body):
    async def nonsense(request):
        return web.Response(body=body)

    with pytest.raises(SettingError) as caught:
        opened(kind, nonsense)
    assert "\n" not in str(caught.value)


def test_a_server_of_ours_that_fails_while_it_is_opened_is_blamed_by_its_log():
    class Ours:
        def name_log(self):
            return "runs/a/logs/draft-vllm.log"

    spec = BackendSpec("vllm", "m", plugins.backend("vllm").options(), "draft")
    error = unreachable(spec, None, BackendError("500 EngineCore"), Ours())
    assert str(error) == (
        "draft: the vllm server that was started does not answer as it should (500 EngineCore); "
        "its log says more: runs/a/logs/draft-vllm.log"
    )


def test_the_doctor_does_not_wait_for_ever():
    ran = []

    async def main():
        async with serving(never) as url:
            runner = typer.testing.CliRunner()
            ask = ["doctor", url, "--timeout", "0.3"]
            ran.append(await asyncio.to_thread(runner.invoke, cli.build_app(), ask))

    asyncio.run(main())
    assert ran[0].exit_code == 1
    assert "--timeout 0.3" in ran[0].output
