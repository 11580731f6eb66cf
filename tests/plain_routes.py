"""What the routes must be, computed row by row in plain Python from the source's own rows."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tests.caches import query
from tests.instances import Instance

FIELDS = "id, email, tenant_id, rds_instance_id, user_id, user_name, status, updated_at"


class Row(NamedTuple):
    id: Any
    email: str | None
    tenant_id: Any
    rds_instance_id: int | None
    user_id: Any
    user_name: str | None
    status: str | None
    updated_at: datetime | None


def expected(source: Instance) -> tuple[set[tuple[Any, ...]], set[tuple[str, str]]]:
    """Routes, each with whether readers see it; ids and reasons of what can't be stored."""
    rows = [Row(*row) for row in source.execute(f"SELECT {FIELDS} FROM user_email_routing")]
    bad = {(str(row.id), reason) for row in rows if (reason := _unusable(row))}
    usable = [row for row in rows if not _unusable(row)]
    groups = defaultdict(list)
    for row in usable:
        groups[_key(row), row.rds_instance_id or source.id, row.tenant_id].append(row)
    shown = {max(group, key=_rank).id for group in groups.values()}
    return {_route(row, source.id, row.id in shown) for row in usable}, bad


def cached() -> tuple[set[tuple[Any, ...]], set[tuple[str, str]]]:
    """The same of RAINBO's own tables."""
    routes = query(
        "SELECT source_id, email, email_key, remote_instance_id, on_master, remote_tenant_id, "
        "remote_user_id, user_name, status, source_updated_at, withheld_reason IS NULL "
        "FROM user_routes"
    )
    bad = query("SELECT source_id, reason FROM syncs_withheldrow WHERE sync = 'user_routing'")
    return {tuple(route) for route in routes}, {(key, reason) for key, reason in bad}


def _unusable(row: Row) -> str:
    if not row.email:
        return "no e-mail"
    if row.tenant_id is None:
        return "no tenant id"
    if row.user_id is None:
        return "no user id"
    return "e-mail longer than 320 characters" if len(row.email) > 320 else ""


def _key(row: Row) -> str:
    folded = unicodedata.normalize("NFC", row.email or "")
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in folded)


def _rank(row: Row) -> tuple[datetime, int]:
    return row.updated_at or datetime.min.replace(tzinfo=UTC), row.id


def _route(row: Row, master: int, is_shown: bool) -> tuple[Any, ...]:
    return (
        str(row.id),
        row.email,
        _key(row),
        str(row.rds_instance_id or master),
        row.rds_instance_id is None,
        str(row.tenant_id),
        str(row.user_id),
        row.user_name,
        row.status,
        row.updated_at,
        is_shown,
    )
