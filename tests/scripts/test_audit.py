"""`make audit` never says that nothing is known where nobody was asked."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit.py"
PACKAGES = ["aiohttp==3.10.0", "rich==13.7.0"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("audit_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(known, vulnerable=(), skipped=(), silent=()):
    """A pip-audit of which some services know advisories."""

    def run(arguments):
        service = arguments[arguments.index("-s") + 1]
        assert "--strict" in arguments
        if service in silent:
            return None
        asked = Path(arguments[arguments.index("-r") + 1]).read_text().split()
        found = []
        for one in asked:
            name, _, version = one.partition("==")
            ids = (
                ["CVE-1"] if service in known and (name == "urllib3" or name in vulnerable) else []
            )
            entry = {"name": name, "version": version, "vulns": [{"id": i} for i in ids]}
            found.append({"name": name, "skip_reason": "x"} if name in skipped else entry)
        return {"dependencies": found}

    return run


@pytest.mark.parametrize(
    "run",
    [
        answers(known=(), silent=("pypi", "osv")),  # no network
        answers(known=()),  # a mirror that knows no advisories
        lambda arguments: {},
        lambda arguments: [],
    ],
)
def test_where_nobody_knows_it_is_not_run(script, run):
    status, lines = script.audit(run, PACKAGES)
    assert status == script.NOT_RUN
    assert "not run" in lines[0]


def test_a_package_that_nobody_was_asked_about_is_no_clean_bill(script):
    status, lines = script.audit(answers(known=("osv",), skipped=("rich",)), PACKAGES)
    assert status == script.NOT_RUN
    assert "rich==13.7.0" in lines[0]


def test_what_is_known_is_told(script):
    assert script.audit(answers(known=("osv",)), PACKAGES) == (
        0,
        ["audit: 2 packages, no known vulnerability (osv)"],
    )
    status, lines = script.audit(answers(known=("pypi",), vulnerable=("aiohttp",)), PACKAGES)
    assert (status, lines) == (script.VULNERABLE, ["aiohttp 3.10.0: CVE-1"])


def test_the_environments_packages_are_asked_about_and_not_ourselves(script):
    found = script.installed()
    names = [one.partition("==")[0] for one in found]
    assert {"aiohttp", "rich", "msgspec"} <= set(names)
    assert "atts-harness" not in names
    assert not [one for one in found if "+" in one]
