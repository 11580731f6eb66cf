"""RAINBO's own tables filled by SQL, as big.sql has it: small, or of full size."""

from __future__ import annotations

from datetime import datetime
from typing import cast

import psycopg
from django.db import connection, transaction
from django.utils import timezone

from localfleet.data import large_seed
from localfleet.data.large_seed import Size
from syncs.models import Heartbeat
from tests.rows import instance_row
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
    Heartbeat.objects.create(worker="console-1:4711", at=now)
