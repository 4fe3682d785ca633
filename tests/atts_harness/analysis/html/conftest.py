"""A page with real runs behind it, and a browser that can reach nothing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `report_material`, beside the tests


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """What `report_material.rates` makes: leaderboard, entries, page with `leaderboard.json`."""
    import report_material as material

    from atts_harness.analysis.html.page import write_page
    from atts_harness.analysis.leaderboard.outputs.json_file import write_json

    folder = tmp_path_factory.mktemp("rates")
    leaderboard, entries = material.rates(folder)
    page = folder / "report.html"
    write_page(leaderboard, entries, page)
    write_json(leaderboard, folder / "leaderboard.json")
    return leaderboard, entries, page


@pytest.fixture
def visit(chromium):
    """Opens a file with the network cut; fails at the end if the page said or asked anything."""
    contexts, said, asked = [], [], []

    def visit(path, *, width=1280, height=900, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        context.set_offline(True)
        context.on("request", lambda request: asked.append(request.url))
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path.as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("file:")] == []
    assert len(asked) == len(contexts), f"a page loads nothing but itself, not {asked}"
