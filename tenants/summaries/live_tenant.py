"""Asks an instance for one tenant as it is there now, and compares the cache with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from common import clock
from syncs.errors import ContractBroken
from syncs.transfer import copy_stream
from syncs.transfer.copy_stream import Query
from tenants.fleet import connections, contract
from tenants.models import RdsInstance, Tenant
from tenants.summaries.merge import COLUMNS

LIMIT = 5.0  # seconds that a person waits for an instance
NAME = "sync_tenant_summaries"


@dataclass(frozen=True)
class LiveTenant:
    """What the instance said. row: by the cache's columns; None where it has no such tenant.

    error: why nothing is known of it; then row says nothing.
    """

    at: datetime
    seconds: float
    row: dict[str, Any] | None = None
    error: str = ""

    def differences(self, tenant: Tenant) -> list[str]:
        """The cache's columns in which the two differ."""
        row = self.row or {}
        return [name for name, value in row.items() if getattr(tenant, name) != value]

    def in_words(self, tenant: Tenant) -> str:
        """The result, for the activity log."""
        if self.error:
            return self.error
        if self.row is None:
            return "the instance has no such tenant"
        return f"differs in {', '.join(found)}" if (found := self.differences(tenant)) else "same"


def read(tenant: Tenant, limit: float | None = None) -> LiveTenant:
    """One tenant, by the contract's own query, within a few seconds; stores nothing."""
    at = clock.database_now()

    def ask(instance: RdsInstance, source: connections.Connection) -> dict[str, Any] | None:
        query = contract.query(NAME, instance.schema_group)
        copy_stream.probe(source, query)
        return _row(source, query, tenant.remote_id)

    (outcome,) = connections.each_instance(
        [tenant.instance], ask, "tenant", remember=False, limit=LIMIT if limit is None else limit
    )
    error = str(outcome.error) if outcome.error else ""
    return LiveTenant(at, outcome.seconds, outcome.value, error)


def _row(source: connections.Connection, query: Query, remote_id: str) -> dict[str, Any] | None:
    """By the id's own type, which its index serves, and then as the cache writes it."""
    key = sql.Identifier(query.columns[0].name)
    statement = sql.SQL(
        "SELECT {values} FROM ({query}) AS source "
        'WHERE source.{key} = %s AND source.{key}::text COLLATE "C" = %s LIMIT 2'
    ).format(
        values=copy_stream.live_values(query, source),
        query=copy_stream.verbatim(query.sql.replace("%", "%%")),
        key=key,
    )
    rows = source.execute(statement, [remote_id, remote_id]).fetchall()
    if len(rows) > 1:
        raise ContractBroken(f"{query.name}.sql returns tenant {remote_id} more than once")
    if not rows:
        return None
    found = dict(zip((column.name for column in query.columns), rows[0], strict=True))
    return {ours: found[theirs] for ours, theirs in COLUMNS.items()}
