"""A look-up in lines for people and as a document for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from syncs.printable import printable_line
from tenants.live_lookup import Live
from tenants.lookup import Lookup
from tenants.models import RouteRemoval
from tenants.queries import Route, instance_called


def lines(found: Lookup, live: Live | None) -> Iterator[str]:
    """One line each, whatever names the customers gave."""
    return map(printable_line, _lines(found, live))


def _lines(found: Lookup, live: Live | None) -> Iterator[str]:
    count = len(found.shown)
    yield f"{found.email}: {count} {'account' if count == 1 else 'accounts'} (cache {found.cache})"
    for route in found.shown:
        yield f"  {_account(route)}"
    for route in found.withheld:
        yield f"  withheld: {_account(route)}: {route.withheld_reason}"
    here = {route.source_id for route in found.shown + found.withheld}
    for removal in found.removals:
        back = "; it came back" if removal.source_id in here else ""
        yield f"  {_removed(removal)}{back}"
    for reason in found.why:
        yield f"Why: {reason}."
    if live is not None:
        yield from _live_lines(live)


def document(found: Lookup, live: Live | None, live_problem: str = "") -> dict[str, Any]:
    """Times in ISO 8601, the age in seconds, unknown as null."""
    cache = found.cache
    return {
        "email": found.email,
        "key": found.key,
        "found": bool(found.shown),
        "cache": {
            "state": cache.state,
            "synced_at": _iso(cache.synced_at),
            "age_seconds": cache.age and round(cache.age.total_seconds(), 3),
            "reason": cache.reason and str(cache.reason),
        },
        "routes": [_fields(route) for route in found.shown],
        "withheld": [_fields(route) for route in found.withheld],
        "removals": [
            {
                "source_id": removal.source_id,
                "email": removal.email,
                "instance_id": removal.remote_instance_id,
                "tenant_id": removal.remote_tenant_id,
                "removed_at": _iso(removal.removed_at),
                "run": removal.run_id,
            }
            for removal in found.removals
        ],
        "why": list(found.why),
        "live": live
        and {
            "at": _iso(live.at),
            "routes": [_fields(route) for route in live.routes],
            "differences": list(live.differences),
        },
        "live_problem": live_problem,
    }


def _account(route: Route) -> str:
    name = f" “{route.user_name}”" if route.user_name else ""
    status = route.status or "status unknown"
    return f"{route.instance}: {route.tenant}, user {route.user_id}{name}, {status}"


def _removed(removal: RouteRemoval) -> str:
    return (
        f"removed at {removal.removed_at:%Y-%m-%d %H:%M} UTC: tenant "
        f"{removal.remote_tenant_id} on {instance_called(removal.remote_instance_id)}"
    )


def _live_lines(live: Live) -> Iterator[str]:
    yield f"On the master at {live.at:%H:%M:%S} UTC: {len(live.routes)}"
    if not live.differences:
        yield "  the same as in the cache"
    for difference in live.differences:
        yield f"  {difference}"


def _fields(row: Any) -> dict[str, Any]:
    return {
        name: _iso(value) if isinstance(value, datetime) else value
        for name, value in asdict(row).items()
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
