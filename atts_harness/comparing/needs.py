"""What an engine set of a pair needs, from the settings of the pair's cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atts_harness import plugins
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.plan import Plan
from atts_harness.comparing.reaching import backend_of
from atts_harness.comparing.servers import to_serve
from atts_harness.launcher import Needs
from atts_harness.settings import ROLES

ANY_DEVICE = "auto"


def needs_of(cells: Sequence[Cell], plan: Plan) -> list[Needs]:
    """What the pairs of cells need, in the order in which the cells name them."""
    pairs: dict[str, list[Cell]] = {}
    for cell in cells:
        pairs.setdefault(cell.pair, []).append(cell)
    return [_of_pair(pair, mine, plan) for pair, mine in pairs.items()]


def _of_pair(pair: str, cells: Sequence[Cell], plan: Plan) -> Needs:
    settings = cells[0].served
    served = to_serve(cells)
    used = [r for r in ROLES if any(r in plugins.strategy(c.strategy).roles for c in cells)]
    with_server = [
        role
        for role in used
        if served and _starts(settings, role) and not _setting(settings, role, "url")
    ]
    elsewhere = [role for role in used if _setting(settings, role, "url")]
    inside = [role for role in used if role not in (*with_server, *elsewhere)]
    device = None
    if inside:
        devices = {str(_setting(settings, role, "device") or ANY_DEVICE) for role in inside}
        device = next((name for name in sorted(devices) if name != "cpu"), "cpu")
    return Needs(
        pair=pair,
        served={role: _text(_setting(settings, role, "devices")) for role in with_server},
        device=device,
        shared=bool(elsewhere),
        beside=plan.beside,
    )


def _starts(settings: Any, role: Any) -> bool:
    server = backend_of(settings, role).server
    return server is not None and server.starts


def _setting(settings: Any, role: str, name: str) -> Any:
    return settings.get(f"{role}_{name}", settings.get(name))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
