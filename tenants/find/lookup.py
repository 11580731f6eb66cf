"""Where an e-mail has its accounts, how sure that is, and if there is none, why."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from common import terminal
from common.errors import UsageError
from common.text import format_duration
from syncs.status import queries as engine
from syncs.status.freshness import Failure, Reason, State
from syncs.status.queries import Status
from tenants.models import RdsInstance, RouteRemoval
from tenants.routes import queries
from tenants.routes.queries import ROUTING, Route

NAMED = 3  # letters that may look like others


@dataclass(frozen=True)
class Cache:
    """How old the routes are: the master's confirmation.

    held: what waits for review, though the reason may be another.
    """

    state: State
    synced_at: datetime | None
    age: timedelta | None
    reason: Reason | None
    held: Failure | None = None

    @property
    def remarks(self) -> list[Reason]:
        """The reason, and what is held if that is none of it."""
        held = [self.held.reason] if self.held else []
        known = [self.reason] if self.reason else []
        return known + [reason for reason in held if reason not in known]

    def __str__(self) -> str:
        if self.age is None:
            return "never synced"
        return f"{format_duration(self.age)} old, {self.state.label}"


@dataclass(frozen=True)
class Lookup:
    """All that RAINBO knows of an e-mail. why: reasons, when readers see no route of it.

    status: the freshness of everything that the cache was judged by.
    """

    email: str
    key: str
    cache: Cache
    shown: tuple[Route, ...]
    withheld: tuple[Route, ...]
    removals: tuple[RouteRemoval, ...]
    why: tuple[str, ...]
    status: Status

    @property
    def is_known(self) -> bool:
        return bool(self.shown or self.withheld or self.removals)


def find(email: str) -> Lookup:
    """Look an e-mail up by its key. Raises UsageError for what can't be an e-mail."""
    key = _key(email)
    routes = queries.routes_of(key)
    shown = tuple(route for route in routes if route.withheld_reason is None)
    withheld = tuple(route for route in routes if route.withheld_reason is not None)
    removals = queries.removals_of(key)
    status = engine.shared_status()
    cache = _cache(status)
    why = () if shown else (*_why(cache, withheld, removals), *_foreign(key))
    return Lookup(email, key, cache, shown, withheld, removals, why, status)


def _cache(status: Status) -> Cache:
    sync = next(sync for sync in status.syncs if sync.name == ROUTING)
    target = next(iter(sync.targets), None)
    if target is None:
        return Cache(State.UNKNOWN, None, None, sync.reason)
    judged = target.freshness
    return Cache(judged.state, target.confirmed_at, judged.age, target.reason, target.held)


def _key(email: str) -> str:
    if not email:
        raise UsageError("give an e-mail")
    if not terminal.is_one_line(email):
        raise UsageError("give an e-mail without line breaks and control characters")
    return queries.email_keys([email])[0]


def _why(
    cache: Cache, withheld: tuple[Route, ...], removals: tuple[RouteRemoval, ...]
) -> Iterator[str]:
    if withheld:
        yield "its routes are withheld from readers, each for the reason given"
    if removals:
        last = removals[0]
        yield (
            f"it was removed at {last.removed_at:%Y-%m-%d %H:%M} UTC from tenant "
            f"{last.remote_tenant_id} on {queries.instance_called(last.remote_instance_id)} "
            f"(run {last.run_id})"
        )
    if not withheld and not removals:
        yield "no sync has ever seen it"
    if cache.synced_at is None:
        yield f"the routes have never been synced ({cache.reason})"
    elif cache.state.is_bad:
        yield f"the routes are {cache}, so what is newer is missing ({cache.reason})"
    if RdsInstance.objects.filter(is_master=True, is_active=False).exists():
        yield "the master is not active, so nothing is synced"
    if unusable := queries.unusable_routes():
        rows, which = ("row", "that one") if unusable == 1 else ("rows", "one of them")
        yield f"{unusable:,} {rows} of the directory could not be stored: it may be {which}"


def _foreign(key: str) -> Iterator[str]:
    """Letters that may look like others: what they are can't be seen."""
    letters = [letter for letter in dict.fromkeys(key) if not letter.isascii()]
    if letters:
        names = [f"“{x}” {unicodedata.name(x, f'U+{ord(x):04X}')}" for x in letters[:NAMED]]
        more = " and others" if len(letters) > NAMED else ""
        yield f"look-alikes are never taken for each other, and it has {', '.join(names)}{more}"
