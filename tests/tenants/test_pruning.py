from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from tenants.models import RouteRemoval

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
