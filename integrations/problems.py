"""What is wrong with connections: those that a person has to connect again, or to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from common.joint_query import Answers, Question, Questions, compiled
from common.text import counted, since, truncate
from integrations.models import Connection
from integrations.models.connection import KEY
from syncs.status.problems import Link, Problem, Severity, Source


@dataclass(frozen=True)
class Broken:
    """A connection whose credentials its service rejects."""

    pk: int
    service: str
    since: datetime
    error: str


@dataclass(frozen=True)
class ConnectionFacts:
    now: datetime
    broken: tuple[Broken, ...]


def ask(_: datetime) -> Questions:
    return {"broken": _ask_broken()}


@cache
def _ask_broken() -> Question:
    rows = Connection.objects.filter(enabled=True).exclude(reconnect_since=None)
    fields = ("pk", "service", "reconnect_since", "last_error")
    return compiled(rows.order_by("reconnect_since", "pk").values(*fields))


def read(answers: Answers, now: datetime) -> ConnectionFacts:
    found = (
        Broken(
            pk=row["pk"],
            service=row["service"],
            since=datetime.fromisoformat(row["reconnect_since"]),
            error=row["last_error"],
        )
        for row in answers["broken"]
    )
    return ConnectionFacts(now, tuple(found))


def judge(facts: ConnectionFacts, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    """One problem for each service: a hundred lapsed tokens are one thing to do."""
    by_service: dict[str, list[Broken]] = {}
    for row in facts.broken:
        by_service.setdefault(row.service, []).append(row)
    for service, rows in by_service.items():
        first = rows[0]
        what = f"connection {first.pk} ({service}) needs" if len(rows) == 1 else ""
        many = f"{counted(len(rows), 'connection')} of {service} need"
        yield Problem(
            key=f"connections/{service}/reconnect",
            severity=Severity.RECONNECT_NEEDED,
            cause="reconnect needed",
            text=f"{what or many} to be connected again{since(first.since, facts.now)}: "
            f"{truncate(first.error)}",
            link=Link("connection", str(first.pk)),
            affected=tuple(f"{KEY}{row.pk}" for row in rows),
        )


CONNECTIONS = Source(
    name="connections",
    ask=ask,
    read=read,
    judge=judge,
    permissions=("integrations.view_connection", "integrations.change_connection"),
)
