"""Rows and facts of alerts, with believable defaults."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alerts import evaluation, rules
from alerts.channel_problems import CHANNELS
from alerts.evaluation import Facts, Outcome
from alerts.models import Channel, ChannelKind, Incident, Mute
from syncs.status.problems import Link, Problem, Severity

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SECRET = "QSECRETQ"
TENANTS = {"1": 14, "2": 26}  # of each instance
KEY = "whsec_" + "QUFB" * 8


def problem(
    key: str = "instance/2/down",
    severity: Severity = Severity.INSTANCE_DOWN,
    affected: tuple[str, ...] = ("2",),
    **fields: Any,
) -> Problem:
    known: dict[str, Any] = {"cause": "it broke", "text": f"{key} is wrong", "link": Link("fleet")}
    return Problem(key=key, severity=severity, affected=affected, **known | fields)


def channel(name: str = "ops", **fields: Any) -> Channel:
    url = fields.pop("url", f"https://hooks.example/services/{SECRET}")
    row = Channel(name=name, kind=fields.pop("kind", ChannelKind.SLACK), **fields)
    row.set_address(url, "hooks.example")
    row.set_signing(KEY)
    row.save(force_insert=True)
    return row


def facts(*found: Problem, at: datetime = NOW, hold: timedelta | None = timedelta()) -> Facts:
    """hold: instead of that of the rules; None: theirs."""
    in_force = rules.in_force([])
    if hold is not None:
        in_force = {name: replace(rule, hold=hold) for name, rule in in_force.items()}
    muted = frozenset(Mute.objects.filter(until__gt=at).values_list("key", flat=True))
    channels = CHANNELS.read_alone(at).channels
    return Facts(rules.apply(in_force, found, []), found, muted, channels, tenants=TENANTS)


def see(*found: Problem, at: datetime = NOW, hold: timedelta | None = timedelta()) -> Outcome:
    """Evaluate these problems at that time."""
    return evaluation.apply(facts(*found, at=at, hold=hold), at)


def incident(at: datetime = NOW, **fields: Any) -> Incident:
    """The incident of one problem, which is open."""
    one = problem(**fields)
    see(one, at=at)
    return Incident.objects.get(key=one.key, resolved_at=None)
