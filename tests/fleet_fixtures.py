"""Real PostgreSQL servers for the tests. Loading this module starts them.

It must be loaded before Django's settings, which find RAINBO's own database through the
environment that it sets: pytest loads it by `-p tests.fleet_fixtures`. Four servers start once for
the whole run (`rainbo`, `rds1` = master, `rds2`, `rds3`); they end with the process, even when it
is killed.

Fixtures
--------
`postgres_servers` (session)
    `LocalFleet`; `postgres_servers["rainbo"]` is a `localfleet.servers.server.Server`: `.host`,
    `.port`, `.password` (superuser `postgres`), `.pid`, `.running`, `.connect(database, **libpq)`,
    `.start()`, `.stop()`, `.kill()` (SIGKILL), `.restart()` (same port), `.log_text()`.
`fleet`
    Three empty instances, whatever the test before did to them (stopped servers run again, foreign
    sessions are ended, altered schemas, grants and passwords are restored).
    `fleet.master`, `fleet.instances` (ids 1, 2, 3; the first is the master), `fleet[2]`.
`extra_server`
    Factory of another server for this test: `extra_server("name", options={"ssl": "on"},
    bin_folder=binaries.debian())`; started, and stopped after the test.
`extra_instance`
    Factory of another instance for this test: `extra_instance(4, encoding="SQL_ASCII",
    server=None, master=False)` → `Instance`, on a server of its own unless one is given.
`debian_bin` (session)
    The folder of Debian's own PostgreSQL binaries, which have TLS and ICU. Without them the test
    is listed by name as not run, or fails when `CI` is set; so does any test that calls
    `needs(found, "what to install")` with something that isn't there.
`older`
    An instance on Debian's PostgreSQL, which has TLS: id 5, with a directory, as new in each test.
    `older.offer_tls(certificate, key)` gives its server a certificate.
`black_hole`
    `(host, port)` of a listener that accepts connections and never answers.

An instance (`tests.instances.Instance`)
----------------------------------------
`.id .server .host .port .database .user .rainbo_password` (`user` is the limited role `rainbo`)
`.connect(autocommit=True)` a superuser's connection; `.connect_as_rainbo()` the limited role's
`.execute(sql, params=None)` as superuser, committed; returns the rows, [] when there are none
`.add_tenant(id, name="Tenant 7", status="active", **columns)`
`.add_user(id, tenant_id, email, **columns)`
`.add_location(id, tenant_id, name="Location 7")`
`.add_route(id, email, tenant_id=1, rds_instance_id=None, user_id=id, user_name=None,
status="Active", updated_at=<now>)` on the master
Break instances freely: a change of schema, grants, role, settings or database is noticed before
the next test and undone.
"""

from __future__ import annotations

import atexit
import os
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from localfleet import network
from localfleet.folders import local_root, scratch_root
from localfleet.servers import binaries, databases
from localfleet.servers.fleet import LocalFleet
from localfleet.servers.server import Server
from tests import emptying
from tests.instances import Instance, InstanceFleet

OWN_DATABASE = "rainbo"
Found = TypeVar("Found")
NAMES = ("rainbo", "rds1", "rds2", "rds3")

_open = ExitStack()
_root: Path = _open.enter_context(scratch_root(local_root()))
_servers: LocalFleet = _open.enter_context(LocalFleet(_root, NAMES, durable=False))
atexit.register(_open.close)


def _prepare_own_database(server: Server) -> None:
    password = secrets.token_urlsafe(16)
    databases.set_role(server, OWN_DATABASE, password, "CREATEDB")
    databases.create(server, OWN_DATABASE, owner=OWN_DATABASE)
    _forget_settings()
    os.environ.update(
        RAINBO_SECRET_KEY=secrets.token_urlsafe(48),
        RAINBO_CREDENTIAL_KEYS=urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        RAINBO_DEBUG="0",
        RAINBO_HTTPS="off",
        RAINBO_LOG_FORMAT="text",
        RAINBO_DB_HOST=server.host,
        RAINBO_DB_PORT=str(server.port),
        RAINBO_DB_NAME=OWN_DATABASE,
        RAINBO_DB_USER=OWN_DATABASE,
        RAINBO_DB_PASSWORD=password,
    )


def _forget_settings() -> None:
    """The tests' settings are their own, whatever the caller's shell has."""
    for name in [name for name in os.environ if name.startswith("RAINBO_")]:
        if name not in ("RAINBO_PG_BIN", "RAINBO_PEERS"):
            del os.environ[name]


def _quicken_sign_in(server: Server) -> None:
    """Passwords hashed in one round: tests sign in thousands of times, at 4,096 rounds each."""
    with server.connect() as connection:
        if connection.info.server_version < 160000:
            return
        connection.execute("ALTER SYSTEM SET scram_iterations = 1")
        connection.execute("SELECT pg_reload_conf()")
        while connection.execute("SHOW scram_iterations").fetchone() != ("1",):
            time.sleep(0.01)
    databases.set_role(server, "postgres", server.password)


for _server in _servers:
    _quicken_sign_in(_server)
_prepare_own_database(_servers["rainbo"])


def pytest_collection() -> None:
    """Some tests are parametrized by all pages, which are registered with the URLs."""
    from django.apps import apps

    if apps.ready:  # a test runs pytest without Django
        from django.contrib import admin

        admin.autodiscover()


def pytest_unconfigure() -> None:
    _open.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List by name, at the end, what did not run."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("did not run")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {str(reason).removeprefix('Skipped: ')}")


def needs(found: Found | None, remedy: str) -> Found:
    """What a test needs of the machine; without it a test doesn't run, which fails in CI."""
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail(f"{remedy} (with CI set, every test has to run)", pytrace=False)
    pytest.skip(remedy)


@pytest.fixture(scope="session", autouse=True)
def _emptied_between_tests() -> Iterator[None]:
    with emptying.emptied_between_tests():
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Django's own hash of passwords, which is there to be slow, in one round."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PBKDF2PasswordHasher, "iterations", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_listed_once() -> Iterator[None]:
    """Each test's client makes a middleware, which looks at hundreds of files that don't change."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    listed: dict[str, Any] = {}
    list_files = WhiteNoiseMiddleware.add_files_from_finders

    def list_once(middleware: WhiteNoiseMiddleware) -> None:
        if not listed:
            list_files(middleware)
            listed.update(middleware.files)
        middleware.files.update(listed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", list_once)
        yield


@pytest.fixture(autouse=True)
def _nothing_shared() -> Iterator[None]:
    """A test changes rows and looks at once: it sees what is so, not what was a second ago.

    With a patch of its own: the fixture `monkeypatch` would be undone after the database's.
    """
    from common import shared

    shared.forget_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "SECONDS", 0.0)
        yield


@pytest.fixture
def shared_for_a_minute(_nothing_shared: None) -> Iterator[None]:
    """What is shared for a second lasts for as long as the test does."""
    from common import shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "SECONDS", 60.0)
        yield


@pytest.fixture(scope="session")
def debian_bin() -> Path:
    return needs(binaries.debian(), "Debian's PostgreSQL is not installed: apt install postgresql")


@pytest.fixture(scope="session")
def postgres_servers() -> LocalFleet:
    return _servers


@pytest.fixture(scope="session")
def _instances(postgres_servers: LocalFleet) -> InstanceFleet:
    return InstanceFleet(
        Instance.create(postgres_servers[f"rds{number}"], number, master=number == 1)
        for number in (1, 2, 3)
    )


@pytest.fixture
def fleet(_instances: InstanceFleet) -> InstanceFleet:
    for instance in _instances.instances:
        instance.reset()
    return _instances


@pytest.fixture
def extra_server() -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:
        root = stack.enter_context(scratch_root(local_root()))

        def start(
            name: str = "extra",
            *,
            bin_folder: Path | None = None,
            durable: bool = False,
            options: Mapping[str, str] | None = None,
        ) -> Server:
            server = Server(root, name, bin_folder=bin_folder, durable=durable, options=options)
            stack.callback(server.stop)
            server.start()
            return server

        yield start


@pytest.fixture
def extra_instance(extra_server: Callable[..., Server]) -> Callable[..., Instance]:
    def create(
        number: int,
        *,
        server: Server | None = None,
        master: bool = False,
        encoding: str = "UTF8",
    ) -> Instance:
        server = server or extra_server(f"extra{number}")
        return Instance.create(server, number, master=master, encoding=encoding)

    return create


@pytest.fixture(scope="session")
def _older(debian_bin: Path) -> Iterator[Instance]:
    with scratch_root(local_root()) as root:
        server = Server(root, "older", bin_folder=debian_bin, durable=False)
        server.start()
        try:
            yield Instance.create(server, 5, master=True)
        finally:
            server.stop()


@pytest.fixture
def older(_older: Instance) -> Instance:
    _older.reset()
    return _older


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    with network.black_hole() as place:
        yield place
