"""What the names of tables in a query mean on an instance: remembered, and compared.

A name without a schema means the first table of that name on the search path. Anyone who can create
tables there, or set the path of RAINBO's role, decides what RAINBO reads and where it writes. So a
change is held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from psycopg import sql
from psycopg.types.json import Jsonb

from common.text import listed
from syncs.models import Confirmation, HeldChange
from syncs.transfer import snapshot_check
from syncs.transfer.copy_stream import Connection
from syncs.transfer.session import Session

NAMED = 5  # tables in one message


@dataclass(frozen=True)
class Tables:
    """The tables that a query names, each with its schema and kind. sql: which query it was."""

    sql: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, query: str, names: tuple[str, ...]) -> Self:
        return cls(hashlib.sha256(query.encode()).hexdigest()[:16], names)

    @classmethod
    def asked(cls, query: str, source: Connection) -> Callable[[], Self]:
        """Ask for those of a query that alone named tables in the source's transaction.

        In a pipeline, what is returned is called only after it.
        """
        named = snapshot_check.ask_for_tables(source)
        return lambda: cls.of(query, named())

    def as_json(self) -> dict[str, Any]:
        return {"sql": self.sql, "names": [*self.names]}

    def change_since(self, before: Mapping[str, Any] | None) -> str:
        """Return what the names mean instead of what they meant; empty if that is the same.

        before: as `as_json` returned it; None if nothing is known. Another query reads what it
        says: nothing can be compared.
        """
        if not before or before["sql"] != self.sql:
            return ""
        old, new = {*before["names"]}, {*self.names}  # each server sorts them by its own rules
        if old == new:
            return ""
        gone, come = sorted(old - new) or ["nothing"], sorted(new - old) or ["nothing"]
        return f"{listed(gone, NAMED)} → {listed(come, NAMED)}"


NO_TABLES = Tables("", ())


def remembered(sync: str) -> dict[str, Mapping[str, Any]]:
    """Return what the names of a sync's query meant at each target when it was last confirmed."""
    known = Confirmation.objects.filter(sync=sync, tables__isnull=False)
    return {target: tables or {} for target, tables in known.values_list("target", "tables")}


def remember(session: Session, sync: str, target: str, tables: Mapping[str, Any]) -> None:
    """Remember what a person has accepted of a target that is not confirmed by the same run."""
    session.execute(
        "UPDATE syncs_confirmation SET tables = %s WHERE sync = %s AND target = %s",
        [Jsonb(tables), sync, target],
    )


def reasons(change: str, does: str = "reads") -> list[str]:
    """Return why a change is held; empty if there is none. does: what the query does there."""
    return [f"its query {does} other tables than before: {change}"] if change else []


def change_to_review(change: str) -> tuple[str, str, str]:
    """Return a change of tables as what a person accepts: that very change."""
    return HeldChange.Kind.MOVED.value, "tables", change


def planned(change: str, rest: sql.Composable) -> sql.Composable:
    """Add a change of tables, which is about no tenant, to a plan for review."""
    if not change:
        return rest
    kind, key, detail = map(sql.Literal, change_to_review(change))
    return sql.SQL(
        "SELECT {} AS kind, {} AS source_id, {} AS detail, NULL AS tenant_instance, NULL AS tenant "
        "UNION ALL {}"
    ).format(kind, key, detail, rest)
