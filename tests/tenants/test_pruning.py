from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from syncs.engine import pruning as run_pruning
from tenants import pruning
from tenants.models import InstanceCheck, RouteRemoval, Tenant, TenantChange, TenantDailyCount
from tenants.models.instance import Health
from tests.rows import instance_row

pytestmark = pytest.mark.django_db


def removal(source_id: str, days: int) -> None:
    RouteRemoval.objects.create(
        source_id=source_id,
        email="ann@example.com",
        email_key="ann@example.com",
        remote_instance_id="1",
        remote_tenant_id="7",
        removed_at=timezone.now() - timedelta(days=days),
        run_id=1,
    )


def test_old_removals_of_routes_go_with_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    removal("1", 40)
    removal("2", 20)
    call_command("prune_runs", "--older-than=30")
    assert "route removals 1" in capsys.readouterr().out
    assert RouteRemoval.objects.get().source_id == "2"


HEALTHY, DOWN, DEGRADED = Health.HEALTHY, Health.DOWN, Health.DEGRADED


def checks(*seen: Health, days: float = 3, instance: int = 1) -> list[datetime]:
    """A check for each, a minute after the one before."""
    first = timezone.now() - timedelta(days=days)
    minutes = [first + timedelta(minutes=n) for n in range(len(seen))]
    for minute, health in zip(minutes, seen, strict=True):
        InstanceCheck.objects.create(instance_id=instance, minute=minute, health=health)
    return minutes


def left(minutes: list[datetime]) -> list[int]:
    there = set(InstanceCheck.objects.values_list("minute", flat=True))
    return [place for place, minute in enumerate(minutes) if minute in there]


def test_checks_with_problems_stay_and_the_one_after_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A preview of a week counts each of them, and reads when it was well again."""
    monkeypatch.setattr(pruning, "NEWEST", 1)
    instance_row(1)
    instance_row(2)
    minutes = checks(HEALTHY, HEALTHY, DOWN, DOWN, HEALTHY, HEALTHY, DEGRADED, HEALTHY, HEALTHY)
    young = checks(HEALTHY, HEALTHY, days=0.9)
    other = checks(DOWN, HEALTHY, HEALTHY, days=4, instance=2)
    run_pruning.roll_up_by_itself()
    assert left(minutes) == [0, 2, 3, 4, 6, 7]
    assert left(young) == [0, 1]
    assert left(other) == [0, 1, 2], "the last check of an instance stays at any age"
    run_pruning.roll_up_by_itself()
    assert left(minutes) == [0, 2, 3, 4, 6, 7]


def test_the_last_checks_stay_while_nobody_checks() -> None:
    """The first page draws them."""
    instance_row(1)
    minutes = checks(*[HEALTHY] * 65)
    run_pruning.roll_up_by_itself()
    assert left(minutes) == [0, *range(5, 65)]


@pytest.mark.parametrize("days", [0, 400])
def test_daily_counts_and_changes_of_tenants_have_a_retention_of_their_own(
    settings: Settings, days: int
) -> None:
    settings.RAINBO_TENANT_COUNT_RETENTION_DAYS = settings.RAINBO_TENANT_CHANGE_RETENTION_DAYS = (
        days
    )
    tenant = Tenant.objects.create(
        instance=instance_row(1), remote_id="7", name="Acme", cache_refreshed_at=timezone.now()
    )
    now = timezone.now()
    for age in (399, 402):
        at = now - timedelta(days=age)
        TenantDailyCount.objects.create(tenant=tenant, day=at.date(), user_count=age)
        TenantChange.objects.create(tenant=tenant, kind="name", at=at, run_id=1, before=str(age))
    run_pruning.prune(now, None)
    kept = {399, 402} if days == 0 else {399}
    assert {row.user_count for row in TenantDailyCount.objects.all()} == kept
    assert {int(row.before) for row in TenantChange.objects.all()} == kept
