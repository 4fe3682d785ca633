"""Versions of engines: tested, not tested, and not usable."""

import asyncio
import importlib.util
import json
import logging
import re
import tomllib
from pathlib import Path

import pytest
from aiohttp import web
from atts_sglang.options import VERSIONS as SGLANG
from atts_vllm.options import VERSIONS as VLLM
from packaging.requirements import Requirement

from atts_harness import plugins
from atts_harness.backend import BackendSpec
from atts_harness.engines import versions
from atts_harness.engines.versions import Versions
from atts_harness.errors import SettingError
from atts_harness.settings import parse_settings

ROOT = Path(__file__).parents[3]
MADE_UP = Versions("Engine", ">=2.1,<2.2", {"<1.5": "it cannot count"})


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("2.1.0", None),
        ("2.1.7+cpu", None),
        ("2.1.1rc1", None),
        ("2.2.0", "Engine 2.2.0 was not tested; >=2.1,<2.2 was"),
        ("1.9.post4", "Engine 1.9.post4 was not tested; >=2.1,<2.2 was"),
        # What says nothing is not judged.
        (None, None),
        ("0.0.0+mock", None),
        ("0.0.0.dev0", None),
        ("main", None),
    ],
)
def test_a_version_outside_is_said_once(caplog, version, words):
    versions._warn.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            MADE_UP.check(version, "target_url")
    assert [record.getMessage().partition(";")[0] for record in caplog.records] == (
        [] if words is None else [words.partition(";")[0]]
    )
    assert MADE_UP.untested(version) == words


def test_what_cannot_be_used_is_refused_with_the_reason():
    with pytest.raises(SettingError, match=r"^target_url: Engine 1\.4 is not supported: it cannot"):
        MADE_UP.check("1.4", "target_url")
    with pytest.raises(SettingError, match=r"^draft: SGLang 0\.4\.3\.post4 is not supported: a "):
        SGLANG.check("0.4.3.post4", "draft")
    assert SGLANG.unusable("0.4.7") is None


def test_an_old_engine_is_refused_before_it_is_started(monkeypatch):
    monkeypatch.setattr("atts_harness.engines.managed.package_version", lambda *_: "0.4.3.post4")
    given = {"backend": "sglang", "draft": "org/a", "target": "org/b", "devices": "cpu"}
    with pytest.raises(SettingError, match=r"^draft: SGLang 0\.4\.3\.post4 is not supported"):
        parse_settings(given)


def test_an_old_engine_that_runs_is_refused_before_anything_else_is_asked(caplog):
    asked = []

    async def answer(request):
        asked.append(request.path)
        told = {"model_path": "m", "version": "0.4.3.post4", "max_req_input_len": 512}
        return web.json_response(told)

    async def main():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        kind = plugins.backend("sglang")
        try:
            await kind.open(BackendSpec("sglang", None, kind.options(url=url), "target"))
        finally:
            await runner.cleanup()

    with pytest.raises(SettingError, match=r"^target_url: SGLang 0\.4\.3\.post4 is not supported"):
        asyncio.run(main())
    assert asked == ["/model_info", "/server_info"]


def test_the_extras_ask_for_what_was_tested():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, known in (("vllm", VLLM), ("sglang", SGLANG)):
        asked = {r.name: r for r in map(Requirement, extras["optional-dependencies"][name])}
        assert str(asked[name].specifier) == str(Requirement(f"x{known.tested}").specifier)


def test_the_record_of_the_suites_is_what_is_called_tested():
    record = json.loads((ROOT / "docs" / "compatibility.json").read_text())
    cases = tomllib.loads((ROOT / "tests" / "engines" / "cases.toml").read_text())
    for name, known in (("vllm", VLLM), ("sglang", SGLANG)):
        assert known.untested(record[name]["version"]) is None
        assert record[name]["cases"] == cases[name]["cases"]


def test_the_page_has_the_record_as_its_table():
    found = importlib.util.spec_from_file_location(
        "compatibility", ROOT / "scripts" / "compatibility.py"
    )
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    page = (ROOT / "docs" / "engines.md").read_text()
    (shown,) = re.findall(
        r"<!-- compatibility: begin -->\n(.*?)<!-- compatibility: end -->", page, re.DOTALL
    )
    assert shown == script.table()
