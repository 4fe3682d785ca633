"""Measured costs of an engine as a file: written by `atts measure`, read by `atts plan --cost`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from atts_harness.backend import Role
from atts_harness.errors import SettingError
from atts_harness.files import decode, read_file
from atts_harness.simulation.costs import Measured

__all__ = ["EngineCosts", "read_costs", "role_costs", "write_costs"]

VERSION = 3
"""3: also says whether steps mix prompts and decodes. A file without it, of SGLang, would be taken
for an engine that mixes them, and its plans would be too fast."""
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


@dataclass(frozen=True)
class EngineCosts:
    """What calls of one engine cost.

    Attributes:
        cost: of a step.
        latency: seconds of a call beside its steps.
        engine: name and version of what was measured.
        model: its model.
        error: mean relative error of the fit on what it was fitted to.
        scores_read_cache: whether its scores read its prefix cache.
        mixed_steps: whether it computes prompts beside sequences that decode.
    """

    cost: Measured
    latency: float = 0.0
    engine: str = ""
    model: str = ""
    error: float = 0.0
    scores_read_cache: bool = True
    mixed_steps: bool = True


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: Literal["atts-cost"] = "atts-cost"
    version: int = VERSION
    step: _Seconds
    sequence: _Seconds
    prompt_token: _Seconds
    pair: _Seconds = 0.0
    row: _Seconds = 0.0
    context: _Seconds = 0.0
    prompt: _Seconds = 0.0
    batch: _Seconds = 0.0
    latency: _Seconds = 0.0
    engine: str = ""
    model: str = ""
    error: _Seconds = 0.0
    scores_read_cache: bool = True
    mixed_steps: bool


def write_costs(costs: EngineCosts, path: Path) -> None:
    """Write a file of costs.

    Raises:
        SettingError: it cannot be written.
    """
    beside = {name: getattr(costs, name) for name in _names(EngineCosts) if name != "cost"}
    content = _File(**dataclasses.asdict(costs.cost), **beside)
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    except OSError as error:
        raise SettingError(f"--out {path}: cannot be written: {error.strerror}") from error


def read_costs(path: Path) -> EngineCosts:
    """Read a file of costs.

    Raises:
        SettingError: it is none, or of a newer release.
    """
    place = f"--cost {path}"
    content: _File = decode(read_file(path, place), _File, f"{place}: not a file of costs")
    if content.version != VERSION:
        raise SettingError(
            f"{place}: version {content.version}; this release reads {VERSION}: measure it again"
        )
    cost = Measured(**{name: getattr(content, name) for name in _names(Measured)})
    if cost.step + cost.sequence <= 0:
        raise SettingError(f"{place}: a step costs nothing, so a run would never take any time")
    beside = {name: getattr(content, name) for name in _names(EngineCosts) if name != "cost"}
    return EngineCosts(cost, **beside)


def _names(kind: type[Measured | EngineCosts]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def role_costs(texts: list[str]) -> dict[Role, EngineCosts]:
    """From `draft=FILE` and `target=FILE` to costs by role.

    Raises:
        SettingError: of another form, or a file that cannot be read.
    """
    costs: dict[Role, EngineCosts] = {}
    for text in texts:
        role, equals, path = text.partition("=")
        if not equals or role not in ("draft", "target"):
            raise SettingError(f"--cost {text}: expected draft=FILE or target=FILE")
        if role in costs:
            raise SettingError(f"--cost {text}: the second file of the {role}; give one of them")
        costs["draft" if role == "draft" else "target"] = read_costs(Path(path))
    return costs
