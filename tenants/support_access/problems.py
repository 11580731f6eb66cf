"""What is wrong with support sessions: forged, used twice, not ended, too late, too many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q

from common.joint_query import Answers, Questions, as_model
from common.text import counted, format_clock, truncate
from syncs.status.problems import Link, Problem, Severity, Source
from tenants.models import SupportSession

SHOWN = timedelta(hours=24)  # for which what happened once is shown
HOUR = timedelta(hours=1)
SLACK = timedelta(minutes=2)  # for which a session may be ending
MOST = 50  # sessions of one kind
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
        unequal=severity is Severity.SUPPORT_SESSION_REUSED,
    )


SUPPORT = Source(
    name="support access",
    ask=ask,
    read=read,
    judge=judge,
    permissions=("tenants.view_supportsession",),
)
