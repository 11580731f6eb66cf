"""The state of connections: as lines for people and as documents for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from common.clock import iso
from common.terminal import printable_line
from common.text import format_clock, truncate
from integrations.due import Judgement
from integrations.models import Connection
from integrations.plugin import Plugin


def line(row: Connection, judged: Judgement, now: datetime) -> str:
    """`mine (github, connection 3): due; it was never fetched`."""
    following = ""
    if judged.next_at is not None:
        is_now = judged.next_at <= now
        following = "due now" if is_now else f"next at {format_clock(judged.next_at, now)}"
    error = f"last error: {truncate(row.last_error)}" if row.last_error else ""
    parts = [str(judged.state), judged.why, following, error]
    return printable_line(f"{row}: {'; '.join(dict.fromkeys(filter(None, parts)))}")


def lines(rows: Sequence[Connection], judged: Mapping[int, Judgement], now: datetime) -> list[str]:
    return [line(row, judged[row.pk], now) for row in rows]


def document(row: Connection, judged: Judgement, now: datetime) -> dict[str, Any]:
    """Times in ISO 8601; never a credential."""
    return {
        "connection": row.pk,
        "service": row.service,
        "name": row.name,
        "owner": row.owner.get_username(),
        "state": judged.state,
        "due": judged.is_due(now),
        "why": judged.why,
        "next_at": iso(judged.next_at),
        "update_frequency_minutes": row.update_frequency_minutes,
        "last_triggered_at": iso(row.last_triggered_at),
        "last_successful_update_at": iso(row.last_successful_update_at),
        "attempt": row.attempt,
        "last_error": row.last_error,
        "records": row.record_count,
        "withheld": row.withheld_count,
    }


def service_documents(
    services: Iterable[Plugin],
    rows: Sequence[Connection],
    judged: Mapping[int, Judgement],
    now: datetime,
) -> list[dict[str, Any]]:
    """Sum up the connections of each service; of services that nobody connected, too."""
    titles = {service.name: service.title for service in services}
    by_service: dict[str, list[Connection]] = {name: [] for name in titles}

    def times(found: Iterable[Connection]) -> list[datetime]:
        return [at for row in found if (at := judged[row.pk].next_at) is not None]

    for row in rows:
        by_service.setdefault(row.service, []).append(row)
    return [
        {
            "service": name,
            "title": titles.get(name, name),
            "connections": len(found),
            "due": sum(judged[row.pk].is_due(now) for row in found),
            "states": Counter(str(judged[row.pk].state) for row in found),
            "next_at": iso(min(times(found), default=None)),
            "records": sum(row.record_count for row in found),
            "withheld": sum(row.withheld_count for row in found),
        }
        for name, found in by_service.items()
    ]
