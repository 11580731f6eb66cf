"""Asks the master itself for an e-mail, and says where the cache differs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from syncs import queries as engine
from syncs import transfer
from syncs.transfer import Connection, Query
from tenants import contract, fleet, queries
from tenants.choice import master
from tenants.lookup import Lookup
from tenants.queries import Route

# On a server in UTF8, the very expression of rainbo_email_key (with the letters themselves: it may
# read escapes in another way); elsewhere no text is composed.
UTF8_KEY = sql.SQL(
    """lower(CASE WHEN source.email::text COLLATE "C" ~ '[\u212a\u037e\u1fef]'
                  THEN source.email::text
                  ELSE normalize(source.email::text, NFC) END COLLATE "C")"""
)
_OTHER_KEY = sql.SQL('lower(source.email::text COLLATE "C")')

COMPARED = {
    "email": "e-mail",
    "instance_id": "instance",
    "tenant_id": "tenant",
    "user_id": "user",
    "user_name": "name",
    "status": "status",
    "source_updated_at": "time of change",
}


@dataclass(frozen=True)
class LiveRoute:
    """An account as the master has it now."""

    source_id: str
    email: str
    tenant_id: str | None
    instance_id: str
    user_id: str | None
    user_name: str | None
    status: str | None
    source_updated_at: datetime | None


@dataclass(frozen=True)
class Live:
    at: datetime
    routes: tuple[LiveRoute, ...]
    differences: tuple[str, ...]


def ask_master(found: Lookup) -> Live:
    """Read the key's accounts from the master. Raises RainboError when it can't be read."""
    source, query = master(), contract.query("sync_user_routing")
    at = engine.database_now()
    with fleet.connect(source, "find_user") as connection:
        transfer.probe(connection, query)
        rows = _read(connection, query, found.key)
    keys = queries.email_keys(row[1] for row in rows)
    live = tuple(
        _live(row, str(source.pk)) for row, key in zip(rows, keys, strict=True) if key == found.key
    )
    return Live(at, live, tuple(_differences(found.shown + found.withheld, live)))


def _read(connection: Connection, query: Query, key: str) -> list[tuple[Any, ...]]:
    in_utf8 = transfer.server_encoding(connection) == "UTF8"
    statement = sql.SQL("SELECT {} FROM ({}) AS source WHERE {} = %s").format(
        sql.SQL(", ").join(_column(column) for column in query.columns),
        transfer.verbatim(query.sql.replace("%", "%%")),
        UTF8_KEY if in_utf8 else _OTHER_KEY,
    )
    rows = []
    for form in {key} if in_utf8 else {key, unicodedata.normalize("NFD", key)}:
        # A server in another encoding has no account with letters that it can't hold.
        with suppress(psycopg.errors.UntranslatableCharacter):
            rows += connection.execute(statement, [form]).fetchall()
    return rows


def _column(column: transfer.Column) -> sql.Composed:
    return sql.SQL("source.{}::{}").format(
        sql.Identifier(column.name), transfer.verbatim(column.kind)
    )


def _live(row: tuple[Any, ...], master_id: str) -> LiveRoute:
    source_id, email, tenant, instance, *rest = row
    return LiveRoute(source_id, email, tenant, master_id if instance is None else instance, *rest)


def _differences(cached: tuple[Route, ...], live: tuple[LiveRoute, ...]) -> Iterator[str]:
    known = {route.source_id: route for route in cached}
    for now in live:
        before = known.pop(now.source_id, None)
        if before is None:
            yield f"{_named(now.source_id)} is on the master only"
            continue
        for field, name in COMPARED.items():
            ours, theirs = getattr(before, field), getattr(now, field)
            if ours != theirs:
                yield (
                    f"{_named(now.source_id)}: {name} is {_word(ours)} in the cache "
                    f"and {_word(theirs)} on the master"
                )
    for source_id in known:
        yield f"{_named(source_id)} is in the cache only"


def _named(source_id: str) -> str:
    return f"row {source_id} of the directory"


def _word(value: object) -> str:
    return "unknown" if value is None else str(value)
