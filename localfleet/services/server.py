"""A stateful HTTP server in a thread, and the ways in which it can fail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

IDLE = 30.0  # seconds for which a connection stays open without a request


@dataclass(frozen=True)
class Asked:
    """A request that came. form: its body, as a form or as JSON."""

    path: str
    parameters: dict[str, str]
    headers: dict[str, str]
    method: str = "GET"
    form: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """half: only half of the body is sent. drip: seconds between two bytes of it."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    half: bool = False
    drip: float = 0.0


class Service:
    """What a service's server knows and answers; each subclass is one service.

    faults: replies that come first, whatever is asked. latency: seconds before each answer.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.faults: list[Reply] = []
        self.latency = 0.0
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, asked: Asked) -> Reply:
        raise NotImplementedError

    def reply(self, asked: Asked) -> Reply:
        with self.lock:
            self.asked.append(asked)
            if self.faults:
                return self.faults.pop(0)
            return self.answer(asked)


def _written(reply: Reply) -> tuple[dict[str, str], bytes]:
    if isinstance(reply.body, str):
        kind, body = "text/html", reply.body.encode()
    else:
        kind = "application/json"
        body = b"" if reply.body is None else json.dumps(reply.body).encode()
    return {"Content-Type": kind, **reply.headers, "Content-Length": str(len(body))}, body


@contextmanager
def running(service: Service, port: int = 0) -> Iterator[Service]:
    """Serve on 127.0.0.1 until left; `service.url` is the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open, as those of services do
        wbufsize = -1  # an answer leaves at once, and not its head first
        disable_nagle_algorithm = True
        timeout = IDLE

        def serve(self) -> None:
            place = urlsplit(self.path)
            known = {name.lower(): value for name, value in self.headers.items()}
            if service.latency:
                time.sleep(service.latency)
            body = self.rfile.read(int(known.get("content-length") or 0)).decode()
            is_json = "json" in known.get("content-type", "")
            form = json.loads(body) if is_json else dict(parse_qsl(body))
            parameters = dict(parse_qsl(place.query))
            asked = Asked(place.path, parameters, known, self.command, form)
            self.send(service.reply(asked))

        do_GET = do_POST = do_DELETE = serve  # noqa: N815 (http.server's names)

        def send(self, reply: Reply) -> None:
            headers, body = _written(reply)
            self.send_response_only(reply.status)
            if "Date" not in headers:  # a service may have a clock of its own
                self.send_header("Date", self.date_time_string())
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if reply.half:
                body = body[: len(body) // 2]
                self.close_connection = True
            for piece in [bytes([byte]) for byte in body] if reply.drip else [body]:
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(reply.drip)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that goes away."""

    server = Server(("127.0.0.1", port), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
