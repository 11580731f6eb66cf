"""Tries to end an invented support session, and undoes it."""

from __future__ import annotations

import uuid

from psycopg import sql

from syncs.errors import ContractBroken
from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections, contract
from tenants.health.findings import Finding, Level

READ, END = contract.SUPPORT
NOT_SET_UP = (
    "support access is not set up here: there is no table rainbo_support_sessions; "
    "deploy/support_access/support_sessions.sql makes it"
)
_TABLE = "SELECT pg_catalog.to_regclass('rainbo_support_sessions') IS NOT NULL"


def is_set_up(source: connections.Connection, group: str = "") -> bool:
    """Whether the table is there; a file of this installation says by itself that it is meant."""
    if not contract.is_shipped(READ, group):
        return True
    row = source.execute(_TABLE).fetchone()
    return row is not None and bool(row[0])


def not_set_up() -> Finding:
    return Finding(Level.OK, NOT_SET_UP)


def run(source: connections.Connection, group: str = "") -> None:
    """End a session twice inside a transaction that writes, and roll it back.

    Raises ContractBroken if it is not read as ended by the first, and psycopg errors as they are.
    """
    statement, query = contract.text(END, group), contract.text(READ, group)
    jti = str(uuid.uuid4())
    values = {
        "jti": jti,
        "ghost_id": "0",
        "tenant_id": "0",
        "person": "RAINBO check",
        "reason": "RAINBO check",
        "ticket": "",
        "read_only": True,
    }
    ended = sql.SQL(
        "SELECT ended_by, redeemed_at IS NULL AND ended_at IS NOT NULL FROM ({}) AS source "
        "WHERE id::text = %s"
    ).format(verbatim(query.replace("%", "%%")))
    with source.transaction(force_rollback=True):
        for by in ("first", "second"):
            source.execute(verbatim(statement), values | {"ended_by": by})
        rows = source.execute(ended, [jti]).fetchall()
        source.execute("SET CONSTRAINTS ALL IMMEDIATE")  # they would fail at the commit
    if rows != [("first", True)]:
        raise ContractBroken(
            f"an invented session that it ended twice should be read by {READ}.sql as one that was "
            f"not redeemed and was ended by the first, and {len(rows)} rows say otherwise"
        )
