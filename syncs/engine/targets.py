"""Targets, the instances as the engine sees them, and what a sync says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from common.joint_query import Question, Row, answer


class Target(NamedTuple):
    """One instance as the engine sees it.

    label: its name for people. is_down: whether it is down at present. period: how often it should
    be confirmed, if its sync has no schedule.
    """

    key: str
    label: str
    is_down: bool = False
    period: timedelta | None = None


@dataclass(frozen=True)
class Targets:
    """What a sync should confirm, as a function that lists it.

    ask: the question that is asked for it; syncs with the same one share its answer. pick: makes
    targets of the rows.
    """

    ask: Callable[[], Question]
    pick: Callable[[list[Row]], list[Target]]

    def __call__(self) -> list[Target]:
        return self.pick(answer({"targets": self.ask()})["targets"])


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


TenantKey = tuple[str, str]  # the instance's id and the tenant's id there


@dataclass(frozen=True)
class TenantPages:
    """What the console knows of the tenants whose rows a sync changes.

    of: the names and URLs of those that are known, by key. permission: the one needed to see them.
    instances: the names and URLs of the instances that are registered, by id.
    instance_permission: the one needed to open their pages.
    """

    of: Callable[[Collection[TenantKey]], Mapping[TenantKey, tuple[str, str]]]
    permission: str
    instances: Callable[[Collection[str]], Mapping[str, tuple[str, str]]]
    instance_permission: str


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
