"""RAINBO's own database goes from PostgreSQL 15 to 18 by pg_upgrade: who is found, and who not.

Then rebuild_search_keys, as docs/upgrades.md says, finds all.

PostgreSQL 18 has Unicode 16, in which two letters compose to one; to PostgreSQL 15 all three are
unassigned. E-mails are compared composed, names decomposed.
"""

from __future__ import annotations

import secrets
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from localfleet.folders import local_root, scratch_root
from localfleet.processes.child_process import spawn
from localfleet.servers import binaries, data_folder, databases
from localfleet.servers.data_folder import SUPERUSER
from localfleet.servers.server import Server
from tests.children import Child
from tests.fleet_fixtures import needs
from tests.instances import InstanceFleet

OWN = "rainbo"
IN_PARTS, COMPOSED = "\U0001611e\U0001611e", "\U00016121"
BY_NAME = "SELECT count(*) FROM user_routes WHERE rainbo_name_key(user_name) COLLATE \"C\" = '{}'"

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]


@dataclass
class Installation:
    """RAINBO on a server of its own."""

    server: Server
    password: str

    def run(self, *words: str, **env: str) -> tuple[int, str]:
        place = {
            "RAINBO_DB_HOST": self.server.host,
            "RAINBO_DB_PORT": str(self.server.port),
            "RAINBO_DB_NAME": OWN,
            "RAINBO_DB_USER": OWN,
            "RAINBO_DB_PASSWORD": self.password,
        }
        return Child(*words, **place | env).end(120)

    def manage(self, *words: str, **env: str) -> str:
        code, said = self.run(*words, **env)
        assert code == 0, said
        return said

    def finds(self, email: str) -> bool:
        return self.run("find_user", email)[0] == 0

    def by_name(self, name: str, *, index: bool) -> int:
        """How many routes have this key of a name: read through the index, or row by row."""
        with self.server.connect(OWN) as session:
            for way in ("seqscan", "indexscan", "bitmapscan"):
                session.execute(f"SET enable_{way} = {(way != 'seqscan') is index}")
            (count,) = session.execute(BY_NAME.format(name).encode()).fetchone() or (0,)
            return int(count)


@pytest.fixture
def root() -> Iterator[Path]:
    with scratch_root(local_root()) as folder:
        yield folder


@pytest.fixture
def old(root: Path, debian_bin: Path) -> Iterator[Installation]:
    server = Server(root, "old", bin_folder=debian_bin, durable=False)
    server.start()
    try:
        with server.connect() as session:
            needs(session.info.server_version < 180_000 or None, "Debian's is as new as ours")
        password = secrets.token_urlsafe(16)
        databases.set_role(server, OWN, password)
        databases.create(server, OWN, owner=OWN)
        yield Installation(server, password)
    finally:
        server.stop()


@pytest.fixture
def upgraded(root: Path) -> Iterator[Server]:
    """An empty server of the version that we ship, whose superuser has the old one's password."""
    server = Server(root, "new", durable=False)
    try:
        yield server
    finally:
        server.stop()


def upgrade(old: Server, new: Server, old_bin: Path) -> None:
    new.start()
    with new.connect() as session:
        session.execute(f"ALTER ROLE {SUPERUSER} PASSWORD '{old.password}'")
    data_folder.write_private(new.folder.with_name(f"{new.name}.password"), old.password)
    old.stop()
    new.stop()
    # The default since PostgreSQL 18, and pg_upgrade wants both alike.
    call(old, [old_bin / "pg_checksums", "--enable", "--pgdata", old.data])
    folders: list[str | Path] = [
        "--old-datadir",
        old.data,
        "--new-datadir",
        new.data,
        "--username",
        SUPERUSER,
    ]
    bins: list[str | Path] = ["--old-bindir", old_bin, "--new-bindir", binaries.for_servers()]
    ports = ["--old-port", str(old.port), "--new-port", str(new.port)]
    call(new, [binaries.for_servers() / "pg_upgrade", "--no-sync", *folders, *bins, *ports])
    new.start()


def call(server: Server, words: list[str | Path]) -> None:
    with tempfile.TemporaryFile() as output:
        process = spawn(
            words,
            death_signal=signal.SIGKILL,
            cwd=server.folder,
            env=data_folder.ENVIRONMENT | {"PGPASSWORD": server.password},
            output=output,
            account=server.account,
        )
        if process.wait():
            output.seek(0)
            raise AssertionError(output.read().decode(errors="replace"))


def test_keys_that_another_version_made_are_noticed_and_rebuilt(
    old: Installation, upgraded: Server, fleet: InstanceFleet, debian_bin: Path
) -> None:
    master = fleet.master
    master.add_tenant(1)
    master.add_route(1, f"{IN_PARTS}@example.com")
    master.add_route(2, "user2@example.com", user_name=COMPOSED)  # its e-mail's key stays
    for number in range(3, 50):
        master.add_route(number, f"user{number}@example.com", user_name=f"User {number}")
    old.manage("migrate", "--no-input")
    old.manage(
        *("add_instance", "--id=1", "--name=one", f"--host={master.host}", f"--port={master.port}"),
        *(f"--database={master.database}", f"--user={master.user}", "--ssl-mode=disable"),
        *("--master", "--password-env=PASSWORD_THERE"),
        PASSWORD_THERE=master.rainbo_password,
    )
    old.manage("sync_user_routing")
    old.manage("verify_cache")
    assert old.finds(f"{IN_PARTS}@example.com")
    assert old.by_name(COMPOSED, index=True) == 1

    upgrade(old.server, upgraded, debian_bin)
    new = Installation(upgraded, old.password)
    assert new.by_name(IN_PARTS, index=False) == 1
    assert new.by_name(IN_PARTS, index=True) == 0  # PostgreSQL does not notice
    assert not new.finds(f"{IN_PARTS}@example.com")
    assert not new.finds(f"{COMPOSED}@example.com")
    assert new.finds("user7@example.com")
    assert "rebuild_search_keys" in new.run("rainbo_status")[1]
    code, said = new.run("verify_cache")
    assert code == 1
    assert "OUTDATED" in said
    assert "CORRUPT" not in said

    new.manage("rebuild_search_keys")
    assert new.by_name(IN_PARTS, index=True) == 1
    assert new.finds(f"{IN_PARTS}@example.com")
    assert new.finds(f"{COMPOSED}@example.com")
    assert "rebuild_search_keys" not in new.run("rainbo_status")[1]
    new.manage("verify_cache")
