"""Lists as `/models` of OpenAI-compatible servers; OpenRouter's also have prices.

Prices are strings in dollars per token. "-1" is decided at run time, "0" is free.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from integrations.catalogues.offer import (
    AT_RUN_TIME,
    BY_CONTEXT,
    KIND,
    PER_TOKEN,
    Offer,
    Unreadable,
    read_context,
    read_date,
    read_modalities,
    read_prices,
    read_text,
)
from integrations.plugin import Refused

NAME = "list"
CONTEXTS = ("context_length", "context_window", "max_model_len")  # OpenRouter, Groq, vLLM
FIELDS = {
    "input": "prompt",
    "output": "completion",
    "cache_read": "input_cache_read",
    "cache_write": "input_cache_write",
    "reasoning": "internal_reasoning",
}


def fits(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("data"), list)


def read(document: Any) -> Iterator[Offer | Refused]:
    for number, entry in enumerate(document["data"], 1):
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name:
            yield Refused(KIND, f"entry {number}", "it has no id")
            continue
        try:
            yield _offer(name, entry)
        except Unreadable as error:
            yield Refused(KIND, name, str(error))


def _offer(name: str, entry: dict[str, Any]) -> Offer:
    pricing = entry.get("pricing")
    prices, decided_later = read_prices(
        pricing if isinstance(pricing, dict) else {}, FIELDS, PER_TOKEN
    )
    has_overrides = isinstance(pricing, dict) and bool(pricing.get("overrides"))
    varies = [AT_RUN_TIME] * decided_later + [BY_CONTEXT] * has_overrides
    context = next(filter(None, (read_context(entry.get(key)) for key in CONTEXTS)), None)
    return Offer(
        name,
        _title(entry, name),
        _provider(name, entry),
        read_text(_mode(entry), "modality"),
        context,
        read_date(entry.get("expiration_date")),
        prices,
        tuple(varies),
    )


def _title(entry: dict[str, Any], name: str) -> str:
    title = entry.get("name")
    return title if isinstance(title, str) and title else name


def _provider(name: str, entry: dict[str, Any]) -> str:
    """Return who owns the model; OpenRouter says it at the beginning of the name alone."""
    owner = read_text(entry.get("owned_by"), "owner")
    return owner or read_text(name.lstrip("~").rpartition("/")[0], "provider")


def _mode(entry: dict[str, Any]) -> str:
    found = entry.get("architecture")
    if isinstance(found, dict) and isinstance(found.get("modality"), str):
        return str(found["modality"])
    return read_modalities(found, "input_modalities", "output_modalities")
