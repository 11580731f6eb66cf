"""Reads how sessions went on their instances, and ends them there.

Where an instance has a writer of its own, both go to it: what a standby has not replayed yet would
be read as not redeemed. Like ghost users, a session is written in one transaction on a server that
proved its identity; what is about to be ended is recorded before, and to end it twice changes
nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from common.errors import RainboError
from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections, contract
from tenants.fleet.connections import Connection
from tenants.models import RdsInstance, SupportSession

READ, END = contract.SUPPORT
LIMIT = 5.0  # seconds for one instance
OLDEST, NEWEST = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 31, tzinfo=UTC)


class NotSetUp(RainboError):
    """The instance has no table of support sessions."""

    kind = "support access"


@dataclass(frozen=True)
class RemoteState:
    """A session as its instance has it. A time that is out of bounds is unknown."""

    ghost_id: str
    tenant_id: str
    redeemed_at: datetime | None
    ends_at: datetime | None
    active_at: datetime | None
    requests: int | None
    blocked: int | None
    ended_at: datetime | None
    ended_by: str | None
    refused: int | None
    refused_at: datetime | None


@dataclass(frozen=True)
class Answer:
    """states: of the sessions that the instance has, by jti. error: why it did not answer."""

    states: Mapping[UUID, RemoteState]
    error: RainboError | None = None


def ask(
    rows: Iterable[SupportSession],
    end: Collection[UUID] = (),
    try_to_end: UUID | None = None,
    limit: float = LIMIT,
) -> dict[int, Answer]:
    """Ask the instances of these sessions, and end some of them there; the answers by instance.

    end: which of them; `end_requested_by` says why. try_to_end: one that is ended and undone, to
    know that it could be. An instance that RAINBO no longer knows has no answer.
    """
    by_instance: dict[int, list[SupportSession]] = defaultdict(list)
    for row in rows:
        by_instance[row.instance_id].append(row)

    def act(instance: RdsInstance, source: Connection) -> dict[UUID, RemoteState]:
        asked, group = by_instance[instance.pk], instance.schema_group
        for row in asked:
            if row.jti in end:
                _end(source, group, row)
            elif row.jti == try_to_end:
                with source.transaction(force_rollback=True):
                    _end(source, group, row)
        return _read(source, group, [row.jti for row in asked])

    instances = list(RdsInstance.objects.filter(pk__in=[*by_instance]))
    outcomes = connections.each_instance(
        instances, act, "support_access", writes=True, remember=False, limit=limit
    )
    return {
        one.instance.pk: Answer(one.value or {}, one.error and _explained(one.instance, one.error))
        for one in outcomes
    }


def _end(source: Connection, group: str, row: SupportSession) -> None:
    values = {
        "jti": row.jti,
        "ghost_id": row.ghost_id,
        "tenant_id": row.tenant_id,
        "person": row.person,
        "reason": row.reason,
        "ticket": row.ticket,
        "read_only": row.read_only,
        "ended_by": f"rainbo: {row.end_requested_by or 'check'}",
    }
    source.execute(verbatim(contract.text(END, group)), values)


def _read(source: Connection, group: str, keys: Sequence[UUID]) -> dict[UUID, RemoteState]:
    """By the id's own type, which its index serves."""
    query = contract.query(READ, group)
    columns = [column for column in query.columns if column.name != "id"]
    statement = sql.SQL("SELECT {} FROM ({}) AS source WHERE source.id IN ({})").format(
        sql.SQL(", ").join([sql.SQL("source.id::text"), *map(_column, columns)]),
        verbatim(query.sql.replace("%", "%%")),
        sql.SQL(", ").join(sql.Placeholder() * len(keys)),
    )
    rows: list[tuple[Any, ...]] = source.execute(statement, [*map(str, keys)]).fetchall()
    return {UUID(jti): RemoteState(*values) for jti, *values in rows}


def _column(column: Any) -> sql.Composed:
    name = sql.Identifier(column.name)
    if column.kind != "timestamptz":
        return sql.SQL("source.{}::{}").format(name, verbatim(column.kind))
    return sql.SQL("CASE WHEN source.{0} BETWEEN {1} AND {2} THEN source.{0} END").format(
        name, sql.Literal(OLDEST), sql.Literal(NEWEST)
    )


def _explained(instance: RdsInstance, error: RainboError) -> RainboError:
    if isinstance(error.__cause__, psycopg.errors.UndefinedTable):
        return NotSetUp(
            f"support access is not set up on {instance}: it has no table "
            "rainbo_support_sessions; docs/support-access.md says how to make it"
        )
    return error
