"""Incidents as pages, commands and programs read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import F, Q
from django.db.models.functions import Now

from alerts import advice, affected
from alerts.models import EVALUATION, OPEN, STUCK_AFTER, Incident, Level, Mute
from common.clock import from_iso, iso
from common.joint_query import Answers, Questions, Statement, compiled
from common.redaction import hide_emails
from common.text import since
from syncs import hooks
from syncs.models import SyncRun
from syncs.status import problems

_OPENED = """
    SELECT rule, level, count(*) AS incidents
      FROM alert_incidents
     WHERE resolved_at IS NULL AND opened_at IS NOT NULL GROUP BY rule, level"""
_CHANNELS = """
    SELECT channel.name, channel.kind, channel.last_sent_at,
           channel.failing_since IS NOT NULL OR channel.gone_at IS NOT NULL AS is_failing,
           count(message.id) AS waiting, min(message.created_at) AS waiting_since
      FROM alert_channels AS channel
      LEFT JOIN alert_deliveries AS message ON message.channel_id = channel.id
       AND message.sent_at IS NULL AND message.given_up_at IS NULL
     WHERE channel.enabled GROUP BY channel.id ORDER BY channel.name"""


def evaluated_at() -> datetime | None:
    """When an evaluation ended last; None before the first."""
    return hooks.last_noted(EVALUATION)


def evaluation_warning(now: datetime) -> str:
    """A sentence if what is stored of incidents is old; empty if not."""
    at = evaluated_at()
    if at is None:
        return "Alerts have not been evaluated yet: start the workers, or run evaluate_alerts."
    if now - at <= STUCK_AFTER:
        return ""
    return f"Alerts have not been evaluated{since(at, now)}: what is shown is as old."


def open_incidents() -> list[Incident]:
    """All that are open, the loudest first, symptoms after all others."""
    rows = Incident.objects.filter(OPEN).select_related("cause")
    return sorted(rows, key=lambda row: (row.cause_id is not None, row.level, row.rank, row.pk))


def visible(may: Callable[[str], bool]) -> Q:
    """The incidents that a person with these permissions may see: of sources whose problems the
    first page shows them, and those of before sources were stored."""
    return _of(problems.visible_sources(may))


def _of(sources: Iterable[str]) -> Q:
    return Q(source__in=[*sources, ""])


def open_about(
    *,
    target: str = "",
    sync: str = "",
    run: SyncRun | None = None,
    link: tuple[str, str] | None = None,
    may: Callable[[str], bool] = lambda _: True,
) -> list[Incident]:
    """Open incidents that have to do with a target (by its key), a sync (by its name), or a run:
    those that name it, and those of its sync that began before its end; of a sync and of a run
    that has not ended, also the workers'. link: the kind and the key of where to look at a
    problem. The loudest first."""
    about = Q() if link is None else Q(link_kind=link[0], link_key=link[1])
    if sync or (run and run.finished_at is None):
        about |= Q(link_kind="worker")
    if target:
        about |= Q(affected__contains=[target])
    if sync:
        about |= Q(key__startswith=f"sync/{sync}/") | Q(link_kind="sync", link_key=sync)
    if run:
        of_sync = Q(key__startswith=f"sync/{run.sync}/")
        ended = Q(since__lte=run.finished_at) if run.finished_at else Q()
        about |= Q(link_kind="run", link_key=str(run.pk)) | (of_sync & ended)
    if not about:
        return []
    rows = Incident.objects.filter(OPEN).filter(about).filter(visible(may))
    return list(rows.order_by(F("cause").desc(nulls_first=True), "level", "rank", "pk"))


def last_incidents(count: int) -> list[Incident]:
    """The last of all, the newest first; without those that passed before they were opened."""
    rows = Incident.objects.exclude(opened_at=None).select_related("cause")
    return list(rows.order_by("-since", "-pk")[:count])


def mutes(now: datetime) -> Mapping[str, Mute]:
    """The mutes in force, by their keys."""
    return {mute.key: mute for mute in Mute.objects.filter(until__gt=now)}


def count_muted(may: Callable[[str], bool]) -> int:
    """How many of the open ones are muted, so that the list of open ones leaves them out."""
    muted = Mute.objects.filter(until__gt=Now()).values("key")
    return Incident.objects.filter(OPEN, visible(may), key__in=muted).count()


def count_open(may: Callable[[str], bool]) -> int:
    """How many are open and neither muted nor explained by another: what the badge shows."""
    statement = _open_ids(problems.visible_sources(may))
    parameters: Any = statement.parameters
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM ({statement.sql}) AS found", parameters)  # noqa: S608
        return int(cursor.fetchone()[0])


@lru_cache(maxsize=64)
def _open_ids(sources: frozenset[str]) -> Statement:
    """Every page shows their count: Django builds the question once for these sources."""
    muted = Mute.objects.filter(until__gt=Now()).values("key")
    rows = Incident.objects.filter(OPEN, _of(sources), cause=None).exclude(key__in=muted)
    return compiled(rows.values("pk"))


@dataclass(frozen=True)
class ChannelFigures:
    """Of a channel that is enabled. waiting: messages that are to be sent, the oldest of them made
    at waiting_since. is_failing: its last attempt failed, or it is gone."""

    name: str
    kind: str
    is_failing: bool
    last_sent_at: datetime | None
    waiting: int
    waiting_since: datetime | None


@dataclass(frozen=True)
class Figures:
    """opened: of open incidents, muted and explained ones too, how many: by (rule, level)."""

    opened: Mapping[tuple[str, int], int]
    channels: tuple[ChannelFigures, ...]


def ask_figures() -> Questions:
    """The questions about what `/metrics` shows of alerts, whose answers `figures_in` takes."""
    return {"open incidents": Statement(_OPENED), "channels": Statement(_CHANNELS)}


def figures_in(answers: Answers) -> Figures:
    opened = {(row["rule"], row["level"]): row["incidents"] for row in answers["open incidents"]}
    times = ("last_sent_at", "waiting_since")
    channels = (
        ChannelFigures(**row | {name: from_iso(row[name]) for name in times})
        for row in answers["channels"]
    )
    return Figures(opened, tuple(channels))


def document(
    incident: Incident, now: datetime, muted: Mapping[str, Mute], *, personal_data: bool = True
) -> dict[str, Any]:
    """An incident for programs: times in ISO 8601. personal_data: with names of people."""
    mute = muted.get(incident.key)
    return {
        "incident": incident.pk,
        "key": incident.key,
        "rule": incident.rule,
        "level": Level(incident.level).label,
        "title": incident.title,
        "text": incident.text if personal_data else hide_emails(incident.brief),
        "affected": [*incident.affected],
        "affected_counts": {**affected.NOT_COUNTED, **incident.affected_counts},
        "since": iso(incident.since),
        "opened_at": iso(incident.opened_at),
        "last_seen_at": iso(incident.last_seen_at),
        "resolved_at": iso(incident.resolved_at),
        "acknowledged_by": incident.acknowledged_by if incident.is_acknowledged(now) else "",
        "acknowledged_until": iso(incident.acknowledged_until),
        "muted_until": iso(mute.until) if mute else None,
        "mute_reason": mute.reason if mute else "",
        "cause": incident.cause_id,
        "came_back": incident.flaps,
        "command": advice.command(incident),
    }


def documents(
    incidents: Sequence[Incident], now: datetime, *, personal_data: bool = True
) -> list[dict[str, Any]]:
    muted = mutes(now)
    return [document(one, now, muted, personal_data=personal_data) for one in incidents]
