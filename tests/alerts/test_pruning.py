"""What is over is deleted some time later, and nothing that is needed still."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from alerts import outbox
from alerts.channels.result import Result
from alerts.models import Delivery, Incident, IncidentEvent, Mute, Notice
from syncs.engine import pruning
from tests.alerts.rows import MINUTE, NOW, SECOND, channel, problem, see

pytestmark = pytest.mark.django_db
DOWN = problem()
DAY = timedelta(days=1)
LATER = NOW + 30 * DAY + SECOND


def send(at: Any) -> list[str]:
    outbox.gather(at)
    titles = []
    while delivery := outbox.claim(at):
        titles.append(delivery.content["title"])
        outbox.settle(delivery, Result(True, "answered 200"), at)
    return titles


def test_old_messages_are_deleted_and_incidents_stay() -> None:
    channel()
    see(DOWN)
    send(NOW)
    Incident.objects.update(resolved_at=NOW)
    pruning.prune(LATER - SECOND, None)
    assert Delivery.objects.count() == 1
    pruning.prune(LATER, None)
    assert (Delivery.objects.count(), Notice.objects.count()) == (0, 0)
    assert Incident.objects.count() == 1


def test_the_end_of_an_incident_is_sent_however_long_it_was_open() -> None:
    """Its last message is kept for that, and no other."""
    channel(), channel("other")
    see(DOWN)
    send(NOW)
    see(DOWN, at=NOW + 5 * 60 * MINUTE)
    assert len(send(NOW + 5 * 60 * MINUTE)) == 2, "a reminder"
    pruning.prune(NOW + 400 * DAY, None)
    assert Notice.objects.count() == Delivery.objects.count() == 2
    see(at=NOW + 400 * DAY)
    assert send(NOW + 400 * DAY + MINUTE) == ["RAINBO: An instance is down (resolved)"] * 2
    pruning.prune(NOW + 500 * DAY, None)
    assert Delivery.objects.count() == 0


def test_old_notices_that_were_taken_back_and_mutes_are_deleted_too() -> None:
    channel()
    see(DOWN)
    see(at=NOW)
    Mute.objects.create(key=DOWN.key, until=NOW, reason="moving", by="ann")
    pruning.prune(LATER - SECOND, None)
    assert (Notice.objects.count(), Mute.objects.count()) == (1, 1)
    pruning.prune(LATER, None)
    assert (Notice.objects.count(), Mute.objects.count()) == (0, 0)


def test_incidents_and_timelines_have_a_retention_of_their_own(
    settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.RAINBO_INCIDENT_RETENTION_DAYS = 30
    now = timezone.now()
    over, lately, still = (problem(f"instance/{n}/down", affected=(str(n),)) for n in (1, 2, 3))
    see(over, lately, still, at=now - 40 * DAY)
    see(lately, still, at=now - 31 * DAY)
    see(still, at=now - 29 * DAY)
    call_command("prune_runs", "--older-than=1000")
    assert "incidents 1, timelines 2" in capsys.readouterr().out
    keys = set(Incident.objects.values_list("key", flat=True))
    assert keys == {lately.key, still.key}, "the open one stays"
    assert [(e.incident.key, e.kind) for e in IncidentEvent.objects.all()] == [
        (lately.key, "resolved")
    ]
    settings.RAINBO_INCIDENT_RETENTION_DAYS = 0
    Incident.objects.update(resolved_at=now - 4_000 * DAY)
    call_command("prune_runs", "--older-than=1000")
    assert Incident.objects.count() == 2
