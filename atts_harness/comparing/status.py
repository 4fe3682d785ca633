"""The status file of a comparison: each cell's state, its result, and what must not change.

OUT/compare.json              this file
OUT/cells/TASK/PAIR/ROW/      run directory of a cell, with its results, `log.txt`, and the
                              cell's part of this file as `cell.json`
OUT/calibrations/NAME/        bank and run directory of a calibration
OUT/servers/PAIR/             logs of servers that cells share
OUT.aside/                    cells that `--redo` started afresh
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

import msgspec

from atts_harness import neutral
from atts_harness._version import __version__
from atts_harness.comparing.cells import Cell
from atts_harness.comparing.plan import NAME, Plan
from atts_harness.differences import brief
from atts_harness.errors import RunDirError, SettingError
from atts_harness.files import decode, read_file
from atts_harness.private import append_to, make_folder

logger = neutral.logger("atts_harness.comparing")

FILE = "compare.json"
CELL = "cell.json"
VERSION = 1
NAME_PARTS = 3  # TASK/PAIR/ROW
State = Literal["pending", "running", "done", "failed", "skipped", "interrupted"]
MOST_NAMED = 4
# Addresses and time limits of engines, on which no result depends.
FREE = frozenset({"retries", "timeout", "engine_timeout", "stall_timeout", "retry_failed"})
FREE |= {"progress", "metrics_interval"}
FREE_OF_A_ROLE = frozenset({"url", "host", "port", "timeout", "start_timeout", "engine_python"})


class CalibrationStatus(msgspec.Struct, kw_only=True):
    """How a cell's bank was made.

    Attributes:
        bank: the file, relative to the comparison's folder.
        run_dir: the run of its scores, with their cost; likewise.
        seconds: what it took, start included; 0 for a cell whose bank existed already.
    """

    bank: str
    run_dir: str
    seconds: float = 0.0


class CellStatus(msgspec.Struct, kw_only=True):
    """State of a cell.

    Attributes:
        name: TASK/PAIR/ROW.
        task: as the evaluation framework knows it.
        pair: name of the pair.
        row: name of the strategy at its operating point.
        strategy: as `atts plugins` lists it.
        point: the settings of the operating point.
        identity: what its result depends on; a change is refused.
        state: `pending`, `running`, `done`, `failed`, `skipped` (it needs one that failed) or
            `interrupted`.
        folder: run directory and the framework's output, relative to the comparison's folder.
        results: the framework's results file, likewise.
        log: what the cell printed, likewise.
        command: how it was started.
        place: how many cells of the comparison had been started before it, at its last start.
        starts: how often it was started.
        started_at: the last time, ISO 8601, UTC.
        seconds: of all its starts together, start-up included and calibration not.
        metric: name of the figure in `accuracy`.
        accuracy: the task's headline figure.
        exit_status: of its process.
        cause: why it failed, in a line.
        caches: by role, what was done about prefix caches before it.
        needs: the cell whose takeover rate it takes.
        calibration: its bank.
        harness: version of this package.
        parallel: cells of its pair that ran at a time; above 1 its times are not its own.
        timing: whether its times are wanted; without, cells run beside each other.
        machine: where it ran last; "" for this one.
        times_of: the cell that it runs again for its times.
        warm_up: whether it was the first to run on newly started servers.
        repeats: samples a problem after the last round; None without `until`.
        precision: how precise its accuracy is, in words; "" without `until`.
    """

    name: str
    task: str
    pair: str
    row: str
    strategy: str
    point: dict[str, Any]
    identity: dict[str, Any]
    state: State = "pending"
    folder: str = ""
    results: str | None = None
    log: str = ""
    command: str = ""
    place: int | None = None
    starts: int = 0
    started_at: str | None = None
    seconds: float = 0.0
    metric: str | None = None
    accuracy: float | None = None
    exit_status: int | None = None
    cause: str = ""
    caches: dict[str, str] = msgspec.field(default_factory=dict)
    needs: str | None = None
    calibration: CalibrationStatus | None = None
    harness: str = ""
    parallel: int = 1
    timing: bool = True
    machine: str = ""
    times_of: str | None = None
    warm_up: bool = False
    repeats: int | None = None
    precision: str = ""


class Status(msgspec.Struct, kw_only=True):
    """A comparison.

    Attributes:
        name: its title.
        plan: the plan file.
        seed: of the order.
        shuffled: whether the strategies' order was drawn.
        order: the cells' names in the order of this plan; those that are not started yet follow
            it.
        cells: those of the plan.
        dropped: cells of an earlier plan; their folders are still there.
        version: of this schema.
        digest: of everything else, in the file; files of early releases have none.
    """

    name: str
    plan: str
    seed: int
    shuffled: bool
    order: list[str] = msgspec.field(default_factory=list)
    cells: list[CellStatus] = msgspec.field(default_factory=list)
    dropped: list[CellStatus] = msgspec.field(default_factory=list)
    version: int = VERSION
    digest: str | None = None

    def sealed(self) -> Status:
        """The same with its digest."""
        content = msgspec.json.encode(msgspec.structs.replace(self, digest=None))
        return msgspec.structs.replace(self, digest=hashlib.sha256(content).hexdigest()[:16])

    def cell(self, name: str) -> CellStatus:
        """The cell of that name."""
        return next(cell for cell in self.cells if cell.name == name)


class Folder:
    """A comparison's folder, held by one `atts compare` at a time.

    Args:
        path: made if it is not there.

    Raises:
        RunDirError: no folder, no permission, in use, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            make_folder(path, link=True)
            self._lock: IO[str] = os.fdopen(append_to(path / "lock"), "a+")
        except OSError as error:
            reason = error.strerror or error
            raise RunDirError(f"out: {path}: {reason}; choose another `out`") from error
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise RunDirError(f"out: another comparison is running in {path}") from error

    def read(self) -> Status | None:
        """The status, None in a new folder."""
        return read_status(self.path)

    def write(self, status: Status) -> None:
        """Replace the status file as a whole, so that a reader never sees a part of it.

        Raises:
            RunDirError: it cannot be written.
        """
        temporary = self.path / f"{FILE}.new"
        try:
            temporary.write_bytes(
                msgspec.json.format(msgspec.json.encode(status.sealed()), indent=1)
            )
            temporary.replace(self.path / FILE)
        except OSError as error:
            raise RunDirError(f"out: {self.path / FILE}: {error.strerror}") from error

    def close(self) -> None:
        """Release the lock, so that another `atts compare` can take the folder."""
        self._lock.close()


def read_status(folder: Path) -> Status | None:
    """The status of a comparison, None where there is none.

    Raises:
        RunDirError: it cannot be read, or is of another version.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        status: Status = decode(read_file(path), Status, f"{path}: not the status of a comparison")
    except SettingError as error:
        raise RunDirError(f"out: {error}; choose another `out`") from error
    if status.version != VERSION:
        raise RunDirError(
            f"out: {path} is of version {status.version}, this package reads {VERSION}; choose "
            "another `out`"
        )
    if status.digest is None:
        logger.warning(
            "%s has no digest (early releases wrote none), so damage is not noticed", path
        )
    elif status.digest != status.sealed().digest:
        raise RunDirError(
            f"out: {path} is damaged, or was edited: choose another `out` (or take its `digest` "
            "out, if you changed it on purpose)"
        )
    for cell in (*status.cells, *status.dropped):
        _check_places(cell, path)
    return msgspec.structs.replace(status, digest=None)


def _check_places(cell: CellStatus, path: Path) -> None:
    """Refuse a cell whose files would lie elsewhere: folders are written to and moved.

    Raises:
        RunDirError: names the cell.
    """
    parts = cell.name.split("/")
    folder_of_cell = f"cells/{cell.name}"
    places = [(cell.log, folder_of_cell), (cell.results, folder_of_cell)]
    if cell.calibration is not None:
        places += [(cell.calibration.bank, "calibrations")]
        places += [(cell.calibration.run_dir, "calibrations")]
    sound = (
        len(parts) == NAME_PARTS
        and all(NAME.fullmatch(part) for part in parts)
        and cell.folder == folder_of_cell
        and all(place is None or _inside(place, folder) for place, folder in places)
    )
    if not sound:
        raise RunDirError(
            f"out: {path}: cell {cell.name[:80]!r} has a name or a file outside its own folder; "
            "`atts compare` did not write this: choose another `out`"
        )


def _inside(place: str, folder: str) -> bool:
    path = PurePosixPath(place)
    return path.is_relative_to(folder) and ".." not in path.parts and "\0" not in place


def fresh(cell: Cell, plan: Plan) -> CellStatus:
    """The status of a cell that was never started."""
    folder = f"cells/{cell.name}"
    return CellStatus(
        name=cell.name,
        task=cell.task.task,
        pair=cell.pair,
        row=cell.row,
        strategy=cell.strategy,
        point=_plain(dict(cell.point)),
        identity=identity(cell, plan),
        folder=folder,
        log=f"{folder}/log.txt",
        needs=cell.needs,
        harness=__version__,
        times_of=cell.times_of,
    )


def identity(cell: Cell, plan: Plan) -> dict[str, Any]:
    """What a cell's result depends on, as plain JSON values."""
    identity: dict[str, Any] = _plain(
        {
            "strategy": cell.strategy,
            "task": msgspec.structs.asdict(cell.task),
            "settings": {k: v for k, v in cell.settings.items() if not _free(k)},
            "calibrate": cell.calibrate,
            "rate_of": cell.needs,
            "apply_chat_template": plan.apply_chat_template,
            "system_instruction": plan.system_instruction,
            "include_path": plan.include_path,
        }
    )
    return identity


def merged(earlier: Status | None, cells: Sequence[Cell], plan: Plan, file: str) -> Status:
    """The status to continue with: recorded cells of the plan, and new ones.

    New cells are added and will run; cells that the plan has no more are kept apart. Where `limit`
    has grown, a cell goes on with the further problems.

    Raises:
        RunDirError: a cell that was started is not what it was; names the differences.
    """
    before = {c.name: c for c in (*earlier.cells, *earlier.dropped)} if earlier else {}
    status = Status(name=plan.name, plan=file, seed=plan.seed, shuffled=plan.shuffle)
    changed: list[str] = []
    for cell in cells:
        new = fresh(cell, plan)
        old = before.pop(cell.name, None)
        if old is None or not old.starts:
            status.cells.append(new)
            continue
        differences = list(_unequal("", old.identity, new.identity))
        if differences and _has_grown(old, new):
            old.identity, old.state, old.cause = new.identity, "pending", ""
        elif differences:
            changed.append(f"{cell.name}: {brief(differences, MOST_NAMED)}")
        status.cells.append(old)
    if changed:
        raise RunDirError(
            f"out: {brief(changed, MOST_NAMED)}. These cells were run with the earlier plan: undo "
            "the change, give them another `name`, use another `out`, or start them afresh with "
            "--redo NAME"
        )
    status.dropped = [cell for cell in before.values() if cell.starts]
    return status


def _has_grown(old: CellStatus, new: CellStatus) -> bool:
    """Whether a cell differs only in having more problems, which its journal can add.

    False for a cell with a bank, which leaves the earlier problems out, and for one with a rate
    from another cell: both change with the limit, and a journal has only one of each.
    """
    if new.needs is not None or new.identity.get("calibrate") is not None:
        return False
    limits = [cell.identity["task"].get("limit") for cell in (old, new)]
    if limits[0] is None or (limits[1] is not None and limits[1] <= limits[0]):
        return False
    task = {**old.identity["task"], "limit": limits[1]}
    return {**old.identity, "task": task} == new.identity


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _free(setting: str) -> bool:
    role, _, name_without_role = setting.partition("_")
    name = name_without_role if role in ("draft", "target") else setting
    return setting in FREE or name in FREE_OF_A_ROLE


def _unequal(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _unequal(f"{prefix}{name}.", old, new)
        elif old != new:
            yield f"{prefix}{name} was {_shown(old)}, now {_shown(new)}"


def _shown(value: Any) -> str:
    return "not set" if value is None else msgspec.json.encode(value).decode()
