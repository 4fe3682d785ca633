"""What all engines that this project can start share: options, devices, their Python."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeGuard

import msgspec

from atts_harness.backend import BackendOptions, BackendSpec, Role
from atts_harness.engines.address import base_address
from atts_harness.engines.options import EngineOptions
from atts_harness.engines.servers import free_port
from atts_harness.errors import MissingExtraError, SettingError

# A server of ours never closes a connection that the run still uses: the run drops idle ones after
# seconds, and may itself stall for longer than the 5 s that servers wait by default.
KEPT_OPEN_SECONDS = 600


class ManagedOptions(EngineOptions, frozen=True, kw_only=True):
    """A model whose server this project can start."""

    dtype: Annotated[
        str | None, msgspec.Meta(description="number format of weights: auto, bfloat16, float32")
    ] = None
    devices: Annotated[
        str | None,
        msgspec.Meta(description="GPUs by number, joined by +, or cpu; default: all, split"),
    ] = None
    host: Annotated[str, msgspec.Meta(description="address a started server listens on")] = (
        "127.0.0.1"
    )
    port: (
        Annotated[
            int, msgspec.Meta(ge=1, le=65535, description="port of a started server; any free")
        ]
        | None
    ) = None
    server_args: Annotated[
        str | list[str] | dict[str, Any] | None,
        msgspec.Meta(description="any further flags of the engine, as on its command line"),
    ] = None
    speculate: Annotated[
        str | None,
        msgspec.Meta(description="the engine's own speculative decoding, by the method's name"),
    ] = None
    speculate_model: Annotated[
        str | None, msgspec.Meta(description="model that proposes tokens, where the method has one")
    ] = None
    speculate_tokens: Annotated[
        int, msgspec.Meta(ge=1, description="tokens that are proposed at a time")
    ] = 4
    engine_python: Annotated[
        str | None, msgspec.Meta(description="Python of the environment that holds the engine")
    ] = None
    start_timeout: Annotated[
        float, msgspec.Meta(gt=0, description="seconds a server may take to start")
    ] = 1800.0


def is_managed(spec: BackendSpec[BackendOptions]) -> TypeGuard[BackendSpec[ManagedOptions]]:
    """Whether a role's options are those of a server that this project can start."""
    return isinstance(spec.options, ManagedOptions)


def flags(server_args: str | list[str] | dict[str, Any] | None) -> list[str]:
    """`server_args` as a command line has them.

    A mapping's keys are flags in either spelling; true is a bare flag, false and null leave it
    out, structures become JSON.

    Raises:
        SettingError: quotes that do not close.
    """
    if server_args is None:
        return []
    if isinstance(server_args, str):
        try:
            return shlex.split(server_args)
        except ValueError as error:
            raise SettingError(f"server_args: {error} in {server_args!r}") from error
    if isinstance(server_args, list):
        return server_args
    arguments: list[str] = []
    for name, value in server_args.items():
        if value is None or value is False:
            continue
        arguments.append("--" + name.lstrip("-").replace("_", "-"))
        if value is not True:
            text = isinstance(value, str)
            arguments.append(value if text else msgspec.json.encode(value).decode())
    return arguments


OWNED = ("host", "port", "api-key", "admin-api-key", "model", "model-path", "uds")
"""Flags that the harness sets itself: who listens where, and with which key."""


def with_defaults(arguments: list[str], defaults: dict[str, Any]) -> list[str]:
    """`arguments` after the defaults that they do not set; None and False are left out."""
    spelled = {_name_of(flag) for flag in arguments}
    usual = {
        name: value for name, value in defaults.items() if name.replace("_", "-") not in spelled
    }
    return [*flags(usual), *arguments]


def check_flags(role: Role, arguments: list[str]) -> None:
    """Refuse flags that the harness sets, abbreviated ones too: argument parsers accept them.

    Raises:
        SettingError: names the flag and what to use instead.
    """
    for flag in arguments:
        name = _name_of(flag)
        owned = next((o for o in OWNED if name and (o == name or o.startswith(name))), None)
        if owned is not None and (name == owned or len(name) > 2):
            instead = {"host": f"{role}_host", "port": f"{role}_port"}.get(owned, f"{role}=MODEL")
            if "key" in owned:
                instead = "the environment variable that `api_key_env` names"
            raise SettingError(
                f"{role}_server_args: --{owned} is set by the harness; use {instead}"
            )


def _name_of(flag: str) -> str:
    """`max-len` of `--max_len=8`; empty if it is not a long flag."""
    if not flag.startswith("--"):
        return ""
    return flag.partition("=")[0].removeprefix("--").replace("_", "-").lower()


def flags_by_name(options: ManagedOptions, further: Sequence[str] = ()) -> dict[str, str]:
    """An engine's `server_args` by name, without dashes; a bare flag is an empty text.

    Args:
        options: of the engine.
        further: flags that come from other options.
    """
    arguments = [*flags(options.server_args), *further]
    values: dict[str, str] = {}
    for index, flag in enumerate(arguments):
        if not flag.startswith("-"):
            continue
        name, sign, value = flag.partition("=")
        following = arguments[index + 1 : index + 2]
        bare = not following or following[0].startswith("--")
        name = name.lstrip("-").replace("_", "-")
        values[name] = value if sign else "" if bare else following[0]
    return values


def speculative(options: ManagedOptions, further: Sequence[str] = ()) -> dict[str, str]:
    """The flags of token-level speculative decoding among those of an engine, by name.

    Empty for a server that somebody else started: vLLM's does not report them.
    """
    return {
        name: value
        for name, value in flags_by_name(options, further).items()
        if "speculative" in name
    }


@functools.cache
def visible_devices() -> tuple[str, ...]:
    """GPUs this process may use, by number or id; empty where there is none."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return tuple(part for part in named.split(",") if part.strip() not in ("", "-1"))
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False, timeout=30)
    lines = listed.stdout.splitlines() if listed.returncode == 0 else []
    return tuple(str(n) for n, line in enumerate(lines) if line.startswith("GPU "))


def devices_of(spec: BackendSpec[ManagedOptions]) -> tuple[str, ...]:
    """Devices of a role's server; empty means the processor.

    Without a setting the draft gets the first device and the target the others (as many as a
    tensor-parallel size allows: a power of two); a single device serves both.

    Raises:
        SettingError: a device that is not visible.
    """
    options = spec.options
    visible = visible_devices()
    if options.devices is None:
        return _split(visible, spec.role)
    if options.devices == "cpu":
        return ()
    names = tuple(part.strip() for part in options.devices.split("+"))
    unknown = [device for device in names if device not in visible]
    if unknown:
        available = "+".join(visible) or "none: use `devices=cpu`"
        raise SettingError(
            f"{spec.role}_devices: there is no device {unknown[0]!r}; visible: {available}"
        )
    return names


def _split(visible: tuple[str, ...], role: Role) -> tuple[str, ...]:
    if len(visible) < 2:
        return visible
    if role == "draft":
        return visible[:1]
    others = len(visible) - 1
    return visible[1 : 1 + (1 << others.bit_length() - 1)]


def engine_python(options: ManagedOptions, variable: str) -> str:
    """The Python that runs the engine: `engine_python`, the environment's, or this one.

    Raises:
        SettingError: there is none at that path.
    """
    python = options.engine_python or os.environ.get(variable)
    if python is None:
        return sys.executable
    if shutil.which(python) is None:
        raise SettingError(
            f"engine_python: {python!r} cannot be run; give the Python of the environment that "
            "holds the engine"
        )
    # A relative path must survive a change of directory; a link in an environment must not be
    # followed, or the environment is lost.
    return str(Path(python).absolute()) if os.sep in python else python


@functools.cache
def package_version(python: str, package: str, extra: str) -> str:
    """Version of a package in another Python's environment.

    Raises:
        MissingExtraError: it is not installed there.
    """
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    process = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    if process.returncode:
        instead = (
            f", or name the Python that has it by engine_python (this one is {python}), or give "
            "the address of a running server by draft_url and target_url"
        )
        raise MissingExtraError(f"backend={extra}", extra, package, instead)
    return process.stdout.strip()


def port_of(options: ManagedOptions) -> int:
    """The chosen port, or a free one."""
    return options.port or free_port(options.host)


def check_managed(
    spec: BackendSpec[ManagedOptions],
    package: str,
    variable: str,
    extra: str,
    for_devices: Sequence[str] = (),
) -> str | None:
    """Check what can be checked before anything starts: the URL, or package, model and devices.

    Args:
        spec: of the role.
        package: the engine's package.
        variable: environment variable that names the Python which has the package.
        extra: the extra of this project that installs it.
        for_devices: options that do nothing on the processor.

    Returns:
        The version of the engine that would be started; None where a server runs already.

    Raises:
        SettingError: one line that names the setting.
    """
    options = spec.options
    if options.url is not None:
        base_address(options.url, f"{spec.role}_url")
        _refuse_for_started(spec)
        return None
    if spec.model is None:
        raise SettingError(f"{spec.role}: give a model to serve, or {spec.role}_url=URL")
    folder = Path(spec.model)
    if spec.model.startswith((".", os.sep)) and not folder.exists():
        raise SettingError(f"{spec.role}: there is no model folder {spec.model!r}")
    if folder.is_dir() and not (folder / "config.json").exists() and not any(folder.glob("*.gguf")):
        raise SettingError(f"{spec.role}: {spec.model!r} holds no model (no config.json)")
    version = package_version(engine_python(options, variable), package, extra)
    if not devices_of(spec):
        _refuse_for_devices(spec, for_devices)
    check_flags(spec.role, flags(options.server_args))
    return version


def start_settings(options: type[BackendOptions]) -> frozenset[str]:
    """Options that only say how a server is started; those of a running one cannot be set."""
    if not issubclass(options, ManagedOptions):
        return frozenset()
    return frozenset(options.__struct_fields__) - frozenset(EngineOptions.__struct_fields__)


def _refuse_for_started(spec: BackendSpec[ManagedOptions]) -> None:
    """Refuse options of a server's start where one runs already, unless another role uses them.

    Raises:
        SettingError: names the setting.
    """
    others = [other for other in spec.beside if getattr(other.options, "url", None) is None]
    used = {name for other in others for name in other.options.__struct_fields__}
    for option in sorted(start_settings(type(spec.options)) & spec.setting_names.keys()):
        name = spec.setting_names[option]
        if name == option and option in used:
            continue  # given for both roles, and the other one's is started
        raise SettingError(
            f"{name}: {spec.role}_url names a server that runs already, so this has no effect; "
            "leave it out, or start the server with it"
        )


def _refuse_for_devices(spec: BackendSpec[ManagedOptions], names: Sequence[str]) -> None:
    """Refuse options that only matter on GPUs, unless another role runs on one.

    Raises:
        SettingError: names the setting.
    """
    others = any(is_managed(other) and devices_of(other) for other in spec.beside)
    for option in names:
        name = spec.setting_names.get(option)
        if name is not None and not (name == option and others):
            raise SettingError(
                f"{name}: does nothing on the processor, which serves the {spec.role} here; leave "
                "it out"
            )
