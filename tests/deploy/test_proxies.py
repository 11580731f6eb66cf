"""The examples of proxies do what docs/production.md says of them: each runs, as it is shipped.

Ports and files are the test's own, and a slow client is given up after two seconds and not ten.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localfleet.servers.server import free_port
from tests.certificates import Authority
from tests.children import ROOT
from tests.fleet_fixtures import needs

HOST = "rainbo.example.com"
DEPLOY = ROOT / "deploy"
HEAD = f"HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"


class Console(ThreadingHTTPServer):
    """In RAINBO's place: notes each request as soon as its headers are there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.seen: list[tuple[str, dict[str, str]]] = []

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]


class _Request(BaseHTTPRequestHandler):
    server: Console

    def do_POST(self) -> None:
        named = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, named))
        self.rfile.read(int(named.get("content-length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"done")

    do_GET = do_POST  # noqa: N815 (names of http.server)

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Proxy:
    console: Console
    authority: Authority
    folder: Path
    http: int = field(default_factory=free_port)
    https: int = field(default_factory=free_port)

    def nginx(self) -> list[str]:
        nginx = needs(shutil.which("nginx"), "nginx is not installed: apt install nginx-light")
        text = self._own((DEPLOY / "nginx.conf").read_text(encoding="utf-8"))
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.http};")
        text = text.replace("listen 443 ", f"listen 127.0.0.1:{self.https} ")
        text = text.replace("/etc/ssl/certs/rainbo.pem", f"{self.folder}/cert.pem")
        text = text.replace("/etc/ssl/private/rainbo.key", f"{self.folder}/key.pem")
        text = text.replace("/var/log/nginx/", f"{self.folder}/")
        (self.folder / "rainbo.conf").write_text(text)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in kinds)
        (self.folder / "nginx.conf").write_text(
            f"daemon off; pid {self.folder}/pid; error_log stderr; user root; events {{}}"
            f"http {{ {places} include {self.folder}/rainbo.conf; }}"
        )
        command = [nginx, "-e", "stderr", "-c", f"{self.folder}/nginx.conf"]
        subprocess.run([*command, "-t"], check=True)
        return command

    def caddy(self) -> list[str]:
        """Of the services' clients: Debian's is older than the version that the file needs."""
        peers = os.environ.get("RAINBO_PEERS")
        caddy = needs(shutil.which(f"{peers}/bin/caddy"), "RAINBO_PEERS has no caddy: see .ci/run")
        text = self._own((DEPLOY / "Caddyfile").read_text(encoding="utf-8"))
        ports = f"admin off\n\thttp_port {self.http}\n\thttps_port {self.https}\n"
        text = text.replace("{\n\tservers", f"{{\n\t{ports}\tservers", 1)
        files = f"\ttls {self.folder}/cert.pem {self.folder}/key.pem\n"
        text = text.replace(f"\n{HOST} {{\n", f"\n{HOST} {{\n{files}", 1)
        assert files in text
        assert ports in text
        (self.folder / "Caddyfile").write_text(text)
        given = ["--adapter", "caddyfile", "--config", f"{self.folder}/Caddyfile"]
        subprocess.run([caddy, "validate", *given], env=self.env(), check=True)
        return [caddy, "run", *given]

    def env(self) -> dict[str, str]:
        return os.environ | {"XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}

    def _own(self, text: str) -> str:
        text = re.sub(r"\b10s\b", "2s", text)
        return text.replace("127.0.0.1:8000", f"127.0.0.1:{self.console.server_port}")

    def connect(self) -> ssl.SSLSocket:
        trusting = ssl.create_default_context(cadata=self.authority.pem)
        plain = socket.create_connection(("127.0.0.1", self.https), timeout=30)
        return trusting.wrap_socket(plain, server_hostname=HOST)

    def answer(self, request: str) -> str:
        with self.connect() as connection:
            connection.sendall(request.encode())
            return read(connection)


def read(connection: socket.socket) -> str:
    """All that comes until the proxy ends the connection."""
    found = b""
    try:
        while more := connection.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    return found.decode()


@contextmanager
def running(kind: str, folder: Path) -> Iterator[Proxy]:
    authority = Authority.make()
    certificate, key = authority.server(HOST)
    (folder / "cert.pem").write_text(certificate)
    (folder / "key.pem").write_text(key)
    with Console() as console:
        threading.Thread(target=console.serve_forever, daemon=True).start()
        made = Proxy(console, authority, folder)
        command = made.nginx() if kind == "nginx" else made.caddy()
        with subprocess.Popen(command, env=made.env()) as process:
            try:
                deadline = time.monotonic() + 30
                while True:
                    assert process.poll() is None
                    try:
                        made.connect().close()
                        break
                    except OSError:
                        assert time.monotonic() < deadline
                        time.sleep(0.1)
                yield made
            finally:
                process.terminate()
                console.shutdown()


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    with running(request.param, tmp_path_factory.mktemp(request.param)) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_seen(proxy: Proxy) -> None:
    proxy.console.seen.clear()


def test_it_sets_the_headers_that_rainbo_reads(proxy: Proxy) -> None:
    forged = "X-Forwarded-Proto: http\r\nX-Forwarded-For: 203.0.113.9\r\n"
    assert proxy.answer(f"GET /a?q=1 {HEAD}{forged}\r\n").endswith("done")
    ((path, headers),) = proxy.console.seen
    assert path == "/a?q=1"
    assert headers["host"] == HOST
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-for"].split(", ")[-1] == "127.0.0.1"


def test_plain_http_is_sent_to_https(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.http), timeout=30) as connection:
        connection.sendall(f"GET /a {HEAD}\r\n".encode())
        answer = read(connection)
    assert re.match(r"HTTP/1.1 30[18] ", answer)
    assert re.search(rf"^Location: https://{HOST}/a\r$", answer, re.MULTILINE)
    assert proxy.console.seen == []


def test_it_keeps_a_request_until_all_of_it_is_there(proxy: Proxy) -> None:
    with proxy.connect() as slow:
        slow.sendall(f"POST /slow {HEAD}Content-Length: 10\r\n\r\n12345".encode())
        for _ in range(5):
            assert proxy.answer(f"GET /quick {HEAD}\r\n").endswith("done")
        assert proxy.console.paths == ["/quick"] * 5
        slow.sendall(b"67890")
        assert read(slow).endswith("done")
    assert proxy.console.paths[-1] == "/slow"


@pytest.mark.parametrize(
    "begun",
    ["GET /slow HTTP/1.1\r\nHost", f"POST /slow {HEAD}Content-Length: 10\r\n\r\n12345"],
    ids=["headers", "body"],
)
def test_it_gives_a_slow_client_up(proxy: Proxy, begun: str) -> None:
    assert "done" not in proxy.answer(begun)
    assert proxy.console.seen == []


def test_a_body_that_is_too_large_never_arrives(proxy: Proxy) -> None:
    with proxy.connect() as connection:
        with suppress(OSError):  # nginx does not wait for the body
            connection.sendall(f"POST /large {HEAD}Content-Length: 1500000\r\n\r\n".encode())
            connection.sendall(b"x" * 1_500_000)
        assert " 413 " in read(connection)
    assert proxy.console.seen == []
