"""A fleet of two hundred instances in RAINBO's own tables: what the console looks like at scale.

No server stands behind these instances. sql/big.sql says what is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime

import psycopg

from localfleet.schema import SQL_FOLDER

STEP = re.compile(r"^--> (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Size:
    """How much of everything. minutes: of checks; entries: of activity."""

    instances: int = 200
    tenants: int = 50_000
    routes: int = 1_000_000
    runs: int = 100_000
    minutes: int = 24 * 60
    entries: int = 20_000


def fill(
    connection: psycopg.Connection, now: datetime, size: Size | None = None, first: int = 1
) -> None:
    """Fill tables that have no instance from `first` on, in the connection's transaction."""
    for _ in steps(connection, now, size or Size(), first):
        pass


def steps(connection: psycopg.Connection, now: datetime, size: Size, first: int) -> Iterator[str]:
    """The same step by step: each name is given just before its step is done."""
    cursor = psycopg.ClientCursor(connection)
    cursor.execute((SQL_FOLDER / "believable.sql").read_bytes())
    text = (SQL_FOLDER / "big.sql").read_text(encoding="utf-8")
    _, *parts = STEP.split(text)
    facts = asdict(size) | {"now": now, "first": first}
    for name, statements in zip(parts[::2], parts[1::2], strict=True):
        yield name
        cursor.execute(statements.encode(), facts)
