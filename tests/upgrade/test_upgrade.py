"""A database that an earlier version filled: it migrates, its syncs run, nothing of it is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from localfleet.servers.fleet import LocalFleet
from localfleet.servers.server import Server
from tests.children import Child, until
from tests.instances import Instance, InstanceFleet

DUMP = Path(__file__).with_name("of_7dbec5c.sql")
DATABASE = "upgraded"
KEYS = {  # with which the dump was made
    "RAINBO_SECRET_KEY": "of-the-upgrade-test-alone-0123456789-0123456789-0123456789",
    "RAINBO_CREDENTIAL_KEYS": "YW5vdGhlci1rZXktb2YtdGhlLXVwZ3JhZGUtdGVzdCE=",
    "RAINBO_DB_NAME": DATABASE,
}
SYNCS = ["ghost_users", "instance_health", "tenant_summaries", "user_routing"]
Ask = Callable[..., list[tuple[Any, ...]]]


class Upgraded:
    """The earlier version's database under today's code."""

    def __init__(self, own: psycopg.Connection[Any]) -> None:
        self.own = own

    def ask(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        cursor = self.own.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def manage(self, *words: str, **env: str) -> str:
        code, said = Child(*words, **KEYS | env).end(120)
        assert code == 0, said
        return said


@contextmanager
def restored(server: Server) -> Iterator[psycopg.Connection[Any]]:
    """The dump in a database of RAINBO's role."""
    name = sql.Identifier(DATABASE)
    with server.connect("postgres") as maintenance:
        maintenance.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        owner = sql.Identifier(os.environ["RAINBO_DB_USER"])
        maintenance.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))
        role = {"user": os.environ["RAINBO_DB_USER"], "password": os.environ["RAINBO_DB_PASSWORD"]}
        with server.connect(DATABASE, **role) as own:
            own.execute(DUMP.read_bytes())
            own.execute("SELECT set_config('search_path', 'public', false)")
            yield own
        maintenance.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture
def upgraded(postgres_servers: LocalFleet, fleet: InstanceFleet) -> Iterator[Upgraded]:
    for instance in fleet.instances:
        fill(instance)
    with restored(postgres_servers["rainbo"]) as own:
        database = Upgraded(own)
        database.manage("migrate", "--no-input")
        for instance in fleet.instances:
            move(database, instance)
        yield database


def fill(instance: Instance) -> None:
    """As the dump knows it; of the routes the master has the thirty that it had."""
    for number in (1, 2, 3):
        instance.add_tenant(number, f"Tenant {instance.id}-{number}")
        instance.add_user(1000 + number, number, f"user{number}@tenant{instance.id}.example.com")
        instance.add_location(number, number)
    if instance.is_master:
        for number in range(30):
            home = None if number % 2 else 2
            instance.add_route(number + 1, f"user{number}@example.com", 1 + number % 3, home)


def move(database: Upgraded, instance: Instance) -> None:
    """Change the instance's address: the dump's servers are gone."""
    database.manage(
        *("add_instance", "--update", "--id", str(instance.id), "--host", instance.host),
        *("--port", str(instance.port), "--database", instance.database),
        *("--password-env", "PASSWORD_THERE", "--accept-rebuilt"),
        PASSWORD_THERE=instance.rainbo_password,
    )


def test_what_an_earlier_version_left_is_migrated_and_goes_on(upgraded: Upgraded) -> None:
    runs = upgraded.ask("SELECT id, state FROM syncs_syncrun ORDER BY id")
    assert len(runs) == 7
    assert "held" in dict(runs).values()
    assert upgraded.ask("SELECT count(*) FROM user_routes") == [(30,)]
    assert upgraded.ask("SELECT count(*) FROM reporting.routes") == [(30,)]
    upgraded.manage("makemigrations", "--check", "--dry-run")
    upgraded.manage("sync_all")
    after = upgraded.ask("SELECT id, state FROM syncs_syncrun ORDER BY id")
    assert after[: len(runs)] == runs
    ended = upgraded.ask("SELECT sync, state FROM syncs_syncrun WHERE id > %s", runs[-1][0])
    assert sorted(ended) == [(sync, "succeeded") for sync in SYNCS]
    assert upgraded.ask("SELECT count(*) FROM user_email_routing_cache") == [(30,)]
    paused = "SELECT sync, pause_reason FROM syncs_syncschedule WHERE paused_until > now()"
    assert upgraded.ask(paused) == [("tenant_summaries", "kept over the upgrade")]


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_tasks_that_an_earlier_version_queued_do_no_harm(upgraded: Upgraded) -> None:
    """One asks for a run, which is done; two of functions that have moved since are dropped."""
    [(waiting,)] = upgraded.ask("SELECT id FROM syncs_syncrun WHERE state = 'queued'")
    assert upgraded.ask("SELECT count(*) FROM django_q_ormq") == [(3,)]
    minute = "UPDATE django_q_schedule SET next_run = date_trunc('minute', now()) WHERE name = %s"
    upgraded.ask(minute, "instance_health")
    done = "SELECT state FROM syncs_syncrun WHERE id = %s"
    fired = (
        "SELECT id FROM syncs_syncrun WHERE slot > now() - interval '5 min' AND state = 'succeeded'"
    )
    old = "SELECT id FROM django_q_ormq WHERE id <= 3"
    workers = Child("qcluster", **KEYS, RAINBO_WORKERS="1")
    try:
        until(lambda: upgraded.ask(done, waiting) == [("succeeded",)], 60)
        until(lambda: upgraded.ask(fired), 90)
        until(lambda: not upgraded.ask(old), 60)
    finally:
        workers.process.terminate()
        workers.end()
    # Workers call nothing but functions of syncs.tasks: the two were dropped, and not called.
    taken = "SELECT count(*) FROM django_q_task WHERE NOT starts_with(func, 'syncs.tasks.')"
    assert upgraded.ask(taken) == [(0,)]
