"""Whoever presses a button again gets the run that waits already."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from activity.models import Activity
from syncs.models import SyncRun
from tenants.models import Tenant
from tests.rows import instance_row

pytestmark = pytest.mark.django_db


def test_as_many_runs_as_there_are_distinct_wishes(admin_client: Client) -> None:
    first, second = instance_row(1), instance_row(2)
    tenants = [
        Tenant.objects.create(
            instance=instance, remote_id="1", name="Acme", cache_refreshed_at=timezone.now()
        )
        for instance in (first, second, second)
        if not Tenant.objects.filter(instance=instance).exists()
    ]
    for _ in range(20):
        for instance in (first, second):
            admin_client.post(f"/admin/tenants/rdsinstance/{instance.pk}/check-now/")
            admin_client.post("/admin/tenants/ghostuser/sync/", {"instance": str(instance.pk)})
        for tenant in tenants:
            admin_client.post(f"/admin/tenants/tenant/{tenant.pk}/sync/")
    wishes = SyncRun.objects.values_list("sync", flat=True).order_by("sync")
    assert [*wishes] == ["ghost_users"] * 2 + ["instance_health"] * 2 + ["tenant_summaries"] * 2
    assert Activity.objects.filter(action="run.requested").count() == 6
