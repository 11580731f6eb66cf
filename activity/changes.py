"""What an action changed: the differences between two readings of a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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


def actions(
    thing: str,
    before: Reading,
    after: Reading,
    switch: str = "",
    verbs: tuple[str, str] = ("enabled", "disabled"),
) -> Iterator[tuple[str, Reading, Reading]]:
    """Yield each action of a change, with what was and what is of the values that differ.

    thing: "user" makes user.changed. switch: a value whose change is an action of its own, with one
    of these verbs: switched on, and off.
    """
    if switch in after:
        verb = verbs[0] if after[switch] else verbs[1]
        yield f"{thing}.{verb}", {switch: before[switch]}, {switch: after[switch]}
    was, now = ({name: of[name] for name in of if name != switch} for of in (before, after))
    if now:
        yield f"{thing}.changed", was, now
