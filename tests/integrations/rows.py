"""Connections, the runs that fetch them, and what is stored then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.utils import timezone

from integrations.models import CatalogueModel, Connection, ExternalRecord
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import RunTarget, SyncRun, Trigger

TOKEN = "github-token"
Stored = dict[tuple[str, str], tuple[str, Any, bool]]


def connection(base_url: str = "https://api.github.com", **fields: Any) -> Connection:
    token = fields.pop("token", TOKEN)
    known = {"service": "github", "name": "mine", "update_frequency_minutes": 15}
    people = get_user_model()
    owner = (
        fields.pop("owner", None)
        or people.objects.get_or_create(username="ann", defaults={"is_staff": True})[0]
    )
    row = Connection.objects.create(owner=owner, base_url=base_url, **known | fields)
    row.set_credentials({"token": token})
    row.save(update_fields=["credentials"])
    return row


def fetch(*rows: Connection, trigger: Trigger = Trigger.SCHEDULE, **options: Any) -> SyncRun:
    """Run the sync of these connections' service, on them alone."""
    chosen = Options(targets=tuple(row.key for row in rows), **options)
    return runs.execute(runs.request(rows[0].service, chosen, trigger, "test"))


def part(run: SyncRun, row: Connection) -> RunTarget:
    return run.targets.get(target=row.key)


def stored(row: Connection, kinds: Iterable[str] = ()) -> Stored:
    """What is stored: title, content, and whether it is gone, by kind and id."""
    found = ExternalRecord.objects.filter(connection=row)
    found = found.filter(kind__in=kinds) if kinds else found
    return {(r.kind, r.external_id): (r.title, r.body, r.gone_at is not None) for r in found}


def titles(row: Connection, kind: str) -> list[str]:
    """Of what is there."""
    found = row.records.filter(kind=kind, gone_at=None).order_by("pk")
    return list(found.values_list("title", flat=True))


def list_models(catalogue: str, count: int) -> None:
    """Have a catalogue of this name list so many models, and no others."""
    people = get_user_model().objects
    owner = people.get_or_create(username="catalogues")[0]
    row, _ = Connection.objects.get_or_create(
        owner=owner,
        service="llm_models",
        name=catalogue,
        defaults={"base_url": "https://models.example", "update_frequency_minutes": 360},
    )
    row.models.all().delete()
    now = timezone.now()
    at = {"state_since": now, "first_seen_at": now, "priced_at": now}
    CatalogueModel.objects.bulk_create(
        CatalogueModel(connection=row, name=f"m/{n}", base_name=str(n), **at) for n in range(count)
    )
