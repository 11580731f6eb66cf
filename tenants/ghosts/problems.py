"""What is wrong with the ghost users: of people who left, and of admins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.contrib.auth.models import User
from django.db.models import (
    BooleanField,
    Count,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.expressions import RawSQL

from common.joint_query import Answers, Question, Questions, Row, Statement, compiled
from common.text import counted
from syncs.errors import Unequal
from syncs.status.problems import Link, Problem, Severity, Source
from tenants.ghosts import policy
from tenants.models import GhostUser
from tenants.models.ghost import GONE, GhostState

COUNTED = 1_000  # ghost users of a kind; more are said to be more
NAMED = 3  # ghost users in the text of a problem
_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
TOLD_AFTER = timedelta(minutes=2)  # what is retired as usual is no problem


@dataclass(frozen=True)
class Ghosts:
    """Ghost users that one problem is about.

    ghosts: how many, up to COUNTED and one more. instances: where they are. names: whose and where,
    of the first. certain: their instance last confirmed each of them as active. people: whose
    they are, how many; None: not all were read.
    """

    ghosts: int = 0
    instances: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()
    certain: bool = True
    people: int | None = 0

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Ghosts:
        rows = rows[: COUNTED + 1]
        return cls(
            len(rows),
            frozenset(row["instance_id"] for row in rows),
            tuple(_name(row) for row in rows[: NAMED + 1]),
            all(row["confirmed"] == GhostState.ACTIVE for row in rows),
            len({row["admin_id"] for row in rows}) if len(rows) <= COUNTED else None,
        )

    @property
    def affected(self) -> tuple[str, ...]:
        return tuple(str(pk) for pk in sorted(self.instances))

    def count(self) -> tuple[str, str]:
        """`2 ghost users`, `more than 200 instances`."""
        more = self.ghosts > COUNTED
        ghosts = counted(min(self.ghosts, COUNTED), "ghost user", more=more)
        return ghosts, counted(len(self.instances), "instance", more=more)

    def named(self, text: str) -> str:
        more = " and more" if len(self.names) > NAMED else ""
        return f"{text}: {', '.join(self.names[:NAMED])}{more}" if self.names else text


@dataclass(frozen=True)
class GhostFacts:
    """leavers: owed for minutes, or since nobody knows when. missing: what an admin should have."""

    leavers: Ghosts = Ghosts()
    missing: Ghosts = Ghosts()


def ask_counts(now: datetime) -> Question:
    """How many ghost users each problem is about; `counts_in` returns leavers' and admins'."""
    sql, given = _counts()
    later = now - _SOME_TIME
    moved = (value + later if isinstance(value, datetime) else value for value in given)
    return Statement(sql, tuple(moved))


@cache
def _counts() -> Statement:
    """The question at _SOME_TIME: Django builds it for longer than the database answers it."""
    wrong = _wrong(_SOME_TIME).order_by().values("may_enter")
    return _statement(wrong.annotate(ghosts=Count("pk")))


def counts_in(rows: Sequence[Row]) -> tuple[int, int]:
    found = {row["may_enter"]: row["ghosts"] for row in rows}
    return found.get(False, 0), found.get(True, 0)


def _wrong(now: datetime) -> QuerySet[Any]:
    """What one of the problems is about, with may_enter: whether it is an admin's."""
    may_enter = Q(admin_id__in=RawSQL("SELECT id FROM admins", ()))
    # In the future: the database's clock was set back.
    long = Q(owed_since=None) | ~Q(owed_since__range=(now - TOLD_AFTER, now))
    left = ~may_enter & long & ~Q(confirmed__in=GONE)
    tried = may_enter & policy.KEPT & ~Q(last_error="")
    return GhostUser.objects.filter(left | tried & ~Q(confirmed=GhostState.ACTIVE)).annotate(
        may_enter=ExpressionWrapper(may_enter, BooleanField())
    )


def ask(now: datetime) -> Questions:
    """One question, whose answer is bounded."""
    users = User.objects.filter(pk=OuterRef("admin_id")).values("username")
    rows = _wrong(now).order_by("may_enter", "admin_id", "instance_id")
    fields = ("may_enter", "admin_id", "instance_id", "confirmed")
    names = {"username": Subquery(users[:1]), "instance_name": F("instance__name")}
    return {"ghosts": _statement(rows.values(*fields, **names)[: 2 * (COUNTED + 1)])}


def _statement(rows: QuerySet[Any, Row]) -> Statement:
    """The rows name the admins three times: that subquery is planned and executed once."""
    admins, given = _ask_admins()
    sql, parameters = compiled(rows)
    return Statement(f"WITH admins (id) AS MATERIALIZED ({admins}) {sql}", (*given, *parameters))


@cache
def _ask_admins() -> Statement:
    return compiled(policy.admins().values("pk"))


def read(answers: Answers, _: datetime) -> GhostFacts:
    found = answers["ghosts"]
    return GhostFacts(
        leavers=Ghosts.of([row for row in found if not row["may_enter"]]),
        missing=Ghosts.of([row for row in found if row["may_enter"]]),
    )


def judge(facts: GhostFacts, found: Sequence[Problem] = ()) -> Iterator[Problem]:
    yield from _judge_leavers(facts.leavers)
    yield from _judge_missing(facts.missing, found)


def _judge_leavers(facts: Ghosts) -> Iterator[Problem]:
    if not facts.ghosts:
        return
    ghosts, instances = facts.count()
    can = "can" if facts.certain else "can or may"
    words = f"{ghosts} of people who left {can} still enter {instances}"
    yield Problem(
        key="ghosts/leavers",
        severity=Severity.LEAVER_CAN_ENTER,
        cause="leaver",
        text=facts.named(words),
        brief=words,
        link=Link("ghosts"),
        affected=facts.affected,
        people=facts.people,
        unequal=True,
    )


def _judge_missing(facts: Ghosts, found: Sequence[Problem]) -> Iterator[Problem]:
    """Unless instances that are down explain all of it."""
    down = {
        key
        for problem in found
        if problem.severity is Severity.INSTANCE_DOWN
        for key in problem.affected
    }
    if not facts.ghosts or down.issuperset(facts.affected):
        return
    ghosts, instances = facts.count()
    words = f"{ghosts} of admins refused, missing or unknown on {instances}"
    yield Problem(
        key="ghosts/unequal",
        severity=Severity.FAILING,
        cause=Unequal.kind,
        text=facts.named(words),
        brief=words,
        link=Link("ghosts"),
        affected=facts.affected,
        people=facts.people,
        unequal=True,
    )


def _name(row: Row) -> str:
    return f"{row['username'] or 'deleted user'} ({row['admin_id']}) on {row['instance_name']}"


GHOSTS = Source(
    name="ghosts",
    ask=ask,
    read=read,
    judge=judge,
    permissions=("tenants.view_ghostuser",),
    explained=True,
)
