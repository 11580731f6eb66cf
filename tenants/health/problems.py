"""What is wrong with the instances: down, refusing RAINBO's credentials, degraded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from common import text
from common.joint_query import Answers
from common.text import format_duration, listed
from syncs.status.problems import Link, Problem, Severity, Source
from syncs.status.sync_problems import NOTHING_TO_READ
from tenants.health import certificate_problems, condition, overview
from tenants.health.overview import Down, Fleet
from tenants.health.past import PAST


@dataclass(frozen=True)
class FleetFacts:
    now: datetime
    fleet: Fleet


def read(answers: Answers, now: datetime) -> FleetFacts:
    return FleetFacts(now, overview.fleet_in(answers))


def judge(facts: FleetFacts, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    if not facts.fleet.active:
        yield _nothing_to_read(facts.fleet)
        return
    yield from _no_master(facts.fleet)
    yield from _down(facts.fleet, facts.now)
    yield from _degraded(facts.fleet)
    yield from certificate_problems.ending(facts.fleet, facts.now)


def watch(facts: FleetFacts) -> Iterator[Problem]:
    """Lags of replicas in seconds, and days for which certificates are valid."""
    yield from _lagging(facts.fleet)
    yield from certificate_problems.watched(facts.fleet, facts.now)


def tenants(facts: FleetFacts) -> dict[str, int | None]:
    """Of each active instance, as it last confirmed them."""
    known = facts.fleet.tenants or {}
    return {str(i.pk): known.get(i.pk) if i.has_tenants else 0 for i in facts.fleet.active}


INSTANCES = Source(
    name="instances",
    ask=overview.ask,
    read=read,
    judge=judge,
    permissions=("tenants.view_rdsinstance", "tenants.change_rdsinstance"),
    watch=watch,
    past=PAST,
    tenants=tenants,
)


def _nothing_to_read(fleet: Fleet) -> Problem:
    words = "no instance is registered yet: there is nothing to read"
    if count := len(fleet.instances):
        which = f"none of the {count:,} instances is" if count > 1 else "the one instance is not"
        words = f"{which} active: nothing is read"
    return Problem("instances/none", Severity.UNKNOWN, NOTHING_TO_READ, words, Link("fleet"))


def _no_master(fleet: Fleet) -> Iterator[Problem]:
    """Routes that were read once are no longer refreshed without a master."""
    if fleet.all_routes and fleet.has_no_master:
        yield Problem(
            key="master/missing",
            severity=Severity.INSTANCE_DOWN,
            cause="no master",
            text=f"no instance is the master: {fleet.all_routes:,} routes are no longer refreshed; "
            "mark the instance that holds the directory of e-mails",
            link=Link("fleet"),
            about_all="instance",
        )


def _down(fleet: Fleet, now: datetime) -> Iterator[Problem]:
    """The master by itself, since all routes wait for it; several others together.

    Those that refuse RAINBO's credentials apart: they are up, and serve their customers.
    """
    silent = tuple(down for down in fleet.down if not down.refuses)
    if len(silent) > 1 and len(silent) == len(fleet.active):
        words = f"none of the {len(fleet.down):,} instances answers{_last_answer(fleet, now)}"
        waits = _waits(fleet, all_routes=True)
        yield _problem(
            "instances/down", f"{words}: {waits}", fleet.down, _each(fleet, fleet.down, now)
        )
        return
    for down in fleet.down:
        if down.is_master:
            yield _one_down(fleet, down, "master/down", now, _each(fleet, (down,), now))
    refusing = tuple(down for down in fleet.down if down.refuses)
    for key, found in (("instances/down", silent), ("instances/refusing", refusing)):
        others = tuple(down for down in found if not down.is_master)
        if len(others) == 1:
            yield _one_down(fleet, others[0], key, now, _each(fleet, others, now))
        elif others:
            yield _several_down(fleet, others, key, now)


def _each(fleet: Fleet, down: tuple[Down, ...], now: datetime) -> tuple[Problem, ...]:
    return tuple(_one_down(fleet, one, f"instance/{one.pk}/down", now) for one in down)


def _one_down(
    fleet: Fleet, down: Down, key: str, now: datetime, parts: tuple[Problem, ...] = ()
) -> Problem:
    role = ", the master," if down.is_master else ""
    what = condition.unreadable(down.since, now, refuses=down.refuses)
    waits = _waits(replace(fleet, down=(down,)), all_routes=down.is_master)
    return _problem(key, f"{down.label}{role} {what}: {waits}", (down,), parts)


def _several_down(fleet: Fleet, down: tuple[Down, ...], key: str, now: datetime) -> Problem:
    first = min((one.since for one in down if one.since), default=None)
    be = "are up and refuse RAINBO's credentials" if down[0].refuses else "are down"
    of = f"{len(down):,} of {len(fleet.active):,} instances {be}"
    since = f", the first{text.since(first, now)}" if first else ""
    waits = _waits(replace(fleet, down=down), all_routes=False)
    names = listed([one.label for one in down])
    each = _each(fleet, down, now)
    return _problem(key, f"{of}{since}: {waits} ({names})", down, each)


def _problem(
    key: str, words: str, down: tuple[Down, ...], parts: tuple[Problem, ...] = ()
) -> Problem:
    refuse = all(one.refuses for one in down)
    return Problem(
        key=key,
        severity=Severity.INSTANCE_DOWN,
        cause="credentials refused" if refuse else "instance down",
        text=words,
        link=Link("instance", str(down[0].pk)) if len(down) == 1 else Link("fleet"),
        affected=tuple(str(one.pk) for one in down),
        parts=parts,
        measure=down[0].checks if len(down) == 1 else None,
    )


def _last_answer(fleet: Fleet, now: datetime) -> str:
    last = max((down.since for down in fleet.down if down.since), default=None)
    return f", the last went down at {text.format_clock(last, now)}" if last else ""


def _waits(fleet: Fleet, *, all_routes: bool) -> str:
    """`14 tenants and 3,120 routes wait for it`: all routes, when it is the directory's."""
    held = fleet.waiting.in_words(fleet.all_routes if all_routes else None)
    return f"{held} for {'it' if len(fleet.down) == 1 else 'them'}"


def _degraded(fleet: Fleet) -> Iterator[Problem]:
    for instance in fleet.degraded:
        pk = str(instance.pk)
        why = f": {text.truncate(instance.last_error)}" if instance.last_error else ""
        yield Problem(
            key=f"instance/{pk}/degraded",
            severity=Severity.DEGRADED,
            cause="degraded",
            text=f"{instance} is degraded{why}",
            link=Link("instance", pk),
            affected=(pk,),
        )


def _lagging(fleet: Fleet) -> Iterator[Problem]:
    """Of replicas that answered; one that can't say how far behind it is, is degraded."""
    for instance in fleet.active:
        lag = instance.replica_lag_s
        if not instance.is_replica or instance.is_down or lag is None:
            continue
        pk, behind = str(instance.pk), format_duration(timedelta(seconds=lag))
        yield Problem(
            key=f"instance/{pk}/replica lag",
            severity=Severity.DEGRADED,
            cause="replica lag",
            text=f"{instance} is {behind} behind its primary: what is read there is as old",
            link=Link("instance", pk),
            affected=(pk,),
            measure=lag,
        )
