"""TLS certificates that will not be valid for long: of servers, and of the CAs given here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from common.text import counted
from syncs.status.problems import Link, Problem, Severity
from tenants.health.overview import Fleet
from tenants.models import RdsInstance

CAUSE = "certificate ends"
SOON = 21  # days: what the first page calls a problem, and the alert's rule by default
WATCHED = 97  # days: the longest threshold of the rule, and a week that its preview looks back
DAY = timedelta(days=1)


def ending(fleet: Fleet, now: datetime) -> Iterator[Problem]:
    """One problem for all that end soon: a CA that they share is one thing to do."""
    soon = [one for one in watched(fleet, now) if one.measure is not None and one.measure <= SOON]
    if len(soon) < 2:
        yield from soon
        return
    first = soon[0]
    yield Problem(
        key="certificates",
        severity=Severity.DEGRADED,
        cause=CAUSE,
        text=f"TLS certificates of {counted(len(soon), 'instance')} end soon; first, {first.text}",
        link=Link("fleet"),
        affected=tuple(key for one in soon for key in one.affected),
        parts=tuple(soon),
        measure=first.measure,
    )


def watched(fleet: Fleet, now: datetime) -> list[Problem]:
    """One for each active instance whose certificates are known, the first to end first."""
    found = [problem for one in fleet.active for problem in of_instance(one, now)]
    return sorted(found, key=lambda problem: problem.measure or 0.0)


def of_instance(instance: RdsInstance, now: datetime) -> Iterator[Problem]:
    """measure: days for which the certificate is valid, below 0 when it has ended."""
    ends = [
        (at, what)
        for at, what in (
            (instance.certificate_ends_at, "the TLS certificate"),
            (instance.ca_ends_at, "the CA certificate"),
        )
        if at is not None
    ]
    at, what = min(ends, default=(None, ""))
    if at is None or at - now > WATCHED * DAY:
        return
    pk = str(instance.pk)
    verb = "ended" if at <= now else "ends"
    yield Problem(
        key=f"instance/{pk}/certificate",
        severity=Severity.DEGRADED,
        cause=CAUSE,
        text=f"{what} of {instance} {verb} on {at:%Y-%m-%d at %H:%M} UTC: replace it, or RAINBO "
        "and others that verify it can't connect",
        link=Link("instance", pk),
        affected=(pk,),
        measure=(at - now) / DAY,
    )
