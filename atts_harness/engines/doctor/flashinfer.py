"""Whether an installed FlashInfer fits: its kernels, the CUDA runtime, and the engine's pin.

What is looked at is package metadata in the engine's own environment; nothing is imported there,
so it works on a machine without a GPU.
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
# Since which version one command fetches everything, and since which there are commands at all.
ONE_COMMAND = Version("0.7")
COMMANDS = Version("0.3")
LONGEST_DOWNLOAD = 3600.0

_ASK = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = [m.version(name), m.requires(name) or []]
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Installed:
    """What an environment holds.

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
        found = re.search(r"\+cu(\d+)(\d)$", self.versions.get("torch", ""))
        return f"{found[1]}.{found[2]}" if found else None


def look(python: str, package: str | None) -> Installed:
    """What the environment of `python` holds.

    Raises:
        SettingError: that Python cannot be run.
    """
    names = [*PACKAGES, *([package] if package else [])]
    try:
        asked = subprocess.run(
            [python, "-I", "-c", _ASK, *names], capture_output=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingError(f"engine_python: {python!r} cannot be asked: {error}") from error
    found = msgspec.json.decode(asked.stdout, type=dict[str, tuple[str, list[str]]])
    version, requires = found.get(package or "", (None, []))
    pins = [text for text in requires if text.lower().replace("_", "-").startswith("flashinfer-py")]
    return Installed(
        versions={name: told[0] for name, told in found.items()},
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
                f"torch {installed.versions.get('torch', '(absent)')} is no CUDA build",
                "install the torch that the engine asks for",
            )
        )
    return findings


def precompile(version: str) -> list[str]:
    """Arguments for `python -m` that fetch the kernels of a FlashInfer version beforehand."""
    try:
        told = Version(version)
    except InvalidVersion:
        told = ONE_COMMAND
    if told >= ONE_COMMAND:
        return ["flashinfer", "download-kernels"]
    return ["flashinfer", "download-cubin" if told >= COMMANDS else "--download-cubin"]


def fetch(python: str, version: str) -> Finding:
    """Run that; what it says last is the finding's text."""
    command = [python, "-m", *precompile(version)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LONGEST_DOWNLOAD
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding("error", "kernels", str(error), f"run it by hand: {' '.join(command)}")
    said = (done.stdout + done.stderr).strip().splitlines() or ["(nothing)"]
    if done.returncode:
        return Finding("error", "kernels", said[-1], f"run it by hand: {' '.join(command)}")
    return Finding("ok", "kernels", f"fetched: {said[-1]}")


def _absent(installed: Installed, *, gpu: bool) -> Finding:
    wanted = f"; {installed.engine} asks for {installed.pins}" if installed.pins else ""
    if not gpu:
        return Finding("note", "flashinfer", f"not installed, and without a GPU not needed{wanted}")
    if installed.pins:
        return Finding(
            "error", "flashinfer", f"not installed{wanted}", f"pip install '{installed.pins}'"
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
    for package, what in (("flashinfer-cubin", "cubins"), ("flashinfer-jit-cache", "JIT cache")):
        version = installed.versions.get(package)
        if version is None:
            findings.append(
                Finding(
                    "warning",
                    what,
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
                    what,
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
                    what,
                    f"{package} {version} is built for another CUDA than torch ({cuda})",
                    command,
                )
            )
            continue
        findings.append(Finding("ok", what, f"{package} {version}"))
    return findings
