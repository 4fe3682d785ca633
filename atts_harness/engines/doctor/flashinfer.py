"""Whether an installed FlashInfer fits: its kernels, the CUDA runtime, and the engine's pin.

It reads package metadata in the engine's own environment and imports nothing there, so it works on
a machine without a GPU.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from atts_harness.engines.doctor.finding import Finding
from atts_harness.errors import SettingError

PACKAGES = ("flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache", "torch")
# The first version in which one command fetches everything, and the first that has commands.
ONE_COMMAND = Version("0.7")
COMMANDS = Version("0.3")
LONGEST_DOWNLOAD = 3600.0

_ASK = """
import importlib.metadata as m, json, sys
packages = {}
for name in sys.argv[1:]:
    try:
        packages[name] = [m.version(name), m.requires(name) or []]
    except m.PackageNotFoundError:
        pass
print(json.dumps(packages))
"""


@dataclass(frozen=True)
class Installed:
    """The packages of an environment.

    Attributes:
        versions: by package.
        pins: the engine's requirement of FlashInfer, as written; empty if it has none.
        engine: name and version of the engine; None if it is not there.
    """

    versions: Mapping[str, str]
    pins: str = ""
    engine: str | None = None

    @property
    def cuda(self) -> str | None:
        """The CUDA version that torch was built for, `13.0`; None for a CPU build or unknown."""
        match = re.search(r"\+cu(\d+)(\d)$", self.versions.get("torch", ""))
        return f"{match[1]}.{match[2]}" if match else None


def look(python: str, package: str | None) -> Installed:
    """The packages in the environment of `python`.

    Raises:
        SettingError: that Python cannot be run.
    """
    names = [*PACKAGES, *([package] if package else [])]
    try:
        query = subprocess.run(
            [python, "-I", "-c", _ASK, *names], capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingError(f"engine_python: {python!r} cannot be asked: {error}") from error
    packages = msgspec.json.decode(query.stdout, type=dict[str, tuple[str, list[str]]])
    version, requires = packages.get(package or "", (None, []))
    pins = [text for text in requires if text.lower().replace("_", "-").startswith("flashinfer-py")]
    return Installed(
        versions={name: entry[0] for name, entry in packages.items()},
        pins=pins[0] if pins else "",
        engine=f"{package} {version}" if version else None,
    )


def judge(installed: Installed, *, gpu: bool) -> list[Finding]:
    """Whether the parts fit together, and what to do where they do not."""
    core = installed.versions.get("flashinfer-python")
    if core is None:
        return [_absent(installed, gpu=gpu)]
    findings = [Finding("ok", "flashinfer", f"flashinfer-python {core}")]
    findings += _against_pin(installed, core)
    findings += _against_kernels(installed, core)
    if gpu and installed.cuda is None:
        findings.append(
            Finding(
                "error",
                "CUDA",
                f"torch {installed.versions.get('torch', '(absent)')} is not a CUDA build",
                "install the torch that the engine asks for",
            )
        )
    return findings


def precompile(version: str) -> list[str]:
    """Arguments for `python -m` that fetch the kernels of a FlashInfer version beforehand."""
    try:
        release = Version(version)
    except InvalidVersion:
        release = ONE_COMMAND
    if release >= ONE_COMMAND:
        return ["flashinfer", "download-kernels"]
    return ["flashinfer", "download-cubin" if release >= COMMANDS else "--download-cubin"]


def fetch(python: str, version: str) -> Finding:
    """Run that command; the last line of its output is the finding's text."""
    command = [python, "-m", *precompile(version)]
    try:
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LONGEST_DOWNLOAD
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("error", "kernels", str(error), f"run it by hand: {' '.join(command)}")
    output = (process.stdout + process.stderr).strip().splitlines() or ["(nothing)"]
    if process.returncode:
        return Finding("error", "kernels", output[-1], f"run it by hand: {' '.join(command)}")
    return Finding("ok", "kernels", f"fetched: {output[-1]}")


def _absent(installed: Installed, *, gpu: bool) -> Finding:
    pin_note = f"; {installed.engine} asks for {installed.pins}" if installed.pins else ""
    if not gpu:
        return Finding("note", "flashinfer", f"not installed; not needed without a GPU{pin_note}")
    if installed.pins:
        return Finding(
            "error", "flashinfer", f"not installed{pin_note}", f"pip install '{installed.pins}'"
        )
    return Finding("note", "flashinfer", "not installed; the engine does not ask for it")


def _against_pin(installed: Installed, core: str) -> list[Finding]:
    if not installed.pins:
        return []
    try:
        requirement = Requirement(installed.pins)
    except InvalidRequirement:
        return [Finding("note", "pin", f"{installed.engine} asks for {installed.pins!r}")]
    if requirement.specifier.contains(core, prereleases=True):
        return [Finding("ok", "pin", f"{installed.engine} asks for {installed.pins}")]
    return [
        Finding(
            "error",
            "pin",
            f"{installed.engine} asks for {installed.pins}, installed is {core}",
            f"pip install 'flashinfer-python{requirement.specifier}'",
        )
    ]


def _against_kernels(installed: Installed, core: str) -> list[Finding]:
    findings = []
    command = "python -m " + " ".join(precompile(core))
    for package, subject in (("flashinfer-cubin", "cubins"), ("flashinfer-jit-cache", "JIT cache")):
        version = installed.versions.get(package)
        if version is None:
            findings.append(
                Finding(
                    "warning",
                    subject,
                    f"{package} is not installed: kernels are fetched or compiled at first use",
                    command,
                )
            )
            continue
        base, _, local = version.partition("+")
        if base != core.partition("+")[0]:
            findings.append(
                Finding(
                    "error",
                    subject,
                    f"{package} {version} does not belong to flashinfer-python {core}, which "
                    "refuses to start with it",
                    f"pip install '{package}=={core}', or {command}",
                )
            )
            continue
        cuda = installed.cuda
        if local.startswith("cu") and cuda and local != "cu" + cuda.replace(".", ""):
            findings.append(
                Finding(
                    "error",
                    subject,
                    f"{package} {version} is built for another CUDA than torch ({cuda})",
                    command,
                )
            )
            continue
        findings.append(Finding("ok", subject, f"{package} {version}"))
    return findings
