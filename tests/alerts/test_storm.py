"""All instances go down at once: what 200 of them with their syncs send to a channel."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from alerts import evaluation, outbox
from alerts.channels.result import Result
from alerts.models import Delivery, Incident
from syncs.models import Heartbeat, RunState, RunTarget, TargetState
from tenants.models import RdsInstance
from tenants.models.instance import Health
from tests.alerts.rows import HOUR, MINUTE, NOW, channel
from tests.rainbo import fleets
from tests.rows import ended_run
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
INSTANCES, MOST = 200, 3


def minute(facts: evaluation.Facts, at: Any) -> None:
    evaluation.apply(facts, at)
    outbox.gather(at)
    while delivery := outbox.claim(at):
        outbox.settle(delivery, Result(True, "answered 200"), at)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_storm_sends_three_messages_at_most() -> None:
    """By the rules in force: the health run stores all at once, syncs fail and data gets stale
    while it lasts, and it ends in two steps. An hour is evaluated each minute."""
    fleets.write(INSTANCES, 2 * INSTANCES)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=timezone.now())
    RdsInstance.objects.update(health=Health.HEALTHY)
    channel("one"), channel("other")
    healthy = evaluation.find(timezone.now())
    minute(healthy, NOW - HOUR)
    before = Delivery.objects.count()
    known = set(Incident.objects.filter(resolved_at=None).values_list("key", flat=True))

    RdsInstance.objects.update(health=Health.DOWN, last_error="refused the connection")
    down = evaluation.find(timezone.now())
    for sync in ("tenant_summaries", "ghost_users", "user_routing"):
        for _ in range(3):
            run = ended_run(sync, RunState.FAILED)
            RunTarget.objects.bulk_create(
                RunTarget(run=run, target=str(n), label=f"rds{n}", state=TargetState.FAILED)
                for n in range(1, INSTANCES + 1)
            )
    failing = evaluation.find(timezone.now())
    assert len([one for one in down.found if one.rule.name == "instance_down"]) == INSTANCES
    assert len(failing.found) > len(down.found)
    for n in range(30):
        minute(down if n < 5 else failing, NOW + n * MINUTE)
    half = RdsInstance.objects.filter(pk__lte=INSTANCES // 2)
    half.update(health=Health.HEALTHY, last_error="")
    some = evaluation.find(timezone.now())
    for n in range(30, 32):
        minute(some, NOW + n * MINUTE)
    RdsInstance.objects.update(health=Health.HEALTHY, last_error="")
    # The syncs' next runs succeed, so that what was judged at first is true again.
    for n in range(32, 60):
        minute(healthy, NOW + n * MINUTE)
    sent = Delivery.objects.order_by("created_at")[before:]
    titles = [(str(one.channel), one.content["title"]) for one in sent]
    for name in ("one", "other"):
        to = [title for channel_name, title in titles if channel_name == name]
        assert 2 <= len(to) <= MOST, to
        assert f"{INSTANCES} urgent" in to[0]
        assert "resolved" in to[-1]
    left = set(Incident.objects.filter(resolved_at=None).values_list("key", flat=True))
    assert left <= known
