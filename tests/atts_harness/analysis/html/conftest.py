"""A page with real runs behind it."""

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
