"""Each peer: how it fills the empty table, and how it makes the table equal again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.peers import installation
from bench.peers.workspace import INDEXES, TABLE, Workspace
from bench.testbed.directory import COLUMNS

SOURCE = "public.user_email_routing"
HERE = Path(__file__).parent

Job = Callable[[Workspace], float | None]  # gives its peak memory in MB, where it can be known


@dataclass(frozen=True)
class Peer:
    """prepare: what the first fill finds. again: None when it can only copy everything again.

    misses: what its job leaves undone.
    """

    name: str
    way: str
    fill: Job
    again: Job | None = None
    misses: str = ""
    table: str = TABLE
    prepare: Callable[[Workspace], object] = Workspace.empty


def sling_fill(workspace: Workspace) -> float:
    return _sling(workspace, "--mode", "truncate")


def sling_again(workspace: Workspace) -> float:
    return _sling(workspace, "--mode", "incremental", "--primary-key", "id")


def _sling(workspace: Workspace, *mode: str) -> float:
    words = ["run", "--src-conn", workspace.source, "--src-stream", SOURCE]
    words += ["--tgt-conn", workspace.target, "--tgt-object", f"public.{TABLE}", *mode]
    home = str(installation.FOLDER / "sling")
    env = {"HOME": home, "SLING_HOME_DIR": home, "SLING_DISABLE_TELEMETRY": "true"}
    return workspace.run([installation.sling(), *words], env)


def dlt_fill(workspace: Workspace) -> float:
    peak = _dlt(workspace, "replace")
    with workspace.session() as session:
        session.execute(INDEXES.format(f"peer.{TABLE}").encode())
    return peak


def dlt_again(workspace: Workspace) -> float:
    return _dlt(workspace, "upsert")


def _dlt(workspace: Workspace, disposition: str) -> float:
    folder = installation.FOLDER / "dlt"
    env = {"DLT_DATA_DIR": str(folder), "RUNTIME__DLTHUB_TELEMETRY": "false"}
    words = [workspace.source, workspace.target, workspace.database, disposition]
    return workspace.run([installation.python(), HERE / "dlt_copy.py", *words], env)


def pgcopydb_fill(workspace: Workspace) -> float:
    programs = str(installation.server_programs())
    words = ["clone", "--source", workspace.source, "--target", workspace.target, "--no-owner"]
    words += ["--no-acl", "--table-jobs", "2", "--index-jobs", "2", "--restart", "--not-consistent"]
    words += ["--dir", str(installation.FOLDER / "pgcopydb-work")]
    return workspace.run([installation.pgcopydb(), *words], {"PATH": f"{programs}:/usr/bin:/bin"})


FOREIGN = """
    CREATE EXTENSION IF NOT EXISTS postgres_fdw;
    DROP SERVER IF EXISTS source CASCADE;
    CREATE SERVER source FOREIGN DATA WRAPPER postgres_fdw OPTIONS (
        host '127.0.0.1', port '{port}', dbname '{database}', fetch_size '10000');
    CREATE USER MAPPING FOR CURRENT_USER SERVER source OPTIONS (
        user 'postgres', password '{password}');
    IMPORT FOREIGN SCHEMA public LIMIT TO (user_email_routing) FROM SERVER source INTO public"""
UPSERT = f"""
    CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {COLUMNS} FROM user_email_routing;
    INSERT INTO {TABLE} SELECT * FROM incoming
        ON CONFLICT (id) DO UPDATE
       SET (email, tenant_id, rds_instance_id, user_id, user_name, status, updated_at) =
           (excluded.email, excluded.tenant_id, excluded.rds_instance_id, excluded.user_id,
            excluded.user_name, excluded.status, excluded.updated_at)
     WHERE {TABLE}.* IS DISTINCT FROM excluded.*;
    DELETE FROM {TABLE} WHERE NOT EXISTS (SELECT FROM incoming WHERE incoming.id = {TABLE}.id)"""  # noqa: S608


def fdw(workspace: Workspace) -> None:
    facts = {
        "port": workspace.source_port,
        "database": workspace.source_database,
        "password": workspace.testbed.master.password,
    }
    with workspace.session() as session:
        session.execute(f"SET statement_timeout = '{workspace.seconds:g}s'".encode())
        session.execute(FOREIGN.format(**facts).encode())
        with session.transaction():
            session.execute(UPSERT.encode())


def django(workspace: Workspace) -> float:
    words = [sys.executable, str(HERE / "django_copy.py"), workspace.source, workspace.target]
    return workspace.run(words, {})


STALE = "rows that were deleted stay"
PEERS = (
    Peer(
        "pgcopydb",
        "clone of the table",
        pgcopydb_fill,
        table="user_email_routing",
        misses="with the source's own two indexes",
        prepare=Workspace.clear,
    ),
    Peer("postgres_fdw", "upsert where different, delete", fdw, fdw),
    Peer("sling", "load, then upsert by key", sling_fill, sling_again, STALE),
    Peer("dlt", "connectorx, then upsert by key", dlt_fill, dlt_again, STALE, f"peer.{TABLE}"),
    Peer("Django", "bulk_create(update_conflicts=True), delete", django, django),
)
