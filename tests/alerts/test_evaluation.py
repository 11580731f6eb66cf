"""From what is wrong to incidents and notices, with every time given."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts import actions, evaluation, messages
from alerts.models import Delivery, Incident, IncidentEvent, Level, Mute, Notice
from alerts.rules import BY_SEVERITY, OF_RUNS, RULES, Edge
from syncs.status.problems import Link, Problem, Severity
from tests.alerts.rows import HOUR, MINUTE, NOW, SECOND, channel, facts, incident, problem, see
from tests.rows import instance_row

pytestmark = pytest.mark.django_db
DOWN = problem()
WORKERS = problem("workers", Severity.WORKERS_DEAD, ())
STALE = problem("sync/user_routing/overdue", Severity.STALE, ("1", "2"))
LATE = problem("sync/user_routing/overdue", Severity.LATE, ("1", "2"))


def notices() -> list[tuple[str, str]]:
    """Those that were not taken back: (key, kind)."""
    rows = Notice.objects.filter(dropped_at=None).order_by("pk")
    return list(rows.values_list("incident__key", "kind"))


def deliver() -> None:
    """As if all that waits were sent."""
    waiting = Notice.objects.filter(delivery=None, dropped_at=None)
    for one in waiting.values_list("channel", flat=True).distinct():
        made = Delivery.objects.create(
            channel_id=one, content={"incidents": []}, created_at=NOW, not_before=NOW, sent_at=NOW
        )
        waiting.filter(channel=one).update(delivery=made)


def events(key: str) -> list[str]:
    return list(IncidentEvent.objects.filter(incident__key=key).values_list("kind", flat=True))


def test_a_problem_opens_one_incident_and_its_end_resolves_it() -> None:
    channel()
    assert see(DOWN).opened == 1
    assert see(DOWN, at=NOW + MINUTE).opened == 0
    deliver()
    assert see(at=NOW + 2 * MINUTE).resolved == 1
    row = Incident.objects.get()
    assert (row.since, row.last_seen_at, row.resolved_at) == (
        NOW,
        NOW + MINUTE,
        NOW + 2 * MINUTE,
    )
    assert notices() == [(DOWN.key, "opened"), (DOWN.key, "resolved")]
    assert events(DOWN.key) == ["opened", "resolved"]


def test_of_a_key_one_incident_at_most_is_open() -> None:
    first = incident()
    first.pk = None
    with pytest.raises(IntegrityError, match="one_open_incident_per_key"), transaction.atomic():
        first.save(force_insert=True)


@pytest.mark.parametrize(("seconds", "opens"), [(59, False), (60, True), (61, True)])
def test_a_problem_must_last_as_long_as_its_rule_says(seconds: int, opens: bool) -> None:
    channel()
    see(DOWN, hold=MINUTE)
    see(DOWN, at=NOW + seconds * SECOND, hold=MINUTE)
    assert (Incident.objects.get().opened_at is not None) is opens
    assert bool(notices()) is opens


@pytest.mark.parametrize("after", [-SECOND, timedelta(), SECOND])
@pytest.mark.parametrize("name", [name for name in RULES if name not in OF_RUNS])
def test_each_rule_waits_as_long_as_its_default_says(name: str, after: timedelta) -> None:
    """And what it opened is resolved, once. Rules of runs are in test_rules."""
    rule = RULES[name]
    severity = next((s for s, named in BY_SEVERITY.items() if named == name), Severity.DEGRADED)
    measure = rule.threshold and rule.threshold + (rule.edge is Edge.ABOVE)
    one = problem(f"x/{name}", severity, (), cause=rule.cause or "it broke", measure=measure)
    opens = rule.enabled and (after >= timedelta() or not rule.hold)
    see(one, hold=None)
    see(one, at=NOW + rule.hold + after, hold=None)
    found = Incident.objects.filter(opened_at__isnull=False)
    assert [row.rule for row in found] == ([name] if opens else [])
    over = NOW + rule.hold + MINUTE
    assert see(at=over, hold=None).resolved == len(found)
    assert see(at=over + MINUTE, hold=None).resolved == 0
    assert not Incident.objects.filter(resolved_at=None).exists()


def test_what_was_muted_before_it_was_sent_is_reported_when_the_mute_has_ended() -> None:
    channel()
    row = incident()
    actions.mute(row.pk, "ann", timezone.now() + HOUR, "moving")
    assert notices() == []
    Mute.objects.all().delete()
    see(DOWN, at=NOW + MINUTE)
    assert notices() == [(DOWN.key, "opened")]
    deliver()
    actions.mute(row.pk, "ann", timezone.now() + HOUR, "moving")
    Mute.objects.all().delete()
    see(DOWN, at=NOW + 2 * MINUTE)
    assert notices() == [(DOWN.key, "opened")], "a reminder comes later"


def test_what_passes_before_that_never_was_an_incident() -> None:
    channel()
    see(DOWN, hold=MINUTE)
    see(at=NOW + 30 * SECOND, hold=MINUTE)
    assert not Incident.objects.exists()
    see(DOWN, at=NOW + MINUTE, hold=MINUTE)
    assert not notices()


def test_what_its_rule_no_longer_takes_is_not_called_resolved() -> None:
    channel()
    see(DOWN)
    deliver()
    off = facts(DOWN)
    evaluation.apply(replace(off, found=[]), NOW + MINUTE)
    row = Incident.objects.get()
    assert (row.let_go, row.resolved_at) == (True, NOW + MINUTE)
    notice = Notice.objects.get(kind="resolved")
    found = messages.compose([notice], NOW + MINUTE, personal_data=False)
    text = messages.as_text(found)
    assert found["title"] == "RAINBO: An instance is down (no longer reported)"
    assert "It is still there, but its rule was switched off or changed." in text
    assert "RESOLVED" not in text
    see(DOWN, at=NOW + 2 * MINUTE)
    row.refresh_from_db()
    assert (row.let_go, row.resolved_at) == (False, None)
    see(at=NOW + 3 * MINUTE)
    see(at=NOW + 20 * MINUTE)
    row.refresh_from_db()
    assert (row.let_go, row.resolved_at) == (False, NOW + 20 * MINUTE)


def test_what_ends_before_it_was_sent_is_not_sent() -> None:
    channel()
    see(DOWN)
    see(at=NOW + MINUTE)
    assert notices() == []


def test_a_reminder_comes_after_hours_unless_somebody_takes_it_up(settings: Any) -> None:
    channel()
    see(DOWN)
    see(DOWN, at=NOW + 4 * HOUR - SECOND)
    assert len(notices()) == 1
    see(DOWN, at=NOW + 4 * HOUR)
    see(DOWN, at=NOW + 5 * HOUR)
    assert notices()[1:] == [(DOWN.key, "reminder")]
    Incident.objects.update(acknowledged_at=NOW)
    see(DOWN, at=NOW + 9 * HOUR)
    assert len(notices()) == 2
    Incident.objects.update(acknowledged_until=NOW + 9 * HOUR)
    see(DOWN, at=NOW + 9 * HOUR)
    assert len(notices()) == 3
    settings.RAINBO_ALERTS_REMINDER_HOURS = 0
    see(DOWN, at=NOW + 90 * HOUR)
    assert len(notices()) == 3


def test_late_becomes_stale_is_one_incident_that_got_worse() -> None:
    channel()
    see(LATE)
    see(STALE, at=NOW + MINUTE)
    see(LATE, at=NOW + 2 * MINUTE)
    see(STALE, at=NOW + 3 * MINUTE)
    assert notices() == [(LATE.key, "opened"), (LATE.key, "worse")]
    assert Incident.objects.get().rule == "stale"


@pytest.mark.parametrize(
    ("ago", "same"), [(15 * MINUTE - SECOND, True), (15 * MINUTE, False), (HOUR, False)]
)
def test_what_comes_back_soon_is_the_same_incident(ago: timedelta, same: bool) -> None:
    channel()
    see(DOWN)
    deliver()
    see(at=NOW + MINUTE)
    deliver()
    see(DOWN, at=NOW + MINUTE + ago)
    assert Incident.objects.count() == (1 if same else 2)
    assert notices()[-1] == (DOWN.key, "reopened" if same else "opened")


def test_what_flaps_is_resolved_only_after_a_quiet_quarter_of_an_hour() -> None:
    channel()
    at = NOW
    for _ in range(10):
        see(DOWN, at=at)
        deliver()
        see(at=at + MINUTE)
        deliver()
        at += 2 * MINUTE
    kinds = [kind for _, kind in notices()]
    assert kinds == ["opened", "resolved", "reopened"]
    see(at=at + 13 * MINUTE)
    assert len(notices()) == 3
    assert see(at=at + 15 * MINUTE).resolved == 1
    assert notices()[-1] == (DOWN.key, "resolved")


def test_an_end_that_was_not_sent_yet_is_taken_back_with_the_return() -> None:
    channel()
    see(DOWN)
    deliver()
    see(at=NOW + MINUTE)
    see(DOWN, at=NOW + 2 * MINUTE)
    assert notices() == [(DOWN.key, "opened")]


def test_a_return_that_was_never_sent_has_no_end() -> None:
    channel()
    see(DOWN)
    deliver()
    see(at=NOW + MINUTE)
    deliver()
    see(DOWN, at=NOW + 2 * MINUTE)
    see(at=NOW + 3 * MINUTE)
    see(at=NOW + 30 * MINUTE)
    assert [kind for _, kind in notices()] == ["opened", "resolved"]


def test_ten_stale_syncs_under_dead_workers_are_one_message() -> None:
    channel()
    stale = [problem(f"sync/sync_{n}/overdue", Severity.STALE, ("1",)) for n in range(10)]
    see(WORKERS, *stale)
    assert notices() == [("workers", "opened")]
    assert Incident.objects.filter(cause__key="workers").count() == 10


def test_a_symptom_is_told_once_its_cause_is_over_and_it_is_not() -> None:
    channel()
    see(WORKERS, STALE)
    deliver()
    see(STALE, at=NOW + MINUTE)
    assert notices() == [
        ("workers", "opened"),
        ("workers", "resolved"),
        (STALE.key, "opened"),
    ]
    assert events(STALE.key) == ["opened", "folded", "unfolded"]


def test_a_symptom_that_its_cause_hides_is_not_resolved() -> None:
    """What is wrong names the cause instead of it."""
    channel()
    see(STALE)
    deliver()
    see(WORKERS, at=NOW + MINUTE)
    assert notices() == [(STALE.key, "opened"), ("workers", "opened")]
    assert Incident.objects.get(key=STALE.key).is_open
    deliver()
    see(at=NOW + 2 * MINUTE)
    assert {kind for key, kind in notices() if key == STALE.key} == {"opened", "resolved"}


def test_a_muted_key_is_silent_until_the_mute_ends() -> None:
    channel()
    Mute.objects.create(key=DOWN.key, until=NOW + HOUR, reason="moving", by="ann")
    see(DOWN)
    see(at=NOW + MINUTE)
    see(DOWN, at=NOW + 30 * MINUTE)
    assert notices() == []
    see(DOWN, at=NOW + HOUR)
    assert notices() == [(DOWN.key, "opened")]


def test_the_end_of_a_muted_incident_is_not_told() -> None:
    channel()
    see(DOWN)
    deliver()
    Mute.objects.create(key=DOWN.key, until=NOW + HOUR, reason="moving", by="ann")
    see(at=NOW + MINUTE)
    assert notices() == [(DOWN.key, "opened")]


@pytest.mark.parametrize(
    ("fields", "reported"),
    [
        ({}, True),
        ({"level": Level.URGENT}, False),
        ({"level": Level.WARNING}, True),
        ({"syncs": ["user_routing"]}, True),
        ({"syncs": ["ghost_users"]}, False),
        ({"instances": [2, 9]}, True),
        ({"instances": [9]}, False),
        ({"enabled": False}, False),
        ({"gone_at": NOW}, False),
    ],
)
def test_a_channel_takes_what_it_is_for(fields: dict[str, Any], reported: bool) -> None:
    channel(**fields)
    see(STALE)
    assert bool(notices()) is reported


@pytest.mark.parametrize(
    ("fields", "reported"),
    [
        ({"groups": ["eu"]}, True),
        ({"groups": ["eu", "us"]}, True),
        ({"groups": ["us"]}, False),
        ({"labels": ["gold", "other"]}, True),
        ({"labels": ["other"]}, False),
        ({"groups": ["eu"], "labels": ["gold"]}, True),
        ({"groups": ["eu"], "labels": ["iron"]}, False),  # one of each, of two instances
        ({"groups": ["eu"], "instances": [3]}, False),
        ({"labels": ["iron"], "instances": [3]}, True),
    ],
)
def test_a_channel_takes_what_is_about_its_group_or_label(
    fields: dict[str, Any], reported: bool
) -> None:
    instance_row(2, group="eu", labels=["gold"])
    instance_row(3, labels=["iron", "lead"])
    instance_row(4)
    channel(**fields)
    with CaptureQueriesContext(connection) as captured:
        see(problem("sync/user_routing/failing", Severity.FAILING, ("2", "3", "4")))
    assert bool(notices()) is reported
    assert sum("rds_instances" in query["sql"] for query in captured) == 1


def test_what_is_about_connections_is_about_no_instance() -> None:
    channel(instances=[9], groups=["eu"])
    see(problem("connections/github/reconnect", Severity.RECONNECT_NEEDED, ("connection/17",)))
    assert notices() == [("connections/github/reconnect", "opened")]


def test_what_is_about_no_sync_is_for_all_channels() -> None:
    channel(syncs=["ghost_users"], instances=[9])
    see(WORKERS)
    assert notices() == [("workers", "opened")]


def test_a_failing_channel_is_told_on_the_others() -> None:
    broken, other = channel("broken"), channel("other")
    key = f"channel/{broken.pk}"
    see(problem(key, Severity.CHANNEL_FAILING, (), link=Link("channel", str(broken.pk))))
    assert [notice.channel for notice in Notice.objects.all()] == [other]


def test_the_evaluation_asks_little_and_the_same_of_a_large_fleet() -> None:
    channel()

    def down(count: int) -> list[Problem]:
        return [problem(f"instance/{n}/down", affected=(str(n),)) for n in range(count)]

    counts = []
    for count in (3, 200):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            see(*down(count), at=NOW + count * MINUTE)
        counts.append(len(captured))
    assert counts[1] <= counts[0] + 1
    assert max(counts) <= 8


def test_facts_of_the_real_sources_are_judged() -> None:
    outcome = evaluation.evaluate(wait=True)
    assert outcome is not None
    assert set(Incident.objects.values_list("rule", flat=True)) <= {"workers_dead", "unknown"}


@pytest.mark.django_db(transaction=True)
def test_two_evaluations_never_run_at_the_same_time() -> None:
    """The other waits if it is asked to, and else leaves it to the first."""
    with connection.copy().cursor() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [evaluation.LOCK])
        assert evaluation.evaluate() is None
        other.execute("SELECT pg_advisory_unlock(%s)", [evaluation.LOCK])
        assert evaluation.evaluate() is not None
        other.connection.close()


def test_acknowledged_stays_acknowledged_while_it_flaps() -> None:
    row = incident()
    actions.acknowledge(row.pk, "ann")
    see(at=NOW + MINUTE)
    see(DOWN, at=NOW + 2 * MINUTE)
    row.refresh_from_db()
    assert row.is_acknowledged(NOW + 3 * MINUTE)
