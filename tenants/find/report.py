"""A look-up in lines for people and as a document for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

from common.clock import iso
from common.terminal import printable_line
from common.text import sentence
from tenants.find import comparison, part_search, places
from tenants.find.comparison import Account
from tenants.find.live_answers import LiveLookup
from tenants.find.lookup import Lookup
from tenants.find.search import Found, Matches
from tenants.models import RdsInstance, RouteRemoval, Tenant
from tenants.routes.queries import Route, instance_called

T = TypeVar("T")


def lines(found: Found, live: LiveLookup | None, now: datetime) -> Iterator[str]:
    """One line each, whatever names the customers gave."""
    return map(printable_line, _lines(found, live, now))


def _lines(found: Found, live: LiveLookup | None, now: datetime) -> Iterator[str]:
    exact = found.exact
    yield from map(sentence, notices(found, now))
    if found.is_email:
        yield from _exact_lines(exact, now)
    if live is not None:
        yield from _live_lines(live, comparison.accounts(exact, live))
    if not exact.shown:
        yield from _like_it(found, now)


def notices(found: Found, now: datetime) -> list[str]:
    """What to say first: of the instances it has to do with, those not known to be up."""
    return [said for one in places.conditions(found, now) if (said := one.notice(now))]


def _exact_lines(found: Lookup, now: datetime) -> Iterator[str]:
    count = len(found.shown)
    yield f"{found.email}: {count} {'account' if count == 1 else 'accounts'} (cache {found.cache})"
    yield from (f"  {sentence(str(remark))}" for remark in found.cache.remarks)
    for route in found.shown:
        yield f"  {_account(route, now)}"
    for route in found.withheld:
        yield f"  withheld: {_account(route, now)}: {route.withheld_reason}"
    here = {route.source_id for route in found.shown + found.withheld}
    for removal in found.removals:
        back = "; it came back" if removal.source_id in here else ""
        yield f"  {_removed(removal)}{back}"
    for reason in found.why:
        yield f"Why: {reason}."


def _like_it(found: Found, now: datetime) -> Iterator[str]:
    """What else the person may have meant."""
    for title, matches in (
        ("E-mails that begin so", _routes(found.begin, now)),
        ("People with such a name", _routes(found.named, now)),
        ("Parts of words and near misses", _routes(found.near, now)),
        ("Tenants", _tenants(found.tenants)),
        ("Instances", _instances(found.instances)),
    ):
        if matches.rows:
            yield f"{title}{', the first of more' if matches.more else ''}:"
            yield from (f"  {line}" for line in matches.rows)
    if found.is_cut:
        yield "A search took too long and was stopped: there may be more. Type more letters."
    if not found.has_parts and not found.like_it:
        yield part_search.hint()


def _routes(of: Matches[Route], now: datetime) -> Matches[str]:
    return Matches(tuple(f"{route.email}: {_account(route, now)}" for route in of.rows), of.more)


def _tenants(of: Matches[Tenant]) -> Matches[str]:
    lines = (f"{tenant.instance}: {_tenant(tenant)}" for tenant in of.rows)
    return Matches(tuple(lines), of.more)


def _instances(of: Matches[RdsInstance]) -> Matches[str]:
    return Matches(tuple(str(instance) for instance in of.rows), of.more)


def _tenant(tenant: Tenant) -> str:
    gone = f", vanished {tenant.vanished_at:%Y-%m-%d}" if tenant.vanished_at else ""
    return f"tenant {tenant.remote_id} “{tenant.name}” ({tenant.status}{gone})"


def document(search: Found, live: LiveLookup | None) -> dict[str, Any]:
    """Times in ISO 8601, the age in seconds, unknown as null."""
    found, cache = search.exact, search.exact.cache
    return {
        "email": found.email,
        "key": found.key,
        "found": bool(found.shown),
        "cache": {
            "state": cache.state,
            "synced_at": iso(cache.synced_at),
            "age_seconds": cache.age and round(cache.age.total_seconds(), 3),
            "reason": cache.reason and str(cache.reason),
            "held": cache.held and cache.held.words,
        },
        "routes": [_fields(route) for route in found.shown],
        "withheld": [_fields(route) for route in found.withheld],
        "removals": [
            {
                "source_id": removal.source_id,
                "email": removal.email,
                "instance_id": removal.remote_instance_id,
                "tenant_id": removal.remote_tenant_id,
                "removed_at": iso(removal.removed_at),
                "run": removal.run_id,
            }
            for removal in found.removals
        ],
        "why": list(found.why),
        "begin": _matches(search.begin, _fields),
        "named": _matches(search.named, _fields),
        "near": _matches(search.near, _fields),
        "tenants": _matches(search.tenants, _tenant_fields),
        "instances": _matches(search.instances, _instance_fields),
        "parts": search.has_parts,
        "cut": search.is_cut,
        "live": live and _live_document(found, live),
        "live_problem": "; ".join(live.problems) if live else "",
    }


def _live_document(found: Lookup, live: LiveLookup) -> dict[str, Any]:
    accounts = comparison.accounts(found, live)
    return {
        "at": iso(live.at),
        "routes": [_fields(route) for route in live.master.rows],
        "differences": _sentences(accounts, comparison.on_master),
        "accounts": comparison.counts(accounts),
        "problem": live.master.problem,
        "instances": {
            name: {
                "users": [_fields(user) for user in there.rows],
                "differences": _sentences(_at(accounts, there.label), comparison.on_instance),
                "problem": there.problem,
            }
            for name, there in live.instances.items()
        },
    }


def _matches(of: Matches[T], fields: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    return {"rows": [fields(row) for row in of.rows], "more": of.more}


def _tenant_fields(tenant: Tenant) -> dict[str, Any]:
    names = ("instance_id", "remote_id", "name", "status", "vanished_at")
    return {name: _plain(getattr(tenant, name)) for name in names}


def _instance_fields(instance: RdsInstance) -> dict[str, Any]:
    return {"id": instance.pk, "name": instance.name, "is_active": instance.is_active}


def _sentences(
    accounts: Iterable[Account], differences: Callable[[Account], Iterator[str]]
) -> list[str]:
    return [sentence for account in accounts for sentence in differences(account)]


def _at(accounts: Iterable[Account], label: str) -> list[Account]:
    return [account for account in accounts if account.at == label]


def _account(route: Route, now: datetime) -> str:
    there = places.condition_of(route)
    place = f"{instance_called(route.instance_id)}, not registered"
    if there is not None:
        place = f"{there.label}, {there.in_words(now)}"
    name = f" “{route.user_name}”" if route.user_name else ""
    status = route.status or "status unknown"
    return f"{place}: {route.tenant}, user {route.user_id}{name}, {status}"


def _removed(removal: RouteRemoval) -> str:
    return (
        f"removed at {removal.removed_at:%Y-%m-%d %H:%M} UTC: tenant "
        f"{removal.remote_tenant_id} on {instance_called(removal.remote_instance_id)}"
    )


def _live_lines(live: LiveLookup, accounts: tuple[Account, ...]) -> Iterator[str]:
    at = f"{live.at:%H:%M:%S} UTC"
    if not live.master.problem:
        yield f"On the master at {at}: {len(live.master.rows)}"
        yield from _said(_sentences(accounts, comparison.on_master), "the same as in the cache")
    for there in live.instances.values():
        if not there.problem:
            yield f"On {there.label} at {at}: {len(there.rows)}"
            here = _at(accounts, there.label)
            yield from _said(_sentences(here, comparison.on_instance), "as it is known")
    if accounts:
        yield comparison.summary(accounts)


def _said(differences: list[str], none: str) -> Iterator[str]:
    yield from (f"  {sentence}" for sentence in differences or [none])


def _fields(row: Any) -> dict[str, Any]:
    return {name: _plain(value) for name, value in asdict(row).items()}


def _plain(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value
