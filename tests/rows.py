"""Rows of RAINBO's own database, with believable defaults."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.utils import timezone

from syncs.models import (
    Confirmation,
    RunState,
    RunTarget,
    SyncRun,
    TargetState,
    Trigger,
)
from tenants.models import RdsInstance, SupportSession


def instance_row(number: int = 1, **fields: Any) -> RdsInstance:
    """An instance that RAINBO knows and that no server stands behind."""
    known = {"name": f"rds{number}", "host": "rds.example.com", "database": "app", "user": "rainbo"}
    row = RdsInstance(id=number, **known | fields)
    row.set_password("not used")
    row.save(force_insert=True)
    return row


def staff(name: str = "ann", **fields: Any) -> User:
    return get_user_model().objects.create_user(name, is_staff=True, **fields)


def support_session(**fields: Any) -> SupportSession:
    """A session that was issued a moment ago, by somebody who is nobody here."""
    now = fields.get("issued_at", timezone.now())
    known: dict[str, Any] = {
        "jti": uuid.uuid4(),
        "instance_id": 1,
        "instance_name": "rds1",
        "tenant_id": "42",
        "tenant_name": "Acme",
        "person_id": 10**6,
        "person": "zoe",
        "ghost_id": "17",
        "reason": "Invoice 118 shows no VAT",
        "read_only": True,
        "session_seconds": 1800,
        "issued_at": now,
        "expires_at": now + timedelta(seconds=60),
        "kid": "k1",
    }
    return SupportSession.objects.create(**known | fields)


def ended_run(
    sync: str = "user_routing",
    state: RunState = RunState.SUCCEEDED,
    *,
    now: datetime | None = None,
    ago: timedelta = timedelta(minutes=5),
    seconds: float = 10.0,
    **fields: Any,
) -> SyncRun:
    end = (now or timezone.now()) - ago
    times = {"started_at": end - timedelta(seconds=seconds), "finished_at": end, "seconds": seconds}
    return SyncRun.objects.create(
        sync=sync, state=state, trigger=Trigger.SCHEDULE, **times | fields
    )


def run_part(run: SyncRun, target: str = "1", **fields: Any) -> RunTarget:
    known = {"label": f"instance {target}", "state": TargetState.SUCCEEDED}
    return RunTarget.objects.create(run=run, target=target, **known | fields)


def confirmation(
    sync: str = "user_routing",
    target: str = "1",
    *,
    now: datetime | None = None,
    ago: timedelta = timedelta(minutes=5),
    **fields: Any,
) -> Confirmation:
    at = (now or timezone.now()) - ago
    return Confirmation.objects.create(sync=sync, target=target, at=at, **fields)
