"""The messages between a mirrored journal and its keeper: MessagePack frames over TCP.

The keeper begins with a nonce. The run answers with who it is and a proof that it has the key, and
gets the keeper's copy of the journal if it asks for it. From then on every message of the run is a
transaction with a number, and the keeper's answer to it is that number, or why it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
from typing import Any, TypeVar

import msgspec

VERSION = 1
MOST_BYTES = 1 << 30
PIECE_BYTES = 1 << 22
_LENGTH = 8

Change = tuple[str, tuple[Any, ...]]
"""A statement of SQL and the values bound to it."""
T = TypeVar("T")


class Nonce(msgspec.Struct):
    """The keeper's first message."""

    nonce: bytes
    version: int = VERSION


class Hello(msgspec.Struct):
    """The run's answer.

    Attributes:
        run: which journal.
        epoch: of the attempt that writes.
        proof: that it has the key.
        fetch: whether it wants the keeper's copy first.
    """

    run: str
    epoch: int
    proof: bytes
    fetch: bool


class KeeperAnswer(msgspec.Struct):
    """The keeper's answer to a hello or a transaction.

    Attributes:
        refused: why nothing was done; None: it was.
        size: of the copy that follows in pieces, in bytes.
    """

    refused: str | None = None
    size: int = 0


class Transaction(msgspec.Struct):
    """Changes that belong together.

    Attributes:
        number: counts up from 1; a number that is sent again is the same transaction.
        changes: in their order.
    """

    number: int
    changes: list[Change]


def proof(key: str, nonce: bytes, run: str, epoch: int) -> bytes:
    """Proof that the sender has the key: a keyed digest of a nonce."""
    words = msgspec.msgpack.encode((nonce, run, epoch))
    return hmac.new(key.encode(), words, hashlib.sha256).digest()


def send(link: socket.socket, message: Any) -> None:
    """Send a message.

    Raises:
        OSError: the link is broken.
    """
    body = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
    link.sendall(len(body).to_bytes(_LENGTH, "big") + body)


def receive(link: socket.socket, kind: type[T]) -> T:
    """The next message.

    Raises:
        OSError: the link is broken, or the message is not of this protocol.
    """
    try:
        return msgspec.msgpack.decode(receive_bytes(link), type=kind)
    except msgspec.MsgspecError as error:
        raise ConnectionError(f"the other side uses another protocol: {error}") from error


def receive_bytes(link: socket.socket) -> bytes:
    """The next message, undecoded.

    Raises:
        OSError: the link is broken, or the message is too long to be one.
    """
    length = int.from_bytes(_exactly(link, _LENGTH), "big")
    if length > MOST_BYTES:
        raise ConnectionError("the other side uses another protocol: a message is too long")
    return _exactly(link, length)


def _exactly(link: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        piece = link.recv(min(size - len(received), PIECE_BYTES))
        if not piece:
            raise ConnectionError("the other side has closed the connection")
        received += piece
    return bytes(received)
