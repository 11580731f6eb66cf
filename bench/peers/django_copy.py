"""bulk_create(update_conflicts=True) of all rows, and a delete of those that are gone.

Run as a program: SOURCE TARGET, both as URLs.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings

BATCH = 5000


def database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parts.hostname,
        "PORT": parts.port,
        "NAME": parts.path[1:],
        "USER": parts.username,
        "PASSWORD": unquote(parts.password or ""),
    }


settings.configure(
    DATABASES={"default": database(sys.argv[2]), "source": database(sys.argv[1])}, USE_TZ=True
)
django.setup()

from django.db import models, transaction  # noqa: E402


class Row(models.Model):
    id = models.BigIntegerField(primary_key=True)
    email = models.TextField(null=True)  # noqa: DJ001
    tenant_id = models.BigIntegerField(null=True)
    rds_instance_id = models.IntegerField(null=True)
    user_id = models.BigIntegerField(null=True)
    user_name = models.TextField(null=True)  # noqa: DJ001
    status = models.TextField(null=True)  # noqa: DJ001
    updated_at = models.DateTimeField(null=True)
    objects: models.Manager[Any] = models.Manager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return str(self.pk)


class Source(Row):
    class Meta:
        app_label = "peer"
        db_table = "user_email_routing"


class Route(Row):
    class Meta:
        app_label = "peer"
        db_table = "routes"


NAMES = [field.name for field in Route._meta.fields]


def copy() -> None:
    rows = Source.objects.using("source").values_list(*NAMES)
    seen: set[int] = set()
    batch: list[Route] = []
    with transaction.atomic():
        for values in rows.iterator(BATCH):
            seen.add(values[0])
            batch.append(Route(*values))
            if len(batch) == BATCH:
                store(batch)
        store(batch)
        gone = [
            pk for pk in Route.objects.values_list("pk", flat=True).iterator() if pk not in seen
        ]
        for first in range(0, len(gone), BATCH):
            Route.objects.filter(pk__in=gone[first : first + BATCH]).delete()


def store(batch: list[Route]) -> None:
    Route.objects.bulk_create(
        batch, update_conflicts=True, unique_fields=["id"], update_fields=NAMES[1:]
    )
    batch.clear()


copy()
