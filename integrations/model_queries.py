"""What is known of models and their prices: commands, pages and the API read it here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet

from integrations.access import readable_connections
from integrations.catalogues.offer import PRICES
from integrations.models import CatalogueModel, PriceChange
from syncs.models import Confirmation

SERVICE = "llm_models"
LISTED = (CatalogueModel.State.LISTED, CatalogueModel.State.BACK)
MOST_COMPARED = 200


@dataclass(frozen=True)
class ModelCounts:
    """Of all enabled catalogues. listed: in the last full listing. priced: of these, with a price
    of input or output that is known."""

    catalogues: int
    listed: int
    missing: int
    delisted: int
    priced: int


def count_models() -> ModelCounts | None:
    """Return how many models there are; None before the first catalogue was read."""
    if not Confirmation.objects.filter(sync=SERVICE).exists():
        return None
    listed = Q(state__in=LISTED)
    priced = listed & (Q(input__isnull=False) | Q(output__isnull=False))
    found = CatalogueModel.objects.filter(connection__enabled=True).aggregate(
        catalogues=Count("connection", distinct=True),
        listed=Count("pk", filter=listed),
        missing=Count("pk", filter=Q(state=CatalogueModel.State.MISSING)),
        delisted=Count("pk", filter=Q(state=CatalogueModel.State.DELISTED)),
        priced=Count("pk", filter=priced),
    )
    return ModelCounts(**found)


def count_changes(since: datetime, until: datetime | None) -> int:
    """Return how many prices changed in a span of time; until: None for up to now."""
    found = PriceChange.objects.filter(at__gte=since)
    return (found.filter(at__lte=until) if until else found).count()


def readable_models(user: Any) -> QuerySet[CatalogueModel]:
    """Those of the catalogues whose records this user may read."""
    rows = CatalogueModel.objects.filter(connection__in=readable_connections(user))
    return rows.select_related("connection")


def compare(row: CatalogueModel, user: Any) -> list[CatalogueModel]:
    """Return what others call the same, and the model itself: the cheapest input first.

    Names differ by provider: what is after the last `/` is compared. It is a help for people: no
    two of them are taken for one.
    """
    rows = readable_models(user).filter(base_name=row.base_name)
    return list(rows.order_by(F("input").asc(nulls_last=True), "name", "pk")[:MOST_COMPARED])


def price_history(row: CatalogueModel) -> Sequence[PriceChange]:
    """Return all changes of its prices, the oldest first."""
    return list(row.changes.filter(field__in=PRICES).order_by("at", "pk"))
