"""Targets, the instances as the engine sees them, and what a sync says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Target:
    """One instance as the engine sees it: a key and a name for people."""

    key: str
    label: str


@dataclass(frozen=True)
class Withheld:
    """A source row that is hidden from readers: its instance, what it is, and why."""

    instance: str
    source_id: str
    what: str
    reason: str
    since: datetime


@dataclass(frozen=True)
class Pages:
    """The console's pages of targets: their URLs by key, and the permission to see them."""

    of: Callable[[Collection[str]], Mapping[str, str]]
    permission: str


@dataclass(frozen=True)
class Hidden:
    """The rows that a sync stores in a table of its own and hides from readers.

    noun: what they are called. rows: yields the first so many of them, or all. page: returns the
    URL of the console's list of them. permission: the one needed to see them.
    """

    noun: str
    rows: Callable[[int | None], Iterable[Withheld]]
    page: Callable[[], str]
    permission: str
