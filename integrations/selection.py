"""Connections as targets: which a run takes, what the engine knows of them, their pages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from common.errors import UsageError
from common.joint_query import Question, Row, compiled
from common.text import format_clock
from integrations.models import Connection
from integrations.models.connection import KEY, parse_key
from syncs.engine.options import Options
from syncs.engine.rolling_up import failed_in
from syncs.engine.targets import Pages, Target, Targets
from syncs.models import RunTarget, TargetState

if TYPE_CHECKING:
    from syncs.engine.run import Run

Skipped = tuple[Connection, str]
FRESH = "less than half a period ago"


def select(run: Run) -> tuple[list[Connection], list[Skipped]]:
    """Return the connections to fetch, and those that are skipped with the reason.

    Named ones are taken whatever their frequency. Without names those are skipped that were last
    fetched less than half their period ago, unless the options force it. One that its service asked
    to leave alone waits in any case; a disabled one, or one that needs to be connected again, is
    never taken. Raises UsageError for a name of none.
    """
    keys, now = _named(run.record.sync, run.options), run.now()
    of_service = Connection.objects.filter(service=run.record.sync)
    if keys is not None:
        found = list(of_service.filter(pk__in=keys).select_related("owner"))
        return _split(found, lambda row: _why_not(row, now, is_named=True))
    usable = list(Connection.usable().filter(_not_paused(now), service=run.record.sync))
    force = run.options.force
    return _split(usable, lambda row: _why_not(row, now) or _fresh(row, now, force=force))


def is_fresh(part: RunTarget) -> bool:
    """Whether a run skipped it because it was read shortly before."""
    return part.state == TargetState.SKIPPED and FRESH in part.note


def targets_of(service: str) -> Targets:
    """Return the connections of a service that should be confirmed, each by its own frequency."""

    def pick(rows: list[Row]) -> list[Target]:
        return [
            Target(
                key=f"{KEY}{row['id']}",
                label=Connection.label_of(row["id"], service),
                period=timedelta(minutes=row["update_frequency_minutes"]),
            )
            for row in rows
            if row["service"] == service
        ]

    return Targets(_connections, pick)


def obstacles(service: str, keys: Collection[str]) -> dict[str, str]:
    """Return why some of these can't be fetched, not even by name; nothing for the others."""
    rows = Connection.objects.filter(service=service).select_related("owner")
    known = {row.key: row for row in rows.filter(pk__in=map(parse_key, keys))}
    return {
        key: why
        for key in keys
        if (why := _never(known[key]) if key in known else f"{service} has no such connection")
    }


def label_of(key: str, service: str) -> str:
    """What runs call the connection of this key."""
    pk = parse_key(key)
    return key if pk is None else Connection.label_of(pk, service)


@cache
def _connections() -> Question:
    """Those of all services: asked once for all syncs."""
    rows = Connection.usable().filter(_not_paused())
    return compiled(rows.order_by("pk").values("id", "service", "update_frequency_minutes"))


def count_owners(keys: Collection[str]) -> int:
    """Return how many people's connections these are; what is none counts by itself."""
    ids = {pk for key in keys if key.startswith(KEY) and (pk := parse_key(key)) is not None}
    owners = Connection.objects.filter(pk__in=ids).values("owner").distinct().count()
    return owners + sum(not key.startswith(KEY) for key in keys)


def _addresses(keys: Collection[str]) -> dict[str, str]:
    ids = [pk for key in keys if (pk := parse_key(key)) is not None]
    known = Connection.objects.filter(pk__in=ids).values_list("pk", flat=True)
    page = "admin:integrations_connection_change"
    return {f"{KEY}{pk}": reverse(page, args=[pk]) for pk in known}


CONNECTIONS = Pages(_addresses, "integrations.view_connection")


def _named(service: str, options: Options) -> set[int] | None:
    """Return the ids that the options name; None for all."""
    names: Iterable[str] = options.targets
    if options.failed_from is not None:
        again = failed_in(options.failed_from)
        names = again & set(names) if names else again
        if not names:
            raise UsageError(f"nothing failed in run {options.failed_from}")
    elif not names:
        return None
    ids = {name: parse_key(name) for name in names}
    known = Connection.objects.filter(service=service).values_list("pk", flat=True)
    missing = sorted(name for name, pk in ids.items() if pk not in known)
    if missing and options.failed_from is None and not set(ids.values()) & set(known):
        raise UsageError(f"{service} has no {', '.join(missing)}")
    return {pk for pk in ids.values() if pk is not None}


def _not_paused(now: datetime | None = None) -> Q:
    return Q(paused_until=None) | Q(paused_until__lte=now or Now())


def _fresh(row: Connection, now: datetime, *, force: bool) -> str:
    last = row.last_successful_update_at
    if force or last is None or last <= now - row.frequency / 2:
        return ""
    return f"fetched at {format_clock(last, now)}, {FRESH}: --force fetches it"


def _why_not(row: Connection, now: datetime, *, is_named: bool = False) -> str:
    if is_named and (why := _never(row)):
        return why
    is_told_to = not row.last_error  # else it is its retry that waits, not the service
    if is_told_to and row.not_before is not None and row.not_before > now:
        return f"the service asked to wait until {format_clock(row.not_before, now)}"
    return ""


def _never(row: Connection) -> str:
    """Why it isn't fetched until a person does something; empty if it may be."""
    if not row.enabled:
        return "it is disabled"
    if not row.owner.is_active:
        return "its owner is deactivated"
    if row.reconnect_since is not None:
        return "it needs to be connected again"
    return ""


def _split(
    rows: Iterable[Connection], why_not: Callable[[Connection], str]
) -> tuple[list[Connection], list[Skipped]]:
    taken: list[Connection] = []
    skipped: list[Skipped] = []
    for row in rows:
        if why := why_not(row):
            skipped.append((row, why))
        else:
            taken.append(row)
    return taken, skipped
