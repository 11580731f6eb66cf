"""LiteLLM's map of models: one object, its prices numbers in dollars per token."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from integrations.catalogues.offer import (
    AT_RUN_TIME,
    BY_HOUR,
    BY_TIER,
    KIND,
    PER_TOKEN,
    Offer,
    Unreadable,
    read_context,
    read_date,
    read_prices,
    read_text,
)
from integrations.plugin import Refused

NAME = "litellm"
SAMPLE = "sample_spec"  # describes the fields, with texts for numbers
MARKS = ("litellm_provider", "alias_of")
FIELDS = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cache_read": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "reasoning": "output_cost_per_reasoning_token",
}
_TIER = re.compile(r"tiered_pricing|.*_above_\d+k?_tokens")
_HOUR = re.compile(r".*(off_peak|by_hour|time_of_day).*")


def fits(document: Any) -> bool:
    if not isinstance(document, dict):
        return False
    entries = (entry for name, entry in document.items() if name != SAMPLE)
    return any(isinstance(entry, dict) and any(map(entry.get, MARKS)) for entry in entries)


def read(document: Any) -> Iterator[Offer | Refused]:
    for name, entry in document.items():
        if name == SAMPLE:
            continue
        if not name or not isinstance(entry, dict):
            yield Refused(KIND, name or "no name", "it is no description of a model")
            continue
        try:
            yield _offer(name, *_follow(name, document))
        except Unreadable as error:
            yield Refused(KIND, name, str(error))


def _follow(name: str, document: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the entry that a name leads to, and the name of that one if it is another."""
    met = [name]
    while True:
        entry = document.get(met[-1])
        if not isinstance(entry, dict):
            raise Unreadable(f"it is an alias of {met[-1][:100]}, which is not there")
        following = entry.get("alias_of")
        if following is None:
            return entry, met[-1] if len(met) > 1 else ""
        if not isinstance(following, str) or following in met:
            raise Unreadable("it is an alias that leads nowhere")
        met.append(following)


def _offer(name: str, entry: dict[str, Any], alias_of: str) -> Offer:
    prices, decided_later = read_prices(entry, FIELDS, PER_TOKEN)
    has_tiers = any(value is not None and _TIER.fullmatch(key) for key, value in entry.items())
    has_hours = any(value is not None and _HOUR.fullmatch(key) for key, value in entry.items())
    varies = [AT_RUN_TIME] * decided_later + [BY_TIER] * has_tiers + [BY_HOUR] * has_hours
    return Offer(
        name,
        name,
        read_text(entry.get("litellm_provider"), "provider"),
        read_text(entry.get("mode"), "mode"),
        read_context(entry.get("max_input_tokens")),
        read_date(entry.get("deprecation_date")),
        prices,
        tuple(varies),
        alias_of,
    )
