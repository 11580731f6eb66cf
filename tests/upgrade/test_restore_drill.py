"""The drills of docs/restore.md, command by command, on a fleet that has ghost users."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from localfleet.servers import binaries
from localfleet.servers.fleet import LocalFleet
from localfleet.servers.server import Server
from tests.children import ROOT, Child
from tests.instances import Instance, InstanceFleet
from tests.upgrade.test_upgrade import fill

PAGE = (ROOT / "docs" / "restore.md").read_text(encoding="utf-8")
ALIVE, RESTORED = "drill_alive", "drill_restored"
PEOPLE = """
from django.contrib.auth.models import User
for name in {names}:
    User.objects.create_superuser(name)
"""


def drill(heading: str) -> list[list[str]]:
    """The commands of the first block below a heading that is of every installation."""
    section = PAGE.partition(f"## {heading}\n")[2]
    fenced = re.findall(r"```(\w*)\n(.*?)```", section, re.DOTALL)
    block = next(text for kind, text in fenced if not kind)
    return [shlex.split(line) for line in block.splitlines()]


@contextmanager
def database(server: Server, name: str) -> Iterator[psycopg.Connection[Any]]:
    """An empty database of RAINBO's role; the connection is its owner's."""
    named, owner = sql.Identifier(name), sql.Identifier(os.environ["RAINBO_DB_USER"])
    with server.connect("postgres") as maintenance:
        maintenance.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(named))
        maintenance.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(named, owner))
        role = {"user": os.environ["RAINBO_DB_USER"], "password": os.environ["RAINBO_DB_PASSWORD"]}
        with server.connect(name, **role) as own:
            yield own
        maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(named))


def manage(name: str, *words: str, **env: str) -> str:
    code, said = Child(*words, RAINBO_DB_NAME=name, **env).end(200)
    assert code == 0, f"{words}: {said}"
    return said


def client(server: Server, program: str, *words: str) -> None:
    """A program of PostgreSQL's, on this server, as RAINBO's role."""
    host = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": os.environ["RAINBO_DB_USER"],
        "PGPASSWORD": os.environ["RAINBO_DB_PASSWORD"],
    }
    path = binaries.find() / program
    done = subprocess.run(
        [path, *words], env=os.environ | host, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def register(name: str, instance: Instance) -> None:
    manage(
        name,
        *("add_instance", "--id", str(instance.id), "--name", f"rds{instance.id}"),
        *("--host", instance.host, "--port", str(instance.port)),
        *("--database", instance.database, "--user", instance.user),
        *("--password-env", "PASSWORD_THERE", "--ssl-mode", "disable"),
        *(["--master"] if instance.is_master else []),
        PASSWORD_THERE=instance.rainbo_password,
    )


def ghosts(instance: Instance) -> dict[str, str]:
    rows = instance.execute("SELECT rainbo_admin_id, status FROM users WHERE is_ghost_admin")
    return dict(rows)


@pytest.fixture
def own(postgres_servers: LocalFleet) -> Server:
    return postgres_servers["rainbo"]


@pytest.fixture
def alive(own: Server, fleet: InstanceFleet) -> Iterator[psycopg.Connection[Any]]:
    """An installation with instances, two people and their ghost users."""
    for instance in fleet.instances:
        fill(instance)
    with database(own, ALIVE) as session:
        manage(ALIVE, "migrate", "--no-input")
        for instance in fleet.instances:
            register(ALIVE, instance)
        manage(ALIVE, "shell", "-c", PEOPLE.format(names=["ann", "bob"]))
        manage(ALIVE, "sync_all")
        yield session


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_backup_is_restored(
    own: Server, alive: psycopg.Connection[Any], fleet: InstanceFleet, tmp_path: Path
) -> None:
    """What happened on the fleet since the backup is read again; who is inside stays inside."""
    dump = tmp_path / "rainbo.dump"
    client(own, "pg_dump", "--format=custom", "--file", str(dump), ALIVE)
    fleet.master.add_route(99, "late@example.com", 1, None)
    before = ghosts(fleet.instances[0])
    assert set(before.values()) == {"Active"}
    with database(own, RESTORED) as session:
        options = ("--no-owner", "--no-privileges", "--exit-on-error")
        assert all(option in PAGE for option in options)
        client(own, "pg_restore", *options, "--dbname", RESTORED, str(dump))
        commands = drill("Restore a backup")
        assert len(commands) == 5
        for program, *arguments in commands:
            assert (program, arguments[0]) == ("python", "manage.py")
            manage(RESTORED, *arguments[1:])
        counted = "SELECT count(*) FROM user_email_routing_cache"
        assert session.execute(counted).fetchone() == (31,)
        same = "SELECT key FROM installation"
        assert session.execute(same).fetchone() == alive.execute(same).fetchone()
    assert ghosts(fleet.instances[0]) == before
