"""Real HTTP servers on 127.0.0.1 that answer as a test says, and remember what they were sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.certificates import Authority


@dataclass(frozen=True)
class Reply:
    """length: what Content-Length claims; default: the truth."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass(frozen=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers each request with the next reply; the last one is repeated."""

    def __init__(self, server: ThreadingHTTPServer, scheme: str) -> None:
        self._server = server
        self.scheme = scheme
        self.replies: list[Reply] = [Reply()]
        self.received: list[Received] = []
        self.before_reply: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/") -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def reply(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """What it answers from now on. headers: `retry_after="5"`."""
        named = {name.replace("_", "-").title(): value for name, value in headers.items()}
        self.replies = [Reply(status, body, named)]

    def take(self, received: Received) -> Reply:
        with self._lock:
            self.received.append(received)
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def receiver(certified: tuple[Authority, Path] | None = None, host: str = "") -> Iterator[Receiver]:
    """Start one. certified: who signs its certificate, and a folder for it, for HTTPS."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            known = {name.lower(): value for name, value in self.headers.items()}
            reply = found.take(Received(self.command, self.path, known, body))
            found.before_reply()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            length = len(reply.body) if reply.length is None else reply.length
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_HEAD = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """A client that goes away is what some tests want."""

    server = Quiet(("127.0.0.1", 0), Handler)
    if certified:
        authority, folder = certified
        files = folder / "server.crt", folder / "server.key"
        for file, text in zip(files, authority.server(host or "127.0.0.1"), strict=True):
            file.write_text(text)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    found = Receiver(server, "https" if certified else "http")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def raw_server(
    behave: Callable[[socket.socket, threading.Event], None], *, reads: bool = True
) -> Iterator[str]:
    """A server that does to each connection what no HTTP library would. Yields its address.

    behave: is handed the connection after the request was read, and an event that ends the test.
    reads: false for a server that speaks first.
    """
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)

    def serve() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                connection.settimeout(5)
                if reads:
                    connection.recv(65_536)
                try:
                    behave(connection, over)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        over.set()
        thread.join()
        listener.close()


def no_answer(_: socket.socket, over: threading.Event) -> None:
    """For `raw_server`: take the request and say nothing until the test ends."""
    over.wait(20)
