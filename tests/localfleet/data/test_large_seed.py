"""The made-up fleet of the demo contradicts itself nowhere."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone

from localfleet.data import large_seed
from syncs.models import Confirmation, HeldChange, RunTarget, SyncSchedule, TargetState
from syncs.status import problems
from syncs.status.problems import Severity
from tenants.models import InstanceCheck, RdsInstance
from tenants.models.instance import Health
from tests.caches import query
from tests.rows import instance_row
from tests.seeds import SMALL
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
FIRST = 4  # after the servers that the demo has


@pytest.fixture(autouse=True)
def filled() -> None:
    """As `make demo SEED=big` adds it to three real instances, of which the first is the master."""
    for number in (1, 2, 3):
        instance_row(number, is_master=number == 1, health="healthy", last_check_at=timezone.now())
    default_schedules()
    with transaction.atomic():
        connection.ensure_connection()
        own = cast("psycopg.Connection", connection.connection)
        large_seed.fill(own, timezone.now(), SMALL, FIRST)
        own.execute(large_seed.PAUSE, [timezone.now(), large_seed.REASON])


def test_routes_are_held_at_the_master() -> None:
    assert set(RunTarget.objects.filter(run__sync="user_routing").values_list("target")) == {("1",)}
    assert set(HeldChange.objects.values_list("target")) == {("1",)}
    assert set(Confirmation.objects.filter(sync="user_routing").values_list("target")) == {("1",)}


def test_nothing_succeeded_on_an_instance_while_it_was_down() -> None:
    down = list(RdsInstance.objects.filter(health=Health.DOWN))
    assert down
    for instance in down:
        checks = InstanceCheck.objects.filter(instance=instance, health=Health.DOWN)
        since = checks.earliest("minute").minute + timedelta(minutes=1)
        parts = RunTarget.objects.filter(target=str(instance.pk), run__started_at__gt=since)
        assert parts.filter(run__sync="tenant_summaries").exists()
        assert not parts.filter(state=TargetState.SUCCEEDED).exists()
        assert not Confirmation.objects.filter(target=str(instance.pk), at__gt=since).exists()
        confirmed = Confirmation.objects.get(target=str(instance.pk), sync="tenant_summaries").at
        (seen,) = query(
            "SELECT max(cache_refreshed_at) FROM tenant_master WHERE instance_id = %s", instance.pk
        )
        assert abs(seen[0] - confirmed) < timedelta(minutes=1)


def test_what_is_healthy_was_confirmed_by_the_last_run() -> None:
    of = Confirmation.objects.filter(sync="tenant_summaries", target=str(FIRST))
    assert timezone.now() - of.get().at < timedelta(minutes=10)


def test_pauses_last_for_days() -> None:
    ends = SyncSchedule.objects.values_list("paused_until", flat=True)
    assert all(at is not None and at - timezone.now() < timedelta(days=15) for at in ends)


def test_leavers_come_first_and_pauses_last() -> None:
    found = problems.judge(problems.read(timezone.now()))
    severities = [problem.severity for problem in found]
    assert severities[0] is Severity.LEAVER_CAN_ENTER
    held = next(problem for problem in found if problem.severity is Severity.HELD)
    assert "needs review: would remove" in held.text
    assert severities.index(Severity.HELD) < severities.index(Severity.PAUSED)
