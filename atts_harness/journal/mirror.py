"""A copy of a journal on another machine: every commit is also sent to a keeper there.

The journal itself stays on a disk of the machine that runs, where SQLite's log and locks hold.
*Committed* then means acknowledged by the keeper. A run begins with the keeper's copy, so an
attempt on another machine goes on where the last acknowledged commit was. Each attempt has an
epoch, and the keeper refuses writes of an older one: a machine that was thought dead may still
be writing.

A launcher names the mirrored run directory of a command in an environment variable
(`environment`); `keeper.Keeper` is the other side.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from atts_harness import neutral
from atts_harness.errors import RunDirError
from atts_harness.journal import wire
from atts_harness.journal.wire import Change

logger = neutral.logger("atts_harness.journal")

VARIABLE = "ATTS_JOURNAL_MIRROR"
PATIENCE_SECONDS = 60.0
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
PAUSE_SECONDS = 0.5


class MirrorRefusedError(RunDirError):
    """The keeper refuses this attempt: another one has taken its place."""


class MirrorLostError(RunDirError):
    """The keeper cannot be reached, so nothing more can be committed."""


class Mirror(Protocol):
    """A copy of a journal elsewhere."""

    def fetch(self, database: Path) -> None:
        """Replace a local database, which must not be open, by the mirror's copy.

        Raises:
            MirrorRefusedError: another attempt has taken this one's place.
            MirrorLostError: the copy cannot be reached.
        """
        ...

    def commit(self, changes: Sequence[Change]) -> None:
        """Make the changes of one transaction in the copy; returns once they are committed there.

        Raises:
            MirrorRefusedError: another attempt has taken this one's place.
            MirrorLostError: the copy cannot be reached.
        """
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Address(msgspec.Struct, kw_only=True):
    """Address and key of the mirror that a command writes to.

    Attributes:
        run_dir: the run directory that is mirrored, relative to the command's working directory.
        host: where the keeper listens.
        port: likewise.
        key: proves that the command may write.
        run: the keeper's name for the journal.
        epoch: of this attempt.
    """

    run_dir: str
    host: str
    port: int
    key: str
    run: str
    epoch: int


def environment(address: Address) -> dict[str, str]:
    """The environment variable that gives a command the address of its mirror."""
    return {VARIABLE: msgspec.json.encode(address).decode()}


def mirror_of(run_dir: Path, environment: Mapping[str, str] = os.environ) -> Mirror | None:
    """The mirror of a run directory; None: it has none.

    Raises:
        RunDirError: the variable does not hold an address.
    """
    value = environment.get(VARIABLE)
    if not value:
        return None
    try:
        address = msgspec.json.decode(value, type=Address)
    except msgspec.MsgspecError as error:
        raise RunDirError(f"{VARIABLE}: {error}; unset it, or leave it to `atts compare`") from None
    return TcpMirror(address) if Path(address.run_dir).resolve() == run_dir.resolve() else None


class TcpMirror:
    """A `Mirror` that writes to a `keeper.Keeper`. Not safe for several threads.

    A link that breaks is made again, for `PATIENCE_SECONDS` if its machine cannot be reached; what
    was not acknowledged is sent again, and the keeper does nothing twice.

    Args:
        address: of the keeper.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link: socket.socket | None = None
        self._number = 0

    def fetch(self, database: Path) -> None:
        """Put the keeper's copy in the place of a database; see `Mirror.fetch`."""
        temporary = database.with_name(f"{database.name}.new")

        def fetch() -> None:
            link, size = self._connect(fetch=True)
            with temporary.open("wb") as file:
                while size > 0:
                    piece = wire.receive_bytes(link)
                    file.write(piece)
                    size -= len(piece)

        self._patiently(fetch)
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        temporary.chmod(0o600)
        temporary.replace(database)

    def commit(self, changes: Sequence[Change]) -> None:
        """Have the keeper commit a transaction; see `Mirror.commit`."""
        if not changes:
            return
        self._number += 1
        body = wire.Transaction(self._number, [(sql, tuple(row)) for sql, row in changes])

        def send() -> None:
            link = self._link or self._connect(fetch=False)[0]
            wire.send(link, body)
            self._heed(wire.receive(link, wire.KeeperAnswer))

        self._patiently(send)

    def close(self) -> None:
        """Close the link."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _connect(self, *, fetch: bool) -> tuple[socket.socket, int]:
        """Connect again, and ask for the size of the copy."""
        self.close()
        address = self._address
        link = socket.create_connection((address.host, address.port), CONNECT_SECONDS)
        self._link = link
        link.settimeout(ANSWER_SECONDS)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nonce = wire.receive(link, wire.Nonce)
        if nonce.version != wire.VERSION:
            raise MirrorRefusedError(
                f"run_dir: the keeper of its journal speaks version {nonce.version}, this package "
                f"{wire.VERSION}; install the same atts-harness on all machines"
            )
        proof = wire.proof(address.key, nonce.nonce, address.run, address.epoch)
        wire.send(link, wire.Hello(address.run, address.epoch, proof, fetch))
        answer = wire.receive(link, wire.KeeperAnswer)
        self._heed(answer)
        return link, answer.size

    def _heed(self, answer: wire.KeeperAnswer) -> None:
        if answer.refused is not None:
            raise MirrorRefusedError(f"run_dir: {answer.refused}")

    def _patiently(self, work: Any) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                work()
                return
            except OSError as error:
                self.close()
                # Refused: the machine runs, but its keeper is gone and does not come back.
                if isinstance(error, ConnectionRefusedError) or time.monotonic() > deadline:
                    address = self._address
                    raise MirrorLostError(
                        f"run_dir: the keeper of its journal at {address.host}:{address.port} "
                        f"cannot be reached: {error}; the same command goes on where its copy ends"
                    ) from error
                logger.warning("the keeper of the journal: %s; trying again", error)
            time.sleep(PAUSE_SECONDS)


class Recorder(sqlite3.Connection):
    """A connection that records its changes, so that they can be made in a copy, too."""

    changes: list[Change]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changes = []

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As any connection does."""
        if _changes_rows(sql):
            self.changes.append((sql, tuple(parameters)))
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        """As any connection does."""
        rows = [tuple(row) for row in parameters]
        if _changes_rows(sql):
            self.changes += [(sql, row) for row in rows]
        return super().executemany(sql, rows)


def _changes_rows(sql: str) -> bool:
    return sql.lstrip().upper().startswith(("INSERT", "DELETE"))


def closed(mirror: Mirror | None) -> None:
    """Close a mirror, if there is one. Errors are ignored: nothing more is to be written."""
    if mirror is not None:
        with contextlib.suppress(OSError):
            mirror.close()
