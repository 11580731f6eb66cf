"""A fleet of two hundred instances in RAINBO's own tables: what the console looks like at scale.

No server stands behind these instances; sql/big.sql says what is in it. So that no sync finds that
out, a demo that has them pauses its schedules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import psycopg

from localfleet.data.schema import SQL_FOLDER
from localfleet.demo import terminal
from localfleet.demo.state import OWN_DATABASE, State
from localfleet.servers.server import Server

REASON = "most instances are made up: a sync would find that nobody is there"
PAUSE = """
    UPDATE syncs_syncschedule
       SET paused_until = %s + interval '14 days', pause_reason = %s, paused_by = 'make demo'"""
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


def add(own: Server, state: State, first: int) -> None:
    """Fill the demo's own database once, reporting progress. Each start renews the pauses."""
    if state.is_done(state.seed):
        with own.connect(OWN_DATABASE) as connection:
            connection.execute(PAUSE, [datetime.now(UTC), REASON])
        return
    size, now = Size(), datetime.now(UTC)
    terminal.note(
        f"Adding {size.instances} instances, {size.tenants:,} tenants, {size.routes:,} routes and "
        f"{size.runs:,} runs that are made up:"
    )
    with own.connect(OWN_DATABASE, autocommit=False) as connection:
        connection.execute(PAUSE, [now, REASON])
        with ExitStack() as shown:
            for name in steps(connection, now, size, first):
                shown.close()
                shown.enter_context(terminal.step(f"  {name}"))
    state.mark_done(state.seed)
