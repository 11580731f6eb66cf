"""The console as docs/production.md runs it: gunicorn behind a proxy that ends TLS."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from localfleet.servers.server import free_port

ROOT = Path(__file__).parents[2]
THREADS = 2
PROXIED = {"Host": "rainbo.example.com", "X-Forwarded-Proto": "https"}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str


@dataclass(frozen=True)
class Console:
    port: int
    pid: int = 0  # of gunicorn's main process

    def accepted(self) -> list[int]:
        """How many connections each of its processes has accepted."""
        below = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("ascii").split()
        rows = [row.split() for row in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
        ours = {row[9] for row in rows if row[1].endswith(f":{self.port:04X}") and row[3] == "01"}
        found = []
        for pid in below:
            links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
            found.append(sum(link.strip("socket:[]") in ours for link in links))
        return found

    def get(self, path: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.get("/health", {})
            except OSError:
                time.sleep(0.1)
            else:
                return
        pytest.fail("gunicorn did not start")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    environment = {
        **os.environ,
        "RAINBO_HTTPS": "on",
        "RAINBO_BEHIND_PROXY": "on",
        "RAINBO_COLLECTED_STATIC": "on",
        "RAINBO_ALLOWED_HOSTS": "rainbo.example.com",
        "RAINBO_STATIC_ROOT": str(tmp_path_factory.mktemp("static")),
    }
    collect = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
    subprocess.run(collect, cwd=ROOT, env=environment, check=True, timeout=120)
    found = Console(free_port())
    serve = [sys.executable, "-m", "gunicorn", "rainbo.wsgi", "--no-control-socket"]
    sized = ["--workers=2", f"--threads={THREADS}", f"--bind=127.0.0.1:{found.port}"]
    with subprocess.Popen([*serve, *sized], cwd=ROOT, env=environment) as process:
        try:
            found.wait(process)
            yield Console(found.port, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)


def test_plain_http_is_sent_to_https(console: Console) -> None:
    answer = console.get("/admin/login/", {"Host": "rainbo.example.com"})
    assert (answer.status, answer.headers["Location"]) == (
        301,
        "https://rainbo.example.com/admin/login/",
    )


def test_the_login_page_comes_with_its_styles(console: Console) -> None:
    page = console.get("/admin/login/", PROXIED)
    assert page.status == 200
    assert "max-age=31536000" in page.headers["Strict-Transport-Security"]
    assert "Secure" in page.headers["Set-Cookie"]
    files = re.findall(r'(?:href|src)="(/static/[^"]+\.(?:css|js))"', page.text)
    assert files
    for file in files:
        answer = console.get(file, PROXIED)
        assert answer.status == 200
        assert "immutable" in answer.headers["Cache-Control"]


def test_another_host_name_is_refused(console: Console) -> None:
    answer = console.get("/admin/login/", {**PROXIED, "Host": "evil.example.com"})
    assert answer.status == 400
    assert "Traceback" not in answer.text


def test_probes_need_neither_the_host_name_nor_the_proxy(console: Console) -> None:
    assert console.get("/health", {}).status == 200
    ready = console.get("/health/ready", {})
    assert ready.status == 503
    assert "migrations are not applied" in ready.text


def test_requests_wait_for_whichever_process_is_free_first(console: Console) -> None:
    """A process that accepts whatever comes would let them wait while the other one idles."""
    address = ("127.0.0.1", console.port)
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(address, timeout=10))
        deadline = time.monotonic() + 10
        while (found := console.accepted()) != [THREADS + 2] * 2:
            assert time.monotonic() < deadline, found
            time.sleep(0.05)
