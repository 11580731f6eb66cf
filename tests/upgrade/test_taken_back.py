"""Every migration of ours can be taken back where docs/upgrades.md says so, and applied again."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from localfleet.servers.fleet import LocalFleet
from tests.children import ROOT, Child
from tests.upgrade.test_restore_drill import database

NAME = "taken_back"
PAGE = (ROOT / "docs" / "upgrades.md").read_text(encoding="utf-8")
SCHEMA = """
SELECT table_schema, table_name, column_name, data_type, is_nullable
  FROM information_schema.columns WHERE table_schema IN ('public', 'reporting')
UNION ALL
SELECT n.nspname, c.conname, pg_get_constraintdef(c.oid), '', ''
  FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
 WHERE n.nspname = 'public'
UNION ALL
SELECT schemaname, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT n.nspname, p.proname, md5(p.prosrc), '', ''
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
 ORDER BY 1, 2, 3
"""
BACK = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

def say(action, migration=None, fake=False):
    if action == "unapply_success":
        print("back:", migration.app_label, migration.name)

executor = MigrationExecutor(connection, say)
whole = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
plan = [(migration, True) for migration, _ in reversed(whole) if migration.app_label in {own!r}]
executor.migrate([], plan)
"""


def listed() -> dict[tuple[str, str], str]:
    rows = re.findall(r"^\| `(\w+) (\w+)` \| (.*?) \|", PAGE, re.MULTILINE)
    return {(app, name): back for app, name, back in rows}


@pytest.fixture
def migrated(postgres_servers: LocalFleet) -> Iterator[psycopg.Connection[Any]]:
    with database(postgres_servers["rainbo"], NAME) as session:
        run("migrate", "--no-input")
        yield session


def run(*words: str) -> str:
    code, said = Child(*words, RAINBO_DB_NAME=NAME).end(280)
    assert code == 0, said
    return said


@pytest.mark.soak
def test_each_is_taken_back_and_applied_again(migrated: psycopg.Connection[Any]) -> None:
    assert os.environ["RAINBO_DB_NAME"] != NAME
    before = migrated.execute(SCHEMA).fetchall()
    own = sorted({app for app, _ in listed()})
    said = run("shell", "-c", BACK.format(own=own))
    done = {(app, name) for app, name in re.findall(r"^back: (\w+) (\w+)$", said, re.MULTILINE)}
    assert done == {key for key, back in listed().items() if back == "yes"}
    left = migrated.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace "
        "AND relname ~ '^(syncs|tenant|alert|rds|activity)'"
    )
    assert left.fetchall() == []
    run("migrate", "--no-input")
    assert migrated.execute(SCHEMA).fetchall() == before
