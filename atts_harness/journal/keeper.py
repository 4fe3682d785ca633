"""Keeps copies of journals that are written on other machines, by one attempt at a time."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import socket
import socketserver
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from atts_harness import neutral
from atts_harness.errors import RunDirError
from atts_harness.journal import schema, wire
from atts_harness.journal.directory import RunDirectory
from atts_harness.journal.mirror import Address
from atts_harness.journal.sqlite import connect

logger = neutral.logger("atts_harness.journal")

EPOCH = "epoch"
"""The file in a run directory with the number of its last attempt."""
HELLO_SECONDS = 10.0
# What a transaction of a journal may do to a copy; everything else is denied.
_ALLOWED = frozenset(
    {
        *(sqlite3.SQLITE_INSERT, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_READ),
        *(sqlite3.SQLITE_SELECT, sqlite3.SQLITE_TRANSACTION),
    }
)


@dataclass
class _Attempt:
    """The attempt that may write to a copy.

    Attributes:
        epoch: its number; higher than that of every earlier one.
        directory: the run directory of the copy, locked.
        connection: to the copy.
        last: number of its last transaction.
        lock: one thread at a time.
        over: whether it may not write any more.
    """

    epoch: int
    directory: RunDirectory
    connection: sqlite3.Connection
    last: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: bool = False


class Keeper:
    """Listens for runs on other machines, and keeps their journals.

    Args:
        host: the address to listen on.
        say: called with a line for each attempt that is refused.

    Raises:
        RunDirError: the address cannot be listened on.
    """

    def __init__(self, host: str, say: Callable[[str], None] = logger.warning) -> None:
        self._host = host
        self._say = say
        self._key = secrets.token_hex(32)
        self._attempts: dict[str, _Attempt] = {}
        self._lock = threading.Lock()
        try:
            self._server = _Server((host, 0), self)
        except OSError as error:
            raise RunDirError(f"cannot listen on {host}: {error.strerror}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="atts-keeper", daemon=True
        )
        self._thread.start()

    def begin(self, run_dir: Path, remote_path: str) -> Address:
        """Begin a new attempt at a run; from now on, writes of earlier attempts are refused.

        Args:
            run_dir: of the copy, on this machine; made if it is not there.
            remote_path: the run directory, relative to the command's working directory.

        Raises:
            RunDirError: the copy cannot be written, or another process uses it.
        """
        name = str(run_dir)
        self.end(run_dir)
        directory = RunDirectory(run_dir, mirrored=False)
        try:
            directory.prepare()
            directory.upgrade()
            epoch = _next_epoch(run_dir)
            connection = connect(directory.database)
            connection.set_authorizer(_authorize)
        except BaseException:
            directory.close()
            raise
        with self._lock:
            self._attempts[name] = _Attempt(epoch, directory, connection)
        return Address(
            run_dir=remote_path,
            host=self._host,
            port=int(self._server.server_address[1]),
            key=self._key,
            run=name,
            epoch=epoch,
        )

    def end(self, run_dir: Path) -> None:
        """End a run's attempt: nothing more may be written to its copy."""
        with self._lock:
            attempt = self._attempts.pop(str(run_dir), None)
        if attempt is not None:
            with attempt.lock:
                attempt.over = True
                attempt.connection.close()
                attempt.directory.close()

    def close(self) -> None:
        """End all attempts and stop listening."""
        for run in list(self._attempts):
            self.end(Path(run))
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, link: socket.socket) -> None:
        """Serve one run until it disconnects or is refused."""
        nonce = secrets.token_bytes(32)
        link.settimeout(HELLO_SECONDS)
        wire.send(link, wire.Nonce(nonce))
        hello = wire.receive(link, wire.Hello)
        expected = wire.proof(self._key, nonce, hello.run, hello.epoch)
        if not hmac.compare_digest(expected, hello.proof):
            wire.send(link, wire.KeeperAnswer("the keeper of its journal knows another key"))
            return
        link.settimeout(None)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hello.fetch:
            self._send_copy(link, hello)
        else:
            wire.send(link, wire.KeeperAnswer(self._stale(hello, None)))
        while True:
            transaction = wire.receive(link, wire.Transaction)
            answer = wire.KeeperAnswer(self._apply(hello, transaction))
            wire.send(link, answer)
            if answer.refused is not None:
                return

    def _send_copy(self, link: socket.socket, hello: wire.Hello) -> None:
        attempt = self._attempts.get(hello.run)
        refused = self._stale(hello, attempt)
        if attempt is None or refused is not None:
            wire.send(link, wire.KeeperAnswer(refused))
            return
        with tempfile.TemporaryDirectory(prefix="atts-keeper-") as folder:
            path = Path(folder) / schema.JOURNAL
            with attempt.lock:
                if attempt.over:
                    wire.send(link, wire.KeeperAnswer(self._stale(hello, None)))
                    return
                with contextlib.closing(sqlite3.connect(path)) as copy:
                    attempt.connection.backup(copy)
            wire.send(link, wire.KeeperAnswer(size=path.stat().st_size))
            with path.open("rb") as file:
                while piece := file.read(wire.PIECE_BYTES):
                    wire.send(link, piece)

    def _apply(self, hello: wire.Hello, transaction: wire.Transaction) -> str | None:
        """Commit a transaction. Returns the reason if it is refused, else None."""
        attempt = self._attempts.get(hello.run)
        if attempt is None or attempt.epoch != hello.epoch:
            return self._stale(hello, attempt)
        with attempt.lock:
            if attempt.over:
                return self._stale(hello, None)
            if transaction.number == attempt.last:
                return None  # its acknowledgement was lost
            if transaction.number != attempt.last + 1:
                return f"transaction {attempt.last + 1} is missing before {transaction.number}"
            try:
                with attempt.connection:
                    attempt.connection.execute("BEGIN")
                    for statement, values in transaction.changes:
                        attempt.connection.execute(statement, values)
            except schema.UNREADABLE as error:
                return f"the keeper of its journal: {schema.explain(error, Path(hello.run))}"
            attempt.last = transaction.number
        return None

    def _stale(self, hello: wire.Hello, attempt: _Attempt | None) -> str | None:
        """Why an attempt may not write; None: it may."""
        now = attempt or self._attempts.get(hello.run)
        if now is not None and now.epoch == hello.epoch and not now.over:
            return None
        if now is None or now.over:
            reason = f"attempt {hello.epoch} is over"
        else:
            reason = (
                f"attempt {hello.epoch} was given up, and attempt {now.epoch} has taken its place"
            )
        self._say(f"{hello.run}: refused what was written late: {reason}")
        return f"{reason}: what it writes is not kept"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], keeper: Keeper) -> None:
        self.keeper = keeper
        self._links: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_close(self) -> None:
        """Close open links, too: a run may be waiting for an answer."""
        super().server_close()
        for link in list(self._links):
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def open(self, link: socket.socket) -> Iterator[None]:
        """A context manager that lists a link as open while it is served."""
        self._links.add(link)
        try:
            yield
        finally:
            self._links.discard(link)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with self.server.open(self.request), contextlib.suppress(OSError):
            self.server.keeper.serve(self.request)


def _next_epoch(run_dir: Path) -> int:
    """The number of the next attempt, written to a file before the attempt begins."""
    path = run_dir / EPOCH
    try:
        epoch = 1 + (int(path.read_text()) if path.exists() else 0)
        temporary = path.with_name(f"{EPOCH}.new")
        with temporary.open("w") as file:
            file.write(f"{epoch}\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, ValueError) as error:
        raise RunDirError(f"run_dir: {path}: {error}; move it away") from error
    return epoch


def _authorize(action: int, *_told: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY
