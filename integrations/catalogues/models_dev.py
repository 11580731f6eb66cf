"""models.dev: providers and their models, its prices numbers in dollars per million tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from integrations.catalogues.offer import (
    AT_RUN_TIME,
    BY_TIER,
    KIND,
    PER_MILLION,
    PRICES,
    Offer,
    Unreadable,
    read_context,
    read_modalities,
    read_prices,
    read_text,
)
from integrations.plugin import Refused

NAME = "models.dev"
FIELDS = {name: name for name in PRICES}  # it has the same names


def fits(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    return any(
        isinstance(provider, dict) and isinstance(provider.get("models"), dict)
        for provider in document.values()
    )


def read(document: Any) -> Iterator[Offer | Refused]:
    for provider, found in document.items():
        models = found.get("models") if isinstance(found, dict) else None
        if not isinstance(models, dict):
            yield Refused(KIND, provider or "no name", "it is no provider with models")
            continue
        for key, entry in models.items():
            name = f"{provider}/{key}"
            try:
                yield _offer(provider, name, key, entry)
            except Unreadable as error:
                yield Refused(KIND, name, str(error))


def _offer(provider: str, name: str, key: str, entry: Any) -> Offer:
    if not isinstance(entry, dict):
        raise Unreadable("it is no description of a model")
    cost, limit = entry.get("cost"), entry.get("limit")
    prices, decided_later = read_prices(cost if isinstance(cost, dict) else {}, FIELDS, PER_MILLION)
    has_tiers = isinstance(cost, dict) and any(
        isinstance(one, dict | list) for one in cost.values()
    )
    title = entry.get("name")
    return Offer(
        name,
        title if isinstance(title, str) and title else key,
        read_text(provider, "provider"),
        read_text(read_modalities(entry.get("modalities"), "input", "output"), "modality"),
        read_context(limit.get("context")) if isinstance(limit, dict) else None,
        None,
        prices,
        tuple([AT_RUN_TIME] * decided_later + [BY_TIER] * has_tiers),
    )
