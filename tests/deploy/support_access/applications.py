"""Applications in three languages that have support access, each a process of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlencode

from localfleet.servers.data_folder import SUPERUSER
from localfleet.servers.server import Server, free_port
from tests.fleet_fixtures import needs
from tests.instances import Instance

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SHIPPED = ROOT / "deploy" / "support_access"
ISSUER = "https://rainbo.example"
PG = "pg@8.23.1"


@dataclass(frozen=True)
class Answer:
    status: int
    text: str
    headers: Mapping[str, str]

    @property
    def cookie(self) -> str:
        """What the browser would send: empty if no session began."""
        found = self.headers.get("set-cookie", "").partition(";")[0]
        return found if found.startswith("rainbo_support=") else ""


@dataclass(frozen=True)
class Application:
    """One process. root: the path that the instance is served below."""

    port: int
    root: str
    log: Path

    def send(
        self, method: str, path: str, cookie: str = "", body: str = "", **headers: str
    ) -> Answer:
        """One request, as it is."""
        given = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        if cookie:
            given["Cookie"] = cookie
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, f"{self.root}{path}", body or None, given)
            found = connection.getresponse()
            named = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, found.read().decode(), named)
        finally:
            connection.close()

    def enter(self, assertion: str) -> Answer:
        return self.send("POST", "/rainbo/enter", body=urlencode({"assertion": assertion}))

    def get(self, path: str, cookie: str) -> Answer:
        return self.send("GET", path, cookie)

    def add_location(self, tenant: str, cookie: str) -> Answer:
        """By the application's form, as a browser sends it."""
        csrf = "c" * 32
        sent = f"{cookie}; application_csrf={csrf}"
        body = urlencode({"name": "Depot", "csrfmiddlewaretoken": csrf})
        return self.send("POST", f"/tenants/{tenant}/locations", sent, body)


@dataclass(frozen=True)
class Given:
    """The settings of an application. server: with the database of the instance. keys: where."""

    server: Server
    keys: str
    folder: Path
    instance: int = 2
    database: str = "app"
    issuer: str = ISSUER
    event_secret: str = ""

    @property
    def connection(self) -> dict[str, object]:
        known: dict[str, object] = {"host": self.server.host, "port": self.server.port}
        return known | {"name": self.database, "user": SUPERUSER, "password": self.server.password}


def django(given: Given, port: int) -> tuple[Sequence[str], dict[str, str], str]:
    """The demo's own application, which serves instances below their names."""
    gunicorn = [sys.executable, "-m", "gunicorn", "localfleet.application.wsgi"]
    sized = ["--threads=8", f"--bind=127.0.0.1:{port}", "--no-control-socket"]
    env = {
        "APPLICATION_DATABASES": json.dumps({given.instance: given.connection}),
        "APPLICATION_EVENT_SECRETS": json.dumps({given.instance: given.event_secret}),
    }
    return [*gunicorn, *sized], env, f"/rds{given.instance}"


def php(given: Given, port: int) -> tuple[Sequence[str], dict[str, str], str]:
    remedy = "PHP with its driver for PostgreSQL is not installed: apt install php-cli php-pgsql"
    program = needs(shutil.which("php"), remedy)
    modules = subprocess.run([program, "-m"], capture_output=True, text=True, check=True).stdout
    needs(program if {"pdo_pgsql", "sodium"} <= set(modules.split()) else None, remedy)
    env = {"PHP_CLI_SERVER_WORKERS": "8", "APPLICATION_DATABASE": json.dumps(given.connection)}
    words = [program, "-d", "display_errors=0", "-d", "log_errors=1", "-d", "error_log="]
    return [*words, "-S", f"127.0.0.1:{port}", str(HERE / "application.php")], env, ""


def node(given: Given, port: int) -> tuple[Sequence[str], dict[str, str], str]:
    program = needs(shutil.which("node"), "node is not installed: apt install nodejs")
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rainbo"
    modules = folder / "node_modules"
    remedy = f"pg is not installed: npm install --prefix {folder} {PG}"
    needs(modules if (modules / "pg").is_dir() else None, remedy)
    env = {"NODE_PATH": str(modules), "APPLICATION_DATABASE": json.dumps(given.connection)}
    return [program, str(HERE / "application.js"), str(port)], env, ""


LANGUAGES: Mapping[str, Callable[[Given, int], tuple[Sequence[str], dict[str, str], str]]] = {
    "django": django,
    "php": php,
    "node": node,
}


@contextmanager
def running(language: str, given: Given, count: int = 1) -> Iterator[list[Application]]:
    """Run so many processes of it, which share what application servers share."""
    shared = {
        "APPLICATION_SECRET_KEY": secrets.token_urlsafe(32),
        "APPLICATION_ISSUER": given.issuer,
        "APPLICATION_EVENT_SECRET": given.event_secret,
        "APPLICATION_INSTANCE": str(given.instance),
        "APPLICATION_KEYS": given.keys,
        "SUPPORT_ACCESS": str(SHIPPED),
        "no_proxy": "127.0.0.1",
    }
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            port = free_port()
            log = given.folder / f"{port}.log"
            words, env, root = LANGUAGES[language](given, port)
            env |= {"APPLICATION_CACHE": str(given.folder / f"{port}.json")}
            output = stack.enter_context(log.open("wb"))
            process = subprocess.Popen(
                words,
                cwd=ROOT,
                env=os.environ | shared | env,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            stack.callback(process.wait, 20)
            stack.callback(os.killpg, process.pid, signal.SIGTERM)  # the workers of php -S, too
            found.append(Application(port, root, log))
            _wait(process, found[-1])
        yield found


def _wait(process: subprocess.Popen[bytes], application: Application) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, application.log.read_text()
        try:
            application.send("GET", "/")
        except (OSError, HTTPException):
            assert time.monotonic() < deadline, application.log.read_text()
            time.sleep(0.05)
        else:
            return


def rows(instance: Instance, columns: str) -> list[tuple[object, ...]]:
    """The sessions that the instance has."""
    order = "ORDER BY redeemed_at, jti"
    return instance.execute(f"SELECT {columns} FROM rainbo_support_sessions {order}")
