"""A server on loopback that answers one statement as PostgreSQL never would.

It stands in front of a real server and forwards, until a message of the client contains a text
that it waits for, or the server has accepted the login: then it answers itself. All that it sends
is bounded (`AMOUNT`): it shows that a small limit holds, and harms nobody.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"
BLOCK = 64 * 1024
AMOUNT = 16 * 1024 * 1024  # bytes of one answer, at most
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
READY = b"Z\0\0\0\5T"  # inside a transaction
LOGIN = b"R\0\0\0\x08\0\0\0\0"  # the server's message that accepts it

Answer = Callable[[], Iterator[bytes]]


def message(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


def fields(**of: bytes) -> bytes:
    """The fields of an error or a notice."""
    return b"".join(name.encode() + text + b"\0" for name, text in of.items()) + b"\0"


COPY_OUT = message(b"H", b"\1" + struct.pack("!h", 9) + struct.pack("!h", 1) * 9)
NOTICE = message(b"N", fields(S=b"NOTICE", V=b"NOTICE", C=b"00000", M=b"x" * 1000))
NOTIFICATION = message(b"A", struct.pack("!i", 1) + b"channel\0" + b"x" * 1000 + b"\0")
ROW = message(b"T", struct.pack("!h", 1) + b"a\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
VALUE = message(b"D", struct.pack("!hi", 1, 1000) + b"x" * 1000)


def _repeated(part: bytes, first: bytes = b"", last: bytes = b"") -> Answer:
    def answer() -> Iterator[bytes]:
        yield first
        for _ in range(AMOUNT // len(part)):
            yield part
        yield last

    return answer


def _parameters() -> Iterator[bytes]:
    for number in range(AMOUNT // 1000):
        yield message(b"S", b"name%d\0" % number + b"x" * 980 + b"\0")


def _long(head: bytes, declared: int, size: int) -> Answer:
    """A message that declares more bytes than are sent."""

    def answer() -> Iterator[bytes]:
        yield head + struct.pack("!i", declared)
        for _ in range(size // 1000):
            yield b"x" * 1000

    return answer


def _once(*parts: bytes) -> Answer:
    return lambda: iter(parts)


# Shorter than any limit, and longer than anybody reads.
LENGTHY_ERROR = message(b"E", fields(S=b"ERROR", V=b"ERROR", C=b"XX000", M=b"m" * 40_000))

# What fills memory, by what it is made of.
FILLING: dict[str, Answer] = {
    "notices": _repeated(NOTICE),
    "notices within a COPY": _repeated(NOTICE, COPY_OUT),
    "notifications": _repeated(NOTIFICATION),
    "notifications within a COPY": _repeated(NOTIFICATION, COPY_OUT),
    "parameters": _parameters,
    "a long row": _long(COPY_OUT + b"d", AMOUNT * 2, AMOUNT),
    "a long error": _long(b"E", AMOUNT * 2, AMOUNT),
    "a long result": _repeated(VALUE, ROW, message(b"C", b"SELECT 1\0") + READY),
}
# The same of a statement that is no COPY.
FILLING_RESULTS: dict[str, Answer] = {
    **{name: answer for name, answer in FILLING.items() if "COPY" not in name},
    "results without end": _repeated(ROW + VALUE + message(b"C", b"SELECT 1\0")),
}
del FILLING_RESULTS["a long row"]
# What is no answer to a COPY.
WRONG: dict[str, Answer] = {
    "a result": _once(ROW, message(b"C", b"SELECT 0\0"), READY),
    "nothing": _once(READY),
    "an empty query": _once(message(b"I", b""), READY),
    "a COPY to the server": _once(message(b"G", b"\0\0\0")),
    "an error without SQLSTATE": _once(
        message(b"E", fields(S=b"ERROR", M=b"something went wrong")), READY
    ),
    "an error without any field": _once(message(b"E", b"\0"), READY),
    "a message of an unknown type": _once(message(b"y", b"?"), READY),
    "a row before its COPY": _once(message(b"d", b"x"), READY),
}


@dataclass
class HostilePeer:
    """See the module. after: the client's text after which `answer` is sent in the server's place,
    or LOGIN.

    sent: bytes of answers that went out. answered: how many times it answered.
    """

    to: tuple[str, int]
    after: bytes
    answer: Answer
    sent: int = 0
    answered: int = 0
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> int:
        self._listener = socket.create_server((HOST, 0))
        self._run(self._accept)
        return int(self._listener.getsockname()[1])

    def stop(self) -> None:
        for line in (self._listener, *self._open):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()
        for thread in self._threads:
            thread.join(5)

    def _run(self, work: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BLOCK)
                try:
                    server = socket.create_connection(self.to)
                except OSError:
                    client.close()
                    continue
                self._open += [client, server]
                self._run(self._forward, server, client)
                self._run(self._listen, client, server)

    def _forward(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while block := server.recv(BLOCK):
                if self.after == LOGIN and LOGIN in block:
                    client.sendall(block[: block.index(LOGIN) + len(LOGIN)])
                    self._send(client)
                client.sendall(block)
            client.shutdown(socket.SHUT_RDWR)

    def _listen(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError, EOFError), client.makefile("rb") as stream:
            while (first := _exactly(stream.read, 4)) and (
                whole := first + _exactly(stream.read, struct.unpack("!i", first)[0] - 4)
            ) == SSL_REQUEST:
                client.sendall(b"N")
            server.sendall(whole)  # the startup
            while True:
                head = _exactly(stream.read, 5)
                content = _exactly(stream.read, struct.unpack("!i", head[1:])[0] - 4)
                if self.after in content:
                    self._send(client)
                else:
                    server.sendall(head + content)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _send(self, client: socket.socket) -> None:
        self.answered += 1
        for part in self.answer():
            client.sendall(part)
            self.sent += len(part)


def _exactly(read: Callable[[int], bytes], length: int) -> bytes:
    found = read(length)
    if len(found) < length:
        raise EOFError
    return found


@contextmanager
def hostile_peer(
    to: tuple[str, int], after: bytes, answer: Answer
) -> Iterator[tuple[HostilePeer, int]]:
    """The peer and its port, until the block ends."""
    peer = HostilePeer(to, after, answer)
    port = peer.start()
    try:
        yield peer, port
    finally:
        peer.stop()
