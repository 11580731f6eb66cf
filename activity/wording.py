"""Values of an action: fit to be stored, whatever a person typed, and fit to be read again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from django.utils import timezone

from common.redaction import is_secret, redact
from common.text import clip

LONGEST = 2_000
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3,6})?(Z|[+-]\d\d:\d\d)")


def storable_text(text: str, longest: int) -> str:
    """The text in what PostgreSQL can store, without secrets, its end cut visibly if too long."""
    clean = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return clip(redact(clean), longest)


def storable(values: Mapping[str, Any] | None, hide_as: str = "") -> dict[str, Any] | None:
    """The values as JSON can hold them. A secret is replaced by the given word, or omitted."""
    if values is None:
        return None
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if not is_secret(str(name), value):
            kept[storable_text(str(name), 100)] = _plain(value)
        elif hide_as and value:
            kept[storable_text(str(name), 100)] = hide_as
    return kept


def in_words(value: Any) -> str:
    """A stored value as a person reads it, times in the zone of the one who looks."""
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(in_words(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {in_words(inner)}" for name, inner in value.items())
    return _time_in_words(str(value)) or str(value)


def _time_in_words(text: str) -> str:
    """A stored time; nothing for what is none."""
    try:
        at = datetime.fromisoformat(text) if MOMENT.fullmatch(text) else None
    except ValueError:
        return ""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S %Z}" if at else ""


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | datetime | date | time):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return storable(value)
    if isinstance(value, set | frozenset):
        return sorted(storable_text(str(item), LONGEST) for item in value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return storable_text(str(value), LONGEST)
