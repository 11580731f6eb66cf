"""Entries of the record, with believable defaults."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from activity.models import Activity


def entry(action: str = "instance.disabled", *, days_ago: float = 0, **fields: Any) -> Activity:
    known: dict[str, Any] = {
        "at": timezone.now() - timedelta(days=days_ago),
        "actor": "ann",
        "address": "10.0.0.7",
        "subject": "rds1 (3)",
        "subject_kind": "tenants.rdsinstance",
        "subject_id": "3",
    }
    return Activity.objects.create(action=action, **known | fields)


def many_entries(count: int) -> None:
    """A busy year: a hundred people, three hundred objects."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO activity (at, actor, actor_id, address, action, subject, subject_kind,"
            "                      subject_id)"
            " SELECT now() - (%(count)s - n) * interval '5 min', 'person' || n %% 100, n %% 100,"
            "        '10.0.0.7', (ARRAY['run.requested', 'instance.changed'])[1 + n %% 2],"
            "        'rds' || n %% 300, 'tenants.rdsinstance', (n %% 300)::text"
            "   FROM generate_series(1, %(count)s) AS n",
            {"count": count},
        )
        cursor.execute("ANALYZE activity")
