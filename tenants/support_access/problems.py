"""What is wrong with support sessions: forged, used twice, not ended, too late, too many.

Sessions are kept for long: what was wrong with them at a time is judged again, as of then.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q

from common.joint_query import Answers, Questions, as_model
from common.text import counted, format_clock, truncate
from syncs.status.problems import Link, Past, Problem, Severity, Sight, Source
from tenants.models import SupportSession

SHOWN = timedelta(hours=24)  # for which what happened once is shown
HOUR = timedelta(hours=1)
SLACK = timedelta(minutes=2)  # for which a session may be ending
MOST = 50  # sessions of one kind
MOST_KEPT = 5_000  # sessions that are looked through for what was wrong before
READ = (
    *("jti", "instance_id", "instance_name", "tenant_id", "tenant_name", "person_id", "person"),
    *("reason", "issued_at", "expires_at", "redeemed_at", "ends_at", "refused", "refused_at"),
    *("differs", "end_requested_at", "error", "answered_at", "closed_at", "is_forged"),
)
FORGED = "support never issued"
NOT_ENDED, OUTSIDE, MANY = "support not ended", "support outside hours", "support in many tenants"


@dataclass(frozen=True)
class Hours:
    """When support is expected: days of the week from 0 (Monday), in a zone."""

    days: frozenset[int]
    begin: time
    end: time
    zone: str

    def include(self, at: datetime) -> bool:
        local = at.astimezone(ZoneInfo(self.zone))
        return local.weekday() in self.days and self.begin <= local.time() < self.end


@dataclass(frozen=True)
class SupportFacts:
    """rows: sessions that are open, or of which something happened or was learned in a day."""

    now: datetime
    rows: tuple[SupportSession, ...]
    hours: Hours | None
    most_tenants: int


def expected_hours() -> Hours | None:
    """Return RAINBO_SUPPORT_HOURS in RAINBO_TIME_ZONE; None if all hours are fine."""
    given = settings.RAINBO_SUPPORT_HOURS
    return None if given is None else Hours(*given, settings.RAINBO_TIME_ZONE)


def ask(now: datetime) -> Questions:
    """One question, whose answer is bounded."""
    since = now - SHOWN
    recent = Q(issued_at__gt=since) | Q(refused_at__gt=since) | Q(answered_at__gt=since)
    recent |= Q(closed_at=None)
    rows = SupportSession.objects.filter(recent).order_by("-issued_at")
    return {"sessions": rows.values(*READ)[:5_000]}


def read(answers: Answers, now: datetime) -> SupportFacts:
    rows = tuple(as_model(SupportSession, row) for row in answers["sessions"])
    return SupportFacts(now, rows, expected_hours(), settings.RAINBO_SUPPORT_TENANTS_PER_HOUR)


def judge(facts: SupportFacts, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    for judged in (_forged, _reused, _different, _not_ended, _outside, _many):
        found = list(judged(facts))
        yield from found[:MOST]


def _forged(facts: SupportFacts) -> Iterator[Problem]:
    for row in facts.rows:
        if row.is_forged and _is_news(row, row.issued_at, facts):
            advice = (
                "RAINBO ends it; somebody may have one of its keys: run support_keys rotate "
                "--at-once"
                if row.end_requested_at
                else "its ghost user is none of this RAINBO, so another one may have issued it; if "
                "none did, end it, and run support_keys rotate --at-once"
            )
            yield _problem(
                row,
                "never issued",
                Severity.SUPPORT_SESSION_REUSED,
                f"RAINBO never issued {_name(row)}, which began at "
                f"{format_clock(row.issued_at, facts.now)}: {advice}",
                FORGED,
            )


def _reused(facts: SupportFacts) -> Iterator[Problem]:
    for row in facts.rows:
        if row.refused and row.redeemed_at and _is_news(row, row.refused_at, facts):
            times = counted(row.refused, "further attempt")
            yield _problem(
                row,
                "reused",
                Severity.SUPPORT_SESSION_REUSED,
                f"the assertion of {_name(row)} was sent again and refused: {times}, the last at "
                f"{_clock(row.refused_at, facts)}; somebody else may have a copy of it",
            )


def _different(facts: SupportFacts) -> Iterator[Problem]:
    for row in facts.rows:
        if row.differs and _is_news(row, row.issued_at, facts):
            yield _problem(
                row,
                "differs",
                Severity.SUPPORT_SESSION_REUSED,
                f"{_name(row)} is not as it was issued: {row.differs}",
            )


def _not_ended(facts: SupportFacts) -> Iterator[Problem]:
    for row in facts.rows:
        if row.closed_at is not None:
            continue
        until = row.end_requested_at or row.ends_at or row.expires_at
        if until + SLACK > facts.now:
            continue
        what = "is not known to have ended" if row.redeemed_at is None else "has not ended"
        why = f": {truncate(row.error)}" if row.error else ""
        yield _problem(
            row,
            "not ended",
            Severity.FAILING,
            f"{_name(row)} {what} since {format_clock(until, facts.now)}{why}",
            NOT_ENDED,
        )


def _outside(facts: SupportFacts) -> Iterator[Problem]:
    for row in facts.rows:
        is_outside = facts.hours is not None and not facts.hours.include(row.issued_at)
        if is_outside and not row.is_forged and _is_recent(row.issued_at, facts):
            yield _problem(
                row,
                "outside hours",
                Severity.DEGRADED,
                f"{_name(row)} was opened at {format_clock(row.issued_at, facts.now)}, outside the "
                f"hours of support: {truncate(row.reason)}",
                OUTSIDE,
            )


def _many(facts: SupportFacts) -> Iterator[Problem]:
    by_person: dict[tuple[int, str], set[tuple[int, str]]] = defaultdict(set)
    for row in facts.rows:
        if not row.is_forged and facts.now - HOUR < row.issued_at <= facts.now:
            by_person[row.person_id, row.person].add((row.instance_id, row.tenant_id))
    for (pk, person), tenants in by_person.items():
        if len(tenants) > facts.most_tenants > 0:
            yield Problem(
                key=f"support/person/{pk}/many tenants",
                severity=Severity.DEGRADED,
                cause=MANY,
                text=f"{person} opened support sessions in {counted(len(tenants), 'tenant')} in "
                f"the last hour, more than {facts.most_tenants}",
                brief=f"a person opened support sessions in {counted(len(tenants), 'tenant')} in "
                "the last hour",
                link=Link("support"),
                tenants=len(tenants),
                people=1,
            )


def _is_news(row: SupportSession, at: datetime | None, facts: SupportFacts) -> bool:
    """Whether it happened in the last day, or was learned then: RAINBO may have been down."""
    times = (at, row.answered_at)
    return row.closed_at is None or any(_is_recent(one, facts) for one in times if one)


def _clock(at: datetime | None, facts: SupportFacts) -> str:
    return "an unknown time" if at is None else format_clock(at, facts.now)


def _is_recent(at: datetime, facts: SupportFacts) -> bool:
    return facts.now - SHOWN < at


def _name(row: SupportSession) -> str:
    return f"the support session of {row.person} in {row.tenant} on {row.instance}"


def _problem(
    row: SupportSession, kind: str, severity: Severity, words: str, cause: str = ""
) -> Problem:
    return Problem(
        key=f"support/{row.jti}/{kind}",
        severity=severity,
        cause=cause or f"support {kind}",
        text=words,
        link=Link("support session", str(row.jti)),
        affected=(str(row.instance_id),),
        tenants=1,
        unequal=severity is Severity.SUPPORT_SESSION_REUSED,
    )


Judge = Callable[[SupportFacts], Iterator[Problem]]
TIMES = ("redeemed_at", "refused_at", "end_requested_at", "answered_at", "closed_at")


def _past(judges: Sequence[Judge], since: datetime, until: datetime) -> Past:
    """Of each session alone, whenever what is wrong with it may have changed."""
    rows = _kept(since)
    sights = [
        sight
        for row in rows[:MOST_KEPT]
        for judged in judges
        for sight in _sights(judged, row, _turns(row, since, until))
    ]
    return _as_past(sights, rows, since)


def _past_of_many(since: datetime, until: datetime) -> Past:
    """Of each person, whenever a session was opened or is an hour old."""
    rows = _kept(since)
    by_person: dict[int, list[SupportSession]] = defaultdict(list)
    for row in reversed(rows[:MOST_KEPT]):
        by_person[row.person_id].append(row)
    sights: list[Sight] = []
    for of_person in by_person.values():
        opened = [row.issued_at for row in of_person]
        turns = sorted({since, *opened, *(at + HOUR for at in opened)})
        for at in (turn for turn in turns if since <= turn <= until):
            window = of_person[bisect_right(opened, at - HOUR) : bisect_right(opened, at)]
            key = f"support/person/{of_person[0].person_id}/many tenants"
            problem = next(_many(_facts(at, window)), None)
            sights.append(Sight(at, key, problem))
    return _as_past(sights, rows, since)


def _kept(since: datetime) -> list[SupportSession]:
    """The last first, and one more than are looked through, if there are more."""
    seen = Q(issued_at__gt=since - SHOWN) | Q(refused_at__gt=since - SHOWN)
    seen |= Q(answered_at__gt=since - SHOWN) | Q(closed_at__gt=since) | Q(closed_at=None)
    rows = SupportSession.objects.filter(seen).only(*READ).order_by("-issued_at")
    return list(rows[: MOST_KEPT + 1])


def _as_past(sights: list[Sight], rows: Sequence[SupportSession], since: datetime) -> Past:
    if len(rows) > MOST_KEPT:
        since = max(since, rows[MOST_KEPT].issued_at + SHOWN)
    return Past(sorted(sights, key=lambda sight: sight.at), since)


def _facts(at: datetime, rows: Iterable[SupportSession]) -> SupportFacts:
    most = settings.RAINBO_SUPPORT_TENANTS_PER_HOUR
    return SupportFacts(at, tuple(rows), expected_hours(), most)


def _turns(row: SupportSession, since: datetime, until: datetime) -> list[datetime]:
    """When what is wrong with a session may begin or end."""
    times = [row.issued_at, *filter(None, (getattr(row, name) for name in TIMES))]
    ends = filter(None, (row.end_requested_at, row.ends_at, row.expires_at))
    first = max(since, row.issued_at)
    turns = {first, *times, *(at + SHOWN for at in times), *(at + SLACK for at in ends)}
    return sorted(at for at in turns if first <= at <= until)


def _sights(judged: Judge, row: SupportSession, turns: Iterable[datetime]) -> Iterator[Sight]:
    """Those at which a problem came or went."""
    key = ""
    for at in turns:
        problem = next(judged(_facts(at, [_as_of(row, at)])), None)
        if problem:
            key = problem.key
        if key:
            yield Sight(at, key, problem)


def _as_of(row: SupportSession, at: datetime) -> SupportSession:
    """The session as it was known at that time."""
    known = copy.copy(row)
    for name in TIMES:
        when = getattr(row, name)
        if when is not None and when > at:
            setattr(known, name, None)
    known.refused = row.refused if known.refused_at else 0
    return known


PAST: Mapping[str, Callable[[datetime, datetime], Past]] = {
    FORGED: partial(_past, (_forged,)),
    Severity.SUPPORT_SESSION_REUSED.label: partial(_past, (_reused, _different)),
    NOT_ENDED: partial(_past, (_not_ended,)),
    OUTSIDE: partial(_past, (_outside,)),
    MANY: _past_of_many,
}
SUPPORT = Source(
    name="support access",
    ask=ask,
    read=read,
    judge=judge,
    permissions=("tenants.view_supportsession",),
    past=PAST,
)
