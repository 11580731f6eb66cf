"""Calls the scripts of deploy/triggers, and a server whose answers are given."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TRIGGERS = Path(__file__).parents[3] / "deploy" / "triggers"
TOKEN = "rbo_abcdefghijkm_" + "S" * 20 + "-_" + "T" * 21
# Script → its variables for address and token.
SCRIPTS = {
    "sync-cron.sh": ("APP_URL", "OPERATOR_TOKEN"),
    "cron_sync.sh": ("API_URL", "ADMIN_KEY"),
    "cron_sync.py": ("API_URL", "ADMIN_KEY"),
}


@dataclass(frozen=True)
class Done:
    code: int
    log: str
    output: str


@dataclass(frozen=True)
class Script:
    """A script with an environment of its own; `log` is its LOG_FILE."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "sync.log"

    def command(self, url: str, token: str, **given: str) -> tuple[list[str], dict[str, str]]:
        of_url, of_token = SCRIPTS[self.name]
        path = TRIGGERS / self.name
        words = [sys.executable, str(path)] if path.suffix == ".py" else [str(path)]
        env = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.folder),
            of_url: url,
            of_token: token,
            "LOG_FILE": str(self.log),
            "RETRY_SECONDS": "0",
        }
        return words, env | given

    def start(self, url: str, token: str = TOKEN, **given: str) -> subprocess.Popen[str]:
        words, env = self.command(url, token, **given)
        pipe = subprocess.PIPE
        return subprocess.Popen(words, env=env, stdout=pipe, stderr=subprocess.STDOUT, text=True)

    def run(self, url: str, token: str = TOKEN, **given: str) -> Done:
        with self.start(url, token, **given) as process:
            output, _ = process.communicate(timeout=100)
        return Done(process.returncode, self.log.read_text() if self.log.exists() else "", output)


@dataclass(frozen=True)
class Said:
    """One answer. hang: none at all."""

    status: int = 200
    body: str = '{"success": true, "runId": 7, "state": "succeeded"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False


@dataclass
class Peer:
    """A server that gives these answers, the last one again and again."""

    answers: list[Said]
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    port: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next(self) -> Said:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def peer(*answers: Said) -> Iterator[Peer]:
    found = Peer([*answers])

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            bearer = self.headers.get("Authorization", "")
            found.requests.append((self.command, self.path, bearer))
            said = found.next()
            if said.hang:
                found.over.wait(60)
                return
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            body = said.body.encode()
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815 (names of http.server)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield found
        finally:
            found.over.set()
            server.shutdown()
            thread.join()
