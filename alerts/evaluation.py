"""Turns what is wrong now into incidents: what changed is stored, with its notices, at once.

One process evaluates at a time. Its statements are few and their number is fixed, whatever the
size of the fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from alerts import affected, routing, rules, run_facts
from alerts.channel_problems import CHANNELS
from alerts.models import (
    EVALUATION,
    Channel,
    Incident,
    IncidentEvent,
    Level,
    Mute,
    Notice,
    NoticeKind,
)
from alerts.models import Rule as StoredRule
from alerts.rules import Found, Rule, RunFacts
from common.joint_query import Answers, Questions, as_model
from common.text import truncate
from syncs import hooks
from syncs.hooks import TargetGroup
from syncs.status import problems
from syncs.status.problems import Link, Problem, Severity, Source

LOCK = 0x616C6572  # "aler": of evaluations among themselves
LONGEST_WAIT, LONGEST_STATEMENT, STOPPED = 2, 20, 60  # seconds
LET_GO = "the problem is still there, but its rule no longer takes it"
# Neither the end of a run nor the next evaluation waits for a table that others hold, and nobody
# waits for a process that was stopped in one. The time is that after the lock was granted.
_BEGIN = """
    WITH lock AS MATERIALIZED (SELECT {function}(%(lock)s) AS granted)
    SELECT granted IS NOT NULL AND granted::text <> 'false', clock_timestamp(),
           set_config('lock_timeout', %(wait)s, true),
           set_config('statement_timeout', %(longest)s, true),
           set_config('idle_in_transaction_session_timeout', %(stopped)s, true)
      FROM lock"""
FLAP = timedelta(minutes=15)  # a problem that comes back sooner is the same incident
CHANGING = (
    *(
        "rule",
        "source",
        "level",
        "rank",
        "title",
        "text",
        "brief",
        "link_kind",
        "link_key",
        "affected",
        "affected_counts",
    ),
    *(
        "seen_since",
        "opened_at",
        "gone_since",
        "resolved_at",
        "let_go",
        "reported",
        "reported_at",
        "cause",
        "flaps",
    ),
)


@dataclass(frozen=True)
class Facts:
    """found: by rules that are switched on. problems: all, which may explain others.

    muted: the keys that no message is sent about now. channels: all of them. unreported: the keys
    of problems whose rule is off, so that what they explain must be reported itself. tenants: how
    many each active instance has, by its key; None: it is not known.
    """

    found: Sequence[Found]
    problems: Sequence[Problem]
    muted: frozenset[str] = frozenset()
    channels: Sequence[Channel] = ()
    unreported: frozenset[str] = frozenset()
    tenants: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How many incidents an evaluation opened (or opened again), resolved, and left open."""

    opened: int
    resolved: int
    open: int


def evaluate(*, wait: bool = False, longest: float = LONGEST_STATEMENT) -> Outcome | None:
    """Judge what is wrong now and store what changed. None: another process does so right now.

    wait: for that process instead, so many seconds; raises OperationalError after these.
    """
    with transaction.atomic():
        now = _begin(wait, longest)
        if now is None:
            return None
        outcome = apply(find(now), now)
        hooks.note(EVALUATION, now)
        return outcome


def find(now: datetime) -> Facts:
    """What is wrong now by the rules in force."""
    facts = problems.read(now, also=[KNOWN])
    known = facts.get(KNOWN)
    judged = problems.judge(facts)
    found = rules.apply(known.rules, [*judged, *problems.watch(facts)], known.runs)
    whole = [part for problem in judged for part in problem.parts or (problem,)]
    everything = [*whole, *(one.problem for one in found)]
    unreported = frozenset(p.key for p in everything if not rules.may_explain(known.rules, p))
    return Facts(
        *(found, everything, known.muted, facts.get(CHANNELS).channels, unreported),
        tenants=problems.tenants(facts),
    )


def apply(facts: Facts, now: datetime) -> Outcome:
    """Store what follows from these facts; in a transaction, and in no other at the same time."""
    evaluation = _Evaluation.read(facts, now)
    evaluation.run()
    evaluation.write()
    return evaluation.outcome()


def _begin(wait: bool, longest: float) -> datetime | None:
    """Lock other evaluations out and return the time; None if one runs and is not waited for."""
    function = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    given: dict[str, Any] = {
        "lock": LOCK,
        "wait": f"{LONGEST_WAIT}s",
        "longest": f"{LONGEST_STATEMENT}s",
        "stopped": f"{STOPPED}s",
    }
    with connection.cursor() as cursor:
        if wait:
            cursor.execute(f"SET LOCAL lock_timeout = '{longest:g}s'")
        cursor.execute(_BEGIN.format(function=function), given)
        is_granted, now, *_ = cursor.fetchone()
        return now if is_granted else None


@dataclass(frozen=True)
class _Known:
    """What rules are applied to, apart from the problems."""

    rules: Mapping[str, Rule]
    runs: Sequence[RunFacts]
    muted: frozenset[str]

    @classmethod
    def of(cls, answers: Answers, _: datetime) -> _Known:
        return cls(
            rules=rules.in_force(as_model(StoredRule, row) for row in answers["rules"]),
            runs=run_facts.facts_in(answers["runs"]),
            muted=frozenset(row["key"] for row in answers["mutes"]),
        )


def _ask(now: datetime) -> Questions:
    fields = ("id", "name", "enabled", "level", "threshold", "hold_seconds")
    return {
        "rules": StoredRule.objects.values(*fields),
        "runs": run_facts.ask(now),
        "mutes": Mute.objects.filter(until__gt=now).values("key"),
    }


KNOWN = Source("rules", ask=_ask, read=_Known.of, judge=lambda *_: (), permissions=())


@dataclass
class _Evaluation:
    facts: Facts
    now: datetime
    open: dict[str, Incident]
    lately: dict[str, Incident]  # resolved within FLAP
    wrong: frozenset[str]  # by any rule, also by one that is off
    holds: Mapping[str, timedelta]
    waiting: dict[int, list[Notice]] = field(default_factory=dict)
    passed: list[Incident] = field(default_factory=list)
    opened: list[Incident] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)
    events: list[IncidentEvent] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    explained: set[str] = field(default_factory=set)
    before: dict[int, tuple[object, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, facts: Facts, now: datetime) -> _Evaluation:
        rows = Incident.objects.filter(Q(resolved_at=None) | Q(resolved_at__gt=now - FLAP))
        known = list(rows.order_by("resolved_at", "pk"))
        return cls(
            facts=facts,
            now=now,
            open={row.key: row for row in known if row.resolved_at is None},
            lately={row.key: row for row in known if row.resolved_at is not None},
            wrong=frozenset(problem.key for problem in facts.problems),
            holds={found.key: found.rule.hold for found in facts.found},
            before={row.pk: _state(row) for row in known},
        )

    @cached_property
    def groups(self) -> Mapping[str, TargetGroup]:
        """Read once something is reported, if a channel takes some groups only."""
        is_needed = any(map(routing.needs_groups, self.facts.channels))
        return hooks.target_groups() if is_needed else {}

    def run(self) -> None:
        for found in self.facts.found:
            self._see(found)
        self._read_waiting()
        for incident in list(self.open.values()):
            if incident.key not in self.holds:
                self._miss(incident)
        for incident in self.open.values():
            if incident.key in self.holds and incident.opened_at is not None:
                self._find_cause(incident)
                self._report(incident)

    def _see(self, found: Found) -> None:
        """Open an incident, open one again that ended lately, or keep the one that is open."""
        incident = self.open.get(found.key)
        if incident is None and (incident := self.lately.pop(found.key, None)):
            incident.resolved_at, incident.seen_since, incident.let_go = None, self.now, False
            incident.flaps += 1
            incident.reported = None
            self._note(incident, "reopened", "it came back shortly after its end")
            self.opened.append(incident)
        if incident is None:
            incident = Incident(key=found.key, since=self.now, seen_since=self.now)
        self.open[found.key] = incident
        if incident.gone_since is not None:
            incident.gone_since, incident.seen_since = None, self.now
        _copy(found, incident)
        incident.affected_counts = affected.count(found.problem, self.facts.tenants)
        incident.last_seen_at = self.now
        if incident.opened_at is None and self._lasts(incident):
            incident.opened_at = self.now
            self._note(incident, "opened", incident.text)
            self.opened.append(incident)

    def _miss(self, incident: Incident) -> None:
        """Resolve what is no longer seen, unless a cause hides it, or it keeps coming back."""
        if incident.opened_at is None:
            self.passed.append(self.open.pop(incident.key))
            return
        if rules.cause_of(_problem(incident), self.facts.problems):
            return
        incident.gone_since = min(incident.gone_since or self.now, self.now)
        if incident.flaps and self.now - incident.gone_since < FLAP:
            return
        incident.resolved_at, incident.cause = self.now, None
        incident.let_go = incident.key in self.wrong
        self._note(incident, "resolved", LET_GO if incident.let_go else "")
        self.resolved.append(self.open.pop(incident.key))
        self._report_end(incident)

    def _find_cause(self, incident: Incident) -> None:
        others = [
            problem
            for problem in self.facts.problems
            if problem.key != incident.key and problem.key not in self.facts.unreported
        ]
        explained_by = rules.cause_of(_problem(incident), others)
        cause = self.open.get(explained_by.key) if explained_by else None
        if cause and incident.cause_id is None:
            self._note(incident, "folded", f"explained by: {cause.title}")
        elif incident.cause_id and not explained_by:
            self._note(incident, "unfolded", "what explained it has ended")
        incident.cause = cause
        if explained_by:
            self.explained.add(incident.key)

    def _report(self, incident: Incident) -> None:
        """Notify the channels, if they were not notified yet, or not lately."""
        silent = self.explained | self.facts.muted
        if incident.key in silent or not self._lasts(incident):
            return
        kind = None
        if incident.reported is None:
            kind = NoticeKind.REOPENED if incident.flaps else NoticeKind.OPENED
        elif incident.level < incident.reported:
            kind = NoticeKind.WORSE
            self._note(incident, "worse", f"now {Level(incident.level).label}: {incident.text}")
        elif self._is_reminder_due(incident):
            kind = NoticeKind.REMINDER
        if kind is None:
            return
        incident.reported, incident.reported_at = (
            min(incident.level, incident.reported or 9),
            self.now,
        )
        takes_back = self._drop_waiting(incident, {NoticeKind.RESOLVED})
        for channel in self.facts.channels:
            if routing.is_for(channel, incident, self.groups) and channel.pk not in takes_back:
                self._notify(incident, channel.pk, kind)

    def _report_end(self, incident: Incident) -> None:
        """Notify the channels that got it; for the others nothing happened."""
        self._drop_waiting(incident, set(NoticeKind))
        if incident.key in self.facts.muted:
            return
        for channel in {notice.channel_id for notice in self._of(incident) if notice.delivery_id}:
            last = [n for n in self._of(incident) if n.delivery_id and n.channel_id == channel][-1]
            if last.kind != NoticeKind.RESOLVED:
                self._notify(incident, channel, NoticeKind.RESOLVED)

    def _drop_waiting(self, incident: Incident, kinds: set[NoticeKind]) -> set[UUID]:
        """Take back what was not sent yet; return the channels that it was for."""
        dropped = [n for n in self._of(incident) if not n.delivery_id and n.kind in kinds]
        self.dropped += [notice.pk for notice in dropped]
        return {notice.channel_id for notice in dropped}

    def _of(self, incident: Incident) -> list[Notice]:
        return self.waiting.get(incident.pk or 0, [])

    def _read_waiting(self) -> None:
        """The notices of incidents that end or come back now, in their order."""
        ends = [i.pk for i in self.open.values() if i.pk and i.key not in self.holds]
        back = [i.pk for i in self.open.values() if i.pk and i.flaps and i.reported is None]
        if ends or back:
            rows = Notice.objects.filter(incident__in=[*ends, *back], dropped_at=None)
            for notice in rows.order_by("pk"):
                self.waiting.setdefault(notice.incident_id, []).append(notice)

    def _lasts(self, incident: Incident) -> bool:
        if incident.seen_since > self.now:  # the clock was set back
            incident.seen_since = self.now
        return self.now - incident.seen_since >= self.holds[incident.key]

    def _is_reminder_due(self, incident: Incident) -> bool:
        interval = timedelta(hours=settings.RAINBO_ALERTS_REMINDER_HOURS)
        if not interval or incident.is_acknowledged(self.now):
            return False
        if incident.reported_at is None:
            return True
        ago = self.now - incident.reported_at
        return ago >= interval or ago <= -interval  # the clock was set back

    def _note(self, incident: Incident, kind: str, text: str = "") -> None:
        self.events.append(IncidentEvent(incident=incident, at=self.now, kind=kind, text=text))

    def _notify(self, incident: Incident, channel: UUID, kind: NoticeKind) -> None:
        self.notices.append(
            Notice(incident=incident, channel_id=channel, kind=kind, created_at=self.now)
        )

    def write(self) -> None:
        """Store what changed: a statement for each table."""
        known = [*self.open.values(), *self.resolved]
        kept = [row for row in known if row.pk is not None]
        new = [row for row in known if row.pk is None]
        while new:  # first those without a cause, or with one that has its row
            ready = [row for row in new if row.cause is None or row.cause.pk]
            Incident.objects.bulk_create(ready)
            new = [row for row in new if row.pk is None]
            for row in new:
                row.cause = row.cause  # its id is known only now
        if changed := [row for row in kept if self.before[row.pk] != _state(row)]:
            Incident.objects.bulk_update(changed, CHANGING)
        if seen := [row.pk for row in self.open.values() if row.key in self.holds]:
            Incident.objects.filter(pk__in=seen).update(last_seen_at=self.now)
        if self.passed:
            Incident.objects.filter(pk__in=[row.pk for row in self.passed]).delete()
        if self.dropped:
            Notice.objects.filter(pk__in=self.dropped).update(dropped_at=self.now)
        IncidentEvent.objects.bulk_create(self.events)
        Notice.objects.bulk_create(self.notices)

    def outcome(self) -> Outcome:
        still_open = sum(incident.opened_at is not None for incident in self.open.values())
        return Outcome(len(self.opened), len(self.resolved), still_open)


def _copy(found: Found, incident: Incident) -> None:
    problem, rule = found.problem, found.rule
    incident.rule, incident.level, incident.title = rule.name, rule.level, rule.title
    incident.rank, incident.source = problem.severity, problem.source
    incident.text, incident.brief = problem.text, problem.brief or problem.text
    incident.link_kind, incident.link_key = problem.link.kind, problem.link.key
    incident.affected = [*problem.affected]


def _problem(incident: Incident) -> Problem:
    """The problem as it was last seen."""
    return Problem(
        key=incident.key,
        severity=Severity(incident.rank),
        cause=incident.title,
        text=truncate(incident.text),
        link=Link(incident.link_kind, incident.link_key),
        affected=tuple(incident.affected),
    )


def _state(incident: Incident) -> tuple[object, ...]:
    values: Iterable[object] = (
        getattr(incident, f"{name}_id" if name == "cause" else name) for name in CHANGING
    )
    return tuple([*value] if isinstance(value, list) else value for value in values)
