"""Known vulnerabilities of the packages in this environment, by pip-audit; `make audit`.

A service that cannot be reached, or a mirror that knows no advisories, would make every package
look clean. So each service is first asked about a release that is known to be vulnerable, and only
one that knows of it is believed.

Exit status: 0 nothing is known, 1 something is, 3 not run.

    python scripts/audit.py [TOOL_ENVIRONMENT]
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROBE = "urllib3==1.24.1"
"""A release with advisories since 2019 (CVE-2019-11236 and later ones)."""
SERVICES = ("pypi", "osv")
OURS = "atts-harness"
VULNERABLE, NOT_RUN = 1, 3

Run = Callable[[Sequence[str]], Any]
"""Runs pip-audit with arguments; its JSON report, None if it made none."""


def installed() -> list[str]:
    """The packages of this environment as requirements, local builds by their public version."""
    versions = {
        str(one.metadata["Name"]).lower(): one.version.partition("+")[0]
        for one in importlib.metadata.distributions()
        if one.metadata["Name"]
    }
    return [f"{name}=={version}" for name, version in sorted(versions.items()) if name != OURS]


def service(run: Run) -> str | None:
    """The first service that knows of a known vulnerability; None if none does."""
    for name in SERVICES:
        report = _report(run, name, [PROBE])
        if report is not None and _vulnerable(report):
            return name
    return None


def audit(run: Run, packages: Sequence[str]) -> tuple[int, list[str]]:
    """Ask about packages.

    Returns:
        The exit status, and what to print.
    """
    name = service(run)
    if name is None:
        return NOT_RUN, [
            f"audit: not run: no advisory service knew of {PROBE} ({', '.join(SERVICES)} were "
            "asked), so nothing is known of the installed packages"
        ]
    report = _report(run, name, packages)
    if report is None:
        return NOT_RUN, [f"audit: not run: {name} did not answer for all packages"]
    audited = {str(one["name"]).lower() for one in report if "skip_reason" not in one}
    skipped = [one for one in packages if one.partition("==")[0] not in audited]
    if skipped:
        return NOT_RUN, [f"audit: not run: nothing is known of {', '.join(skipped)}"]
    lines = [
        f"{one['name']} {one['version']}: {', '.join(v['id'] for v in one['vulns'])}"
        for one in _vulnerable(report)
    ]
    if lines:
        return VULNERABLE, lines
    return 0, [f"audit: {len(packages)} packages, no known vulnerability ({name})"]


def _vulnerable(report: Sequence[Any]) -> list[Any]:
    return [one for one in report if one.get("vulns")]


def _report(run: Run, name: str, packages: Sequence[str]) -> list[Any] | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("".join(f"{one}\n" for one in packages), encoding="utf-8")
        options = ("--strict", "--no-deps", "--disable-pip", "--format", "json", "--timeout", "20")
        report = run([*options, "--progress-spinner", "off", "-s", name, "-r", str(path)])
    dependencies = report.get("dependencies") if isinstance(report, dict) else None
    return dependencies if isinstance(dependencies, list) else None


def tool(folder: Path) -> Run:
    """pip-audit in an environment of its own, so that it is not among what it looks at."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    installation = subprocess.run([*install, "pip-audit>=2.7"], check=False)

    def run(arguments: Sequence[str]) -> Any:
        if installation.returncode:
            return None
        command = [str(python), "-m", "pip_audit", *arguments]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            return json.loads(process.stdout)
        except ValueError:
            return None

    return run


def main() -> None:
    """Ask, print, and end with the status."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".venv-audit")
    status, lines = audit(tool(folder), installed())
    print("\n".join(lines))
    sys.exit(status)


if __name__ == "__main__":
    main()
