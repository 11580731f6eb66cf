"""A page that shows which messages RAINBO has sent: webhooks of any form, and e-mail.

python -m localfleet.demo.receiver HTTP_PORT SMTP_PORT

It takes any POST to any address, keeps the last messages in memory, and shows them at `/`.
"""

from __future__ import annotations

import html
import json
import socketserver
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from localfleet.servers.server import HOST

KEPT = 50
LONGEST = 1_000_000  # bytes of a message
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="refresh" content="5"><meta name="viewport" content="width=device-width">
<title>What arrived</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem;
  color-scheme: light dark }}
article {{ border: 1px solid GrayText; border-radius: .4rem; margin: 1rem 0; padding: .75rem 1rem }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0 0 }}
</style></head><body><h1>What arrived</h1>
<p>This page stands for Slack, Discord and your mailbox. It refreshes itself.</p>
{items}</body></html>"""
ITEM = "<article><strong>{title}</strong> <time>{at}</time><pre>{text}</pre></article>"


@dataclass
class Inbox:
    """The last messages, the newest first: (where it arrived, when, its text)."""

    messages: deque[tuple[str, str, str]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, where: str, text: str) -> None:
        self.messages.appendleft((where, f"{datetime.now(UTC):%H:%M:%S} UTC", text))

    def page(self) -> bytes:
        items = [
            ITEM.format(title=html.escape(where), at=at, text=html.escape(text))
            for where, at, text in list(self.messages)
        ]
        return PAGE.format(items="".join(items) or "<p>Nothing yet.</p>").encode()


def readable(body: bytes) -> str:
    """The text of a Slack or Discord message; anything else as it is."""
    text = body.decode("utf-8", "replace")
    try:
        known = json.loads(text)
    except ValueError:
        return text
    if isinstance(known, dict):
        for name in ("text", "content"):
            if isinstance(known.get(name), str):
                return html.unescape(known[name])
    return json.dumps(known, indent=1, ensure_ascii=False)


def web(inbox: Inbox, port: int) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(inbox.page(), "text/html; charset=utf-8")

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            if size > LONGEST:
                self.send_error(413)
                return
            inbox.add(f"POST {self.path}", readable(self.rfile.read(size)))
            self._answer(b"ok", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Its page is its log."""

    return ThreadingHTTPServer((HOST, port), Handler)


def smtp(inbox: Inbox, port: int) -> socketserver.ThreadingTCPServer:
    class Session(socketserver.StreamRequestHandler):
        timeout = 30

        def handle(self) -> None:
            """As much of RFC 5321 as takes a message from a client that follows it."""
            self._say("220 localhost")
            while line := self.rfile.readline(1_000):
                word = line[:4].upper()
                if word == b"DATA":
                    self._say("354 go on")
                    inbox.add("E-mail", self._message())
                self._say("221 bye" if word == b"QUIT" else "250 OK")
                if word == b"QUIT":
                    return

        def _message(self) -> str:
            lines: list[bytes] = []
            size = 0
            while (line := self.rfile.readline(10_000)) not in (b".\r\n", b""):
                size += len(line)
                if size <= LONGEST:
                    lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            return b"".join(lines).decode("utf-8", "replace").replace("\r\n", "\n")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    return Server((HOST, port), Session)


def main(http_port: int, smtp_port: int) -> None:
    inbox = Inbox()
    mail = smtp(inbox, smtp_port)
    threading.Thread(target=mail.serve_forever, daemon=True).start()
    web(inbox, http_port).serve_forever()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
