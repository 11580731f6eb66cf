"""What an action changed: the differences between two readings of a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Model

Reading = dict[str, Any]


def reading(row: Model, fields: Iterable[str]) -> Reading:
    """The values of these fields now; of a foreign key, its id."""
    return {name: row.serializable_value(name) for name in fields}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Reading, Reading]:
    """What was, and what is, of the values that differ."""
    names = [name for name in after if before.get(name) != after[name]]
    return {name: before.get(name) for name in names}, {name: after[name] for name in names}
