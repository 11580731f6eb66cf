"""Each rule one below, at and one above its edge, by the rows that the real sources read.

A case is a generator: it writes what is so at -1, 0 or 1 from the edge, yields the time to judge
at, and then writes what ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, time, timedelta
from typing import Any

import pytest
from django.db import transaction

from alerts import evaluation
from alerts.models import Incident, IncidentEvent, Rule
from alerts.rules import RULES
from api import tokens
from api.models import ApiToken
from common import clock
from integrations.models import Connection
from syncs.models import (
    Confirmation,
    Heartbeat,
    RunState,
    SyncRun,
    SyncSchedule,
    TargetState,
    Trigger,
)
from syncs.status import queries
from tenants.models import GhostUser, InstanceCheck, RdsInstance, SupportSession
from tenants.models.ghost import GhostState
from tenants.models.instance import Health
from tests.alerts.rows import HOUR, MINUTE, SECOND, channel
from tests.integrations import rows as connections
from tests.rainbo import fleets
from tests.rows import ended_run, run_part, support_session
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
DAY = 24 * HOUR
BELOW, AT, ABOVE = -1, 0, 1
STEPS = (BELOW, AT, ABOVE)
Course = Iterator[datetime]
Case = Callable[[int, datetime], Course]
CASES: dict[str, tuple[Case, tuple[bool, bool, bool]]] = {}


def case(rule: str, *fires: bool) -> Callable[[Case], Case]:
    """fires: whether the rule does below, at and above its edge."""

    def keep(function: Case) -> Case:
        CASES[rule] = (function, (fires[0], fires[1], fires[2]))
        return function

    return keep


def down(*numbers: int, health: Health = Health.DOWN) -> None:
    RdsInstance.objects.filter(pk__in=numbers).update(health=health, last_error="no answer")


def well() -> None:
    RdsInstance.objects.update(health=Health.HEALTHY, last_error="", replica_lag_s=None)


def closed(now: datetime, **fields: Any) -> SupportSession:
    """A session that has ended."""
    times = {"issued_at": now - 30 * MINUTE, "closed_at": now - MINUTE}
    return support_session(**times | fields)


def a_day_later(now: datetime) -> datetime:
    """What happened once is shown for a day. The others report meanwhile."""
    Heartbeat.objects.update(at=now)
    return now + DAY


@case("leaver", False, False, True)
def leaver(step: int, now: datetime) -> Course:
    GhostUser.objects.create(
        admin_id=990,
        instance_id=3,
        wanted=GhostState.INACTIVE,
        confirmed=GhostState.ACTIVE,
        owed_since=now - 2 * MINUTE - step * SECOND,
    )
    yield now
    GhostUser.objects.update(confirmed=GhostState.ABSENT)
    yield now


@case("support_forged", False, True, True)
def support_forged(step: int, now: datetime) -> Course:
    for number in range(2):
        closed(now, tenant_id=str(number), is_forged=number <= step)
    yield now
    SupportSession.objects.update(issued_at=now - DAY)
    yield now


@case("support_reused", False, True, True)
def support_reused(step: int, now: datetime) -> Course:
    closed(now, redeemed_at=now - HOUR, refused=step + 1, refused_at=now - MINUTE)
    yield now
    yield a_day_later(now)


@case("support_not_ended", False, True, True)
def support_not_ended(step: int, now: datetime) -> Course:
    until = now - 2 * MINUTE - step * SECOND
    support_session(issued_at=now - HOUR, redeemed_at=now - HOUR, ends_at=until)
    yield now
    SupportSession.objects.update(closed_at=now)
    yield now


@case("support_many_tenants", False, False, True)
def support_many_tenants(step: int, now: datetime) -> Course:
    """10 tenants an hour by default."""
    for number in range(10 + step):
        closed(now, tenant_id=str(number))
    yield now
    yield now + 31 * MINUTE


@case("support_outside_hours", False, True, True)
def support_outside_hours(step: int, now: datetime) -> Course:
    """Until 18:00 on each day."""
    at = datetime.combine((now - DAY).date(), time(18), now.tzinfo) + step * SECOND
    closed(now, issued_at=at)
    yield at + MINUTE
    yield at + DAY


@case("workers_dead", False, False, True)
def workers_dead(step: int, now: datetime) -> Course:
    Heartbeat.objects.update(at=now - 3 * MINUTE - step * SECOND)
    yield now
    Heartbeat.objects.update(at=now)
    yield now


@case("queue_stalled", False, False, True)
def queue_stalled(step: int, now: datetime) -> Course:
    since = now - 5 * MINUTE - step * SECOND
    known: dict[str, Any] = {"state": RunState.QUEUED, "trigger": Trigger.SCHEDULE}
    run = SyncRun.objects.create(sync="tenant_summaries", **known)
    SyncRun.objects.filter(pk=run.pk).update(created_at=since, not_before=since)
    yield now
    SyncRun.objects.filter(pk=run.pk).update(state=RunState.CANCELLED, finished_at=now)
    yield now


@case("no_master", False, True, True)
def no_master(step: int, now: datetime) -> Course:
    """One route is enough that something is no longer refreshed."""
    Confirmation.objects.filter(sync="user_routing").update(rows=1 + step)
    RdsInstance.objects.update(is_master=False)
    yield now
    RdsInstance.objects.filter(pk=1).update(is_master=True)
    yield now


@case("instance_down", False, True, True)
def instance_down(step: int, now: datetime) -> Course:
    down(2)
    minute = now.replace(second=0, microsecond=0)
    InstanceCheck.objects.filter(instance=2, minute__gt=minute - (2 + step) * MINUTE).update(
        health=Health.DOWN
    )
    since = now - (2 + step) * MINUTE
    Confirmation.objects.filter(sync="instance_health", target="2").update(at=since)
    yield now
    well()
    yield now


@case("credentials_refused", False, True, True)
def credentials_refused(step: int, now: datetime) -> Course:
    down(*range(2, 3 + step), health=Health.REFUSED)
    yield now
    well()
    yield now


@case("degraded", False, True, True)
def degraded(step: int, now: datetime) -> Course:
    down(*range(2, 3 + step), health=Health.DEGRADED)
    yield now
    well()
    yield now


@case("replica_lag", False, False, True)
def replica_lag(step: int, now: datetime) -> Course:
    RdsInstance.objects.filter(pk=2).update(is_replica=True, replica_lag_s=300 + 0.1 * step)
    yield now
    RdsInstance.objects.update(replica_lag_s=2)
    yield now


@case("certificate_ends", True, True, False)
def certificate_ends(step: int, now: datetime) -> Course:
    RdsInstance.objects.filter(pk=2).update(certificate_ends_at=now + 21 * DAY + step * SECOND)
    yield now
    RdsInstance.objects.update(certificate_ends_at=now + 90 * DAY)
    yield now


@case("token_ends", True, True, False)
def token_ends(step: int, now: datetime) -> Course:
    tokens.create("ci", ["syncs:read"], "ann", expires_at=now + 30 * DAY)
    ApiToken.objects.update(expires_at=now + 14 * DAY + step * SECOND)
    yield now
    ApiToken.objects.update(revoked_at=now)
    yield now


@case("held", False, True, True)
def held(step: int, now: datetime) -> Course:
    for number in range(1 + step):
        run = ended_run("tenant_summaries", RunState.PARTIAL, now=now, ago=MINUTE)
        run_part(run, str(2 + number), state=TargetState.HELD, note="25 of 100 rows removed")
    yield now
    run = ended_run("tenant_summaries", now=now, ago=SECOND)
    for number in (2, 3):
        run_part(run, str(number))
    yield now


def overdue(step: int, now: datetime, name: str) -> Course:
    """The schedule, the usual length of a run and the grace say when; the rows, since when."""
    confirmed = Confirmation.objects.filter(sync="tenant_summaries")
    confirmed.update(at=now - 5 * HOUR)
    status = next(s for s in queries.status(now).syncs if s.name == "tenant_summaries")
    edge = getattr(status.targets[0].freshness, name)
    Heartbeat.objects.update(at=edge)
    yield edge + step * SECOND
    confirmed.update(at=edge)
    yield edge


@case("late", False, False, True)
def late(step: int, now: datetime) -> Course:
    yield from overdue(step, now, "late_at")


@case("stale", False, False, True)
def stale(step: int, now: datetime) -> Course:
    yield from overdue(step, now, "stale_at")


@case("unknown", False, True, True)
def unknown(step: int, now: datetime) -> Course:
    missing = Confirmation.objects.filter(
        sync="tenant_summaries", target__in=[str(2 + n) for n in range(1 + step)]
    )
    missing.delete()
    yield now
    for number in (2, 3):
        kept = {"at": now - MINUTE, "rows": 24}
        Confirmation.objects.update_or_create(
            sync="tenant_summaries", target=str(number), defaults=kept
        )
    yield now


@case("paused", False, True, True)
def paused(step: int, now: datetime) -> Course:
    """Until a time that has not come yet."""
    until = [now - SECOND, now + SECOND, now + HOUR][step + 1]
    SyncSchedule.objects.filter(sync="ghost_users").update(
        paused_until=until, pause_reason="moving"
    )
    yield now
    SyncSchedule.objects.update(paused_until=None)
    yield now


def fail(count: int, now: datetime, sync: str = "tenant_summaries") -> None:
    for number in range(count):
        ended_run(sync, RunState.FAILED, now=now, ago=(count - number) * SECOND, error="no")


@case("failing", False, True, True)
def failing(step: int, now: datetime) -> Course:
    fail(1 + step, now)
    yield now
    ended_run("tenant_summaries", now=now, ago=timedelta())
    yield now


@case("failures_in_a_row", False, True, True)
def failures_in_a_row(step: int, now: datetime) -> Course:
    fail(3 + step, now)
    yield now
    ended_run("tenant_summaries", now=now, ago=timedelta())
    yield now


@case("failure_rate", False, False, True)
def failure_rate(step: int, now: datetime) -> Course:
    """50 % of ten, and one of them more or less."""
    for _ in range(5 - step):
        ended_run("tenant_summaries", now=now, ago=MINUTE)
    fail(5 + step, now)
    yield now
    for _ in range(5):
        ended_run("tenant_summaries", now=now, ago=timedelta())
    yield now


@case("slow", False, False, True)
def slow(step: int, now: datetime) -> Course:
    for seconds in (100, 500 + 0.2 * step):
        ended_run("tenant_summaries", now=now, seconds=seconds)
    yield now
    ended_run("tenant_summaries", now=now, seconds=1)
    yield now


@case("missed", False, True, True)
def missed(step: int, now: datetime) -> Course:
    known: dict[str, Any] = {"error": "missed: nothing ran it in time", "seconds": 0.0}
    for number in range(3 + step):
        ago = (5 + number) * MINUTE
        ended_run("tenant_summaries", RunState.SKIPPED, now=now, ago=ago, slot=now - ago, **known)
    yield now
    SyncRun.objects.filter(state=RunState.SKIPPED).update(finished_at=now - HOUR)
    yield now


@case("reconnect", False, True, True)
def reconnect(step: int, now: datetime) -> Course:
    for number in range(2):
        since = now if number <= step else None
        connections.connection(name=f"mine {number}", reconnect_since=since, last_error="revoked")
    yield now
    Connection.objects.update(reconnect_since=None)
    yield now


@case("channel_failing", False, True, True)
def channel_failing(step: int, now: datetime) -> Course:
    for number in range(2):
        since = now if number <= step else None
        channel(f"ops {number}", failing_since=since, last_error="answered 500" if since else "")
    yield now
    type(channel("another")).objects.update(failing_since=None, last_error="")
    yield now


@pytest.fixture
def now(settings: Any) -> datetime:
    """All is well: three instances, workers, schedules. No rule waits."""
    settings.RAINBO_SUPPORT_HOURS = (frozenset(range(7)), time(0), time(18))
    settings.RAINBO_TIME_ZONE = "UTC"
    fleets.write(3, 0)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=clock.database_now())
    Rule.objects.update(enabled=True, hold_seconds=0)
    return clock.database_now()


def test_the_table_has_every_rule_and_without_a_fault_none_fires(now: datetime) -> None:
    assert set(CASES) == set(RULES)
    assert evaluation.find(now).found == []


@pytest.mark.parametrize("name", CASES)
def test_a_rule_fires_from_its_edge_on_and_its_incident_ends_with_it(
    name: str, now: datetime
) -> None:
    course, fires = CASES[name]
    found = {}
    for step in STEPS:
        with transaction.atomic():
            at = next(course(step, now))
            found[step] = name in {one.rule.name for one in evaluation.find(at).found}
            transaction.set_rollback(True)
    assert found == dict(zip(STEPS, fires, strict=True))
    steps = course(ABOVE if fires[ABOVE + 1] else BELOW, now)
    at = next(steps)
    evaluation.apply(evaluation.find(at), at)
    known = Incident.objects.filter(rule=name)
    assert known.exclude(opened_at=None).filter(resolved_at=None).exists()
    count = known.count()
    over = next(steps)
    assert name not in {one.rule.name for one in evaluation.find(over).found}
    for minutes in (1, 2):
        evaluation.apply(evaluation.find(over), over + minutes * MINUTE)
    assert not known.filter(resolved_at=None).exists()
    ends = IncidentEvent.objects.filter(incident__rule=name, kind="resolved", text="")
    assert ends.count() == known.count() == count
