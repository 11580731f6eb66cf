"""What a sync says of its targets: instances as the engine sees them."""

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
    """A row of a source that readers aren't shown: of which instance, what it is, and why."""

    instance: str
    source_id: str
    what: str
    reason: str
    since: datetime


@dataclass(frozen=True)
class Pages:
    """The console's pages of targets: their addresses by key, and what it takes to see them."""

    of: Callable[[Collection[str]], Mapping[str, str]]
    permission: str


@dataclass(frozen=True)
class Hidden:
    """The rows that a sync stores in a table of its own and hides from readers.

    noun: what they are. rows: the first so many of them, or all, one by one. page: the console's
    list of them. permission: what it takes to see them.
    """

    noun: str
    rows: Callable[[int | None], Iterable[Withheld]]
    page: Callable[[], str]
    permission: str
