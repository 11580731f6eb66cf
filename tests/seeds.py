"""RAINBO's own tables filled by SQL, as big.sql has it: small, or of full size."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

import psycopg
from django.db import connection, transaction
from django.utils import timezone

from alerts.models import Mute
from api import tokens
from integrations.models import CatalogueModel, ExternalRecord, PriceChange
from localfleet.data import large_seed
from localfleet.data.large_seed import Size
from localfleet.services.llm_models import many_models
from syncs.models import Heartbeat
from syncs.status.problems import Severity
from tenants.models import RdsInstance
from tests.alerts import rows as alert_rows
from tests.integrations import rows as connection_rows
from tests.rows import instance_row, support_session
from tests.syncs.plans import default_schedules

SMALL = Size(instances=9, tenants=270, routes=4_000, runs=600, minutes=24 * 60, entries=120)
LARGE = Size(
    instances=200, tenants=12_000, routes=200_000, runs=40_000, minutes=240, entries=20_000
)
FULL = Size()


def fill(size: Size, now: datetime | None = None) -> None:
    """The first instance is the master; the schedules and the workers are well."""
    now = now or timezone.now()
    with transaction.atomic():
        connection.ensure_connection()
        large_seed.fill(cast("psycopg.Connection", connection.connection), now, size)
    default_schedules()
    instance_row(size.instances + 1, name="eu-central-99")  # registered, and not yet read
    RdsInstance.objects.filter(pk__in=(2, 3)).update(group="eu", labels=["production", "gold"])
    Heartbeat.objects.create(worker="console-1:4711", at=now)
    fill_alerts(size, now)
    fill_connections(now)
    fill_models(size, now)
    fill_support(now)
    tokens.create("ci", ["syncs:read", "syncs:run"], "ann")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # autovacuum has seen a fleet of this size


def fill_connections(now: datetime) -> None:
    """One that is well, and one whose last fetch failed; both are shared, with a record each."""
    states: dict[str, dict[str, Any]] = {
        "work": {"last_successful_update_at": now},
        "home": {"attempt": 1, "not_before": now, "last_error": "GitHub answered with status 500"},
    }
    for name, state in states.items():
        row = connection_rows.connection(name=name, is_shared=True, record_count=1, **state)
        ExternalRecord.objects.create(
            connection=row,
            kind="issue",
            external_id="1",
            title="Count missed heartbeats by the clock of the database",
            body={"state": "open", "labels": ["bug"]},
            link="https://github.com/ann/home/issues/1",
            first_seen_at=now,
            changed_at=now,
        )


def fill_models(size: Size, now: datetime) -> None:
    """A catalogue as large as the fleet, with models of several providers, and prices that rose."""
    row = connection_rows.connection(service="llm_models", name="openrouter", is_shared=True)
    offers = many_models(min(size.tenants, 20_000))
    times = {"state_since": now, "first_seen_at": now - timedelta(days=60), "priced_at": now}
    rows = CatalogueModel.objects.bulk_create(
        CatalogueModel(
            connection=row,
            name=one.name,
            base_name=one.name.rpartition("/")[2].lower(),
            provider=one.provider,
            context=one.context or None,
            input=None if one.input in (None, "-1") else one.input,
            output=None if one.output in (None, "-1") else one.output,
            **times,
        )
        for one in offers
    )
    for days, old, new in ((40, "5", "3.75"), (20, "3.75", None), (10, None, "2.5")):
        at = now - timedelta(days=days)
        PriceChange.objects.create(model=rows[0], field="input", old=old, new=new, at=at)
    CatalogueModel.objects.filter(pk=rows[3].pk).update(state="missing", missing=2)
    CatalogueModel.objects.filter(pk=rows[4].pk).update(state="delisted", missing=3)


def fill_support(now: datetime) -> None:
    """A session that is open, one that ended, and one that was sent again."""
    used = {"redeemed_at": now - timedelta(minutes=9), "requests": 31, "blocked": 0}
    begun = now - timedelta(minutes=10)
    until = now + timedelta(minutes=20)
    support_session(issued_at=begun, ends_at=until, tenant_id="7", **used)
    over = {"closed_at": now, "ended_at": now, "ended_by": "zoe"}
    support_session(issued_at=begun, tenant_id="8", refused=2, refused_at=now, **used, **over)


def fill_alerts(size: Size, now: datetime) -> None:
    """Incidents of every kind, and a channel that works and one that is gone."""
    alert_rows.channel("on call", last_sent_at=now, host="hooks.slack.com")
    alert_rows.channel("old", kind="webhook", gone_at=now, failing_since=now, last_error="404")
    stale = alert_rows.problem("sync/user_routing/overdue", Severity.STALE, ("1",))
    down = [
        alert_rows.problem(
            f"instance/{n}/down",
            affected=(str(n),),
            text=f"instance {n} has been down since 12:00 UTC: 14 tenants and 3,120 routes wait",
        )
        for n in range(1, size.instances)
    ]
    alert_rows.see(*down, stale, at=now - timedelta(hours=2))
    alert_rows.see(*down[::2], stale, at=now - timedelta(hours=1))
    until = now + timedelta(days=1)
    Mute.objects.create(key=down[2].key, until=until, reason="moved on Tuesday", by="ann")
