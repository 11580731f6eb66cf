"""A model as a catalogue offers it, with prices in US dollars per million tokens.

Catalogues write the same price in three notations, a million apart. Each reader says which one it
has; the arithmetic is exact, on the text of the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from integrations.plugin import Record

KIND = "model"
PRICES = ("input", "output", "cache_read", "cache_write", "reasoning")
PER_TOKEN, PER_MILLION = 6, 0  # decimal places from a notation to dollars per million tokens
HIGHEST = Decimal(100_000)  # dollars per million tokens: a price in the wrong notation is above it
MOST_DIGITS = 28  # significant ones, with which decimals count exactly
MOST_PLACES = 60
LARGEST_CONTEXT = 10**12
LONGEST = 255
CACHED = 50_000
_NUMBER = re.compile(r"-?(\d{1,40})(\.\d{1,60})?([eE][+-]?\d{1,3})?", re.ASCII)

AT_RUN_TIME = "chosen at run time"
BY_TIER = "differs by tier"
BY_HOUR = "differs by hour"
BY_CONTEXT = "differs by length or hour"


class Unreadable(Exception):
    """A model's entry holds something that can't be what it should be."""


@dataclass(slots=True)
class Offer:
    """name: in full, as the catalogue calls it. prices: only those that are known.

    context: tokens. ends_on: when it is withdrawn. varies: why one price doesn't say it all.
    """

    name: str
    title: str
    provider: str = ""
    mode: str = ""
    context: int | None = None
    ends_on: date | None = None
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    varies: tuple[str, ...] = ()
    alias_of: str = ""

    def facts(self) -> tuple[object, ...]:
        """All that is known of it, to be compared with what was known before."""
        prices = tuple(self.prices.items())
        described = (self.name, self.title, self.provider, self.mode, self.context, self.ends_on)
        return (*described, prices, self.varies, self.alias_of)

    def record(self) -> Record:
        data = {
            "provider": self.provider,
            "mode": self.mode,
            "context": self.context,
            "ends_on": self.ends_on and self.ends_on.isoformat(),
            "prices": {name: price_text(price) for name, price in self.prices.items()},
            "varies": ", ".join(self.varies),
            "alias_of": self.alias_of,
        }
        return Record(KIND, self.name, data, self.title)


def read_prices(
    given: Mapping[str, Any], names: Mapping[str, str], places: int
) -> tuple[dict[str, Decimal], bool]:
    """Return the known prices, and whether one is only decided at run time.

    names: of the fields, by ours. places: PER_TOKEN or PER_MILLION. What is absent, null or -1 is
    unknown; 0 is free. Raises Unreadable.
    """
    found: dict[str, Decimal] = {}
    decided_later = False
    for ours, theirs in names.items():
        if (value := given.get(theirs)) is None:
            continue
        price = _price(value, theirs, places)
        if price is None:
            decided_later = True
        else:
            found[ours] = price
    return found, decided_later


@lru_cache(maxsize=CACHED)
def price_text(price: Decimal) -> str:
    """Return the one text of a price: `0.15`, never `1.5E-1` or `0.150`."""
    return format(price.normalize(), "f")


def read_text(value: object, what: str) -> str:
    """Return a short text, empty for anything that is none. Raises Unreadable if it is long."""
    text = value.strip() if isinstance(value, str) else ""
    if len(text) > LONGEST:
        raise Unreadable(f"its {what} has {len(text):,} characters: {LONGEST} can be stored")
    return text


def read_context(value: object) -> int | None:
    """Return a number of tokens; None where it is unknown, which some write as 0."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not 0 < value <= LARGEST_CONTEXT or value != int(value):
        return None
    return int(value)


def read_date(value: object) -> date | None:
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None


def read_modalities(given: object, before: str, after: str) -> str:
    """Return `text+image->text` of two lists; empty unless both are known."""
    if not isinstance(given, dict):
        return ""
    sides = [_joined(given.get(name)) for name in (before, after)]
    return "->".join(sides) if all(sides) else ""


def _joined(value: object) -> str:
    texts: Iterable[object] = value if isinstance(value, list) else ()
    return "+".join(text for text in texts if isinstance(text, str))


def _price(value: object, name: str, places: int) -> Decimal | None:
    """Return dollars per million tokens; None for -1. Raises Unreadable."""
    is_number = isinstance(value, str | int | Decimal) and not isinstance(value, bool)
    text = value if isinstance(value, str) else str(value)
    return _price_of_text(text if is_number else "", name, places)


@lru_cache(maxsize=CACHED)  # many models have the same price
def _price_of_text(text: str, name: str, places: int) -> Decimal | None:
    if not _NUMBER.fullmatch(text):
        raise Unreadable(f"its {name} is no price: {text[:40]!r}")
    number = Decimal(text)
    if number == -1:
        return None
    if number < 0:
        raise Unreadable(f"its {name} is below zero: {text[:40]}")
    if number == 0:
        return Decimal(0)
    _, digits, exponent = number.as_tuple()
    if len(digits) > MOST_DIGITS or int(exponent) < -MOST_PLACES:
        raise Unreadable(f"its {name} has more digits than a price has: {text[:40]}")
    price = number.scaleb(places)
    if price > HIGHEST:
        raise Unreadable(f"its {name} is too high for a price: {text[:40]}")
    return price
