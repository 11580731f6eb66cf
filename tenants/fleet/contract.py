"""The source contract: what RAINBO's queries must return on an instance."""

from __future__ import annotations

import hashlib
from pathlib import Path

from django.conf import settings

from syncs.errors import ContractBroken
from syncs.transfer.copy_stream import Column, Query

SHIPPED = Path(__file__).parents[1] / "jobs"

TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})
IDS = frozenset({"int2", "int4", "int8", "numeric", "uuid", "text", "varchar", "bpchar"})
COUNTS = frozenset({"int2", "int4", "int8"})
MOMENTS = frozenset({"timestamptz"})

_ZONE = (
    "write {0} AT TIME ZONE 'UTC' AS {0} in the query, with the zone that the source means: "
    "without one, the time is a guess"
)


def _id(name: str) -> Column:
    return Column(name, "text", IDS, f"write {name}::text AS {name} in the query")


def _text(name: str) -> Column:
    return Column(name, "text", TEXTS, f"write {name}::text AS {name} in the query")


def _moment(name: str) -> Column:
    return Column(name, "timestamptz", MOMENTS, _ZONE.format(name))


def _count(name: str) -> Column:
    return Column(name, "bigint", COUNTS, f"write {name}::bigint AS {name} in the query")


COLUMNS = {
    "sync_user_routing": (
        _id("id"),
        _text("email"),
        _id("tenant_id"),
        _id("rds_instance_id"),
        _id("user_id"),
        _text("user_name"),
        _text("status"),
        _moment("updated_at"),
    ),
    "sync_tenant_summaries": (
        _id("id"),
        _text("name"),
        _text("status"),
        _text("primary_contact_name"),
        _text("primary_contact_email"),
        _moment("trial_ends_at"),
        _moment("subscription_started_at"),
        _count("user_count"),
        _count("location_count"),
        _moment("last_activity_at"),
    ),
    "find_user": (
        _id("id"),
        _text("email"),
        _id("tenant_id"),
        _text("name"),
        _text("status"),
        _moment("last_login_at"),
    ),
}


NAMES = (*COLUMNS, "sync_instance_health", "sync_ghost_users")


def kinds(name: str) -> list[str]:
    """Return the types of a query's columns."""
    return [column.kind for column in COLUMNS[name]]


def query(name: str) -> Query:
    """Return a query with its contract. Raises ContractBroken for an unreadable file."""
    return Query(name, text(name), COLUMNS[name])


def text(name: str) -> str:
    """Return a query's SQL: this installation's own file, else the shipped one."""
    path = _path(name)
    try:
        found = path.read_text(encoding="utf-8").strip().removesuffix(";")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ContractBroken(f"the query {path.name} can't be read: {why}") from error
    return f"{found}\n"  # so that a comment in the last line ends where it should


def fingerprint(name: str) -> str:
    """Return a short hash that changes with the SQL."""
    return hashlib.sha256(text(name).encode()).hexdigest()[:16]


def label(name: str) -> str:
    """Return the name of a query's file, as findings name it."""
    return f"{name}.sql{' (shipped)' if _path(name).parent == SHIPPED else ''}"


def unknown_files() -> list[str]:
    """Return the SQL files of this installation that are no query's."""
    folder = settings.RAINBO_SOURCE_SQL
    found = folder.glob("*.sql") if folder else ()
    return sorted(path.name for path in found if path.stem not in NAMES)


def _path(name: str) -> Path:
    folder = settings.RAINBO_SOURCE_SQL
    own = folder / f"{name}.sql" if folder else None
    return own if own and own.exists() else SHIPPED / f"{name}.sql"
