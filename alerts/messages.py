"""What channels get: one message of several incidents, as a document and as plain text.

The document is what the outbox stores, so that a message is the same however often it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.urls import reverse

from alerts import advice, affected
from alerts.models import Content, Incident, Level, Notice, NoticeKind
from common.redaction import hide_emails
from common.terminal import printable_line
from common.text import counted, format_duration, sentence, truncate
from syncs.reports import problem_links

SHOWN = 8  # incidents that a message describes; of more, how many
ORDER = tuple(NoticeKind)
VERSION = 1
MENTION = re.compile(r"(?<![\w.+-])@(?=\w)")


def compose(notices: Sequence[Notice], now: datetime, *, personal_data: bool) -> Content:
    """A message about these notices: of each key the last of them, the loudest first.

    What ended and began again since the last message is only said to be there again.
    personal_data: names of people and e-mail addresses may leave RAINBO.
    """
    last: dict[str, Notice] = {}
    for notice in notices:
        before = last.get(notice.incident.key)
        if before and before.kind == NoticeKind.RESOLVED and notice.kind == NoticeKind.OPENED:
            notice.kind = NoticeKind.REOPENED
        last[notice.incident.key] = notice
    items = [_item(notice, now, personal_data) for notice in last.values()]
    items.sort(key=lambda item: (item["kind"] == NoticeKind.RESOLVED, item["rank"]))
    return {
        "version": VERSION,
        "title": _title(items),
        "at": now.isoformat(),
        "console": console_url(reverse("admin:alerts_incident_changelist")),
        "incidents": items,
    }


def with_incidents(content: Content, items: Sequence[dict[str, Any]]) -> Content:
    """The message with these of its incidents alone."""
    return content | {"title": _title(items), "incidents": [*items]}


def of_test(channel: str, now: datetime) -> Content:
    """The message of *Send a test*."""
    return {
        "version": VERSION,
        "title": "RAINBO: test message",
        "at": now.isoformat(),
        "console": console_url(reverse("admin:alerts_incident_changelist")),
        "incidents": [],
        "note": f"This is a test of the channel {channel}. Nothing is wrong.",
    }


def console_url(path: str) -> str:
    """The address of a page for people elsewhere; empty if RAINBO doesn't know its own."""
    base: str = settings.RAINBO_CONSOLE_URL
    return f"{base.rstrip('/')}{path}" if base else ""


def as_text(content: Content, longest: int | None = None) -> str:
    """The message as plain text; longest: characters, of which it keeps the most important."""
    items = content["incidents"]
    count = min(len(items), SHOWN)
    while True:
        text = _text(content, count)
        if longest is None or len(text) <= longest:
            return text
        if count == 0:
            return f"{text[: longest - 1]}…"
        count -= 1


def calls_nobody(text: str) -> str:
    """The text with names such as @here made harmless, where a service takes them from a text.

    An e-mail address stays as it is.
    """
    return MENTION.sub("@\u200d", text)


def _text(content: Content, count: int) -> str:
    items = content["incidents"]
    parts = [content["title"]]
    parts += [content["note"]] if content.get("note") else []
    parts += [_paragraph(item) for item in items[:count]]
    if more := len(items) - count:
        parts.append(f"… and {counted(more, 'more incident')}, which the console lists.")
    parts += [content["console"]] if content["console"] else []
    return "\n\n".join(parts)


def _paragraph(item: dict[str, Any]) -> str:
    is_over = item["kind"] == NoticeKind.RESOLVED and not item.get("let_go")
    lines = [f"{_word(item)}{'. It was' if is_over else ''}: {item['text']}", item["course"]]
    if item["kind"] != NoticeKind.RESOLVED:
        lines.append(f"What to do: {item['command']}")
    lines += [item["url"]] if item["url"] else []
    return "\n".join(lines)


def _word(item: dict[str, Any]) -> str:
    words = {
        NoticeKind.OPENED: item["level"],
        NoticeKind.WORSE: f"now {item['level']}",
        NoticeKind.REOPENED: f"{item['level']}, again",
        NoticeKind.REMINDER: f"still {item['level']}",
        NoticeKind.RESOLVED: "no longer reported" if item.get("let_go") else "resolved",
    }
    return str(words[NoticeKind(item["kind"])]).upper()


def _item(notice: Notice, now: datetime, personal_data: bool) -> dict[str, Any]:
    incident = notice.incident
    text = incident.text if personal_data else hide_emails(incident.brief)
    page = reverse("admin:alerts_incident_change", args=[incident.pk])
    return {
        "kind": notice.kind,
        "incident": incident.pk,
        "key": incident.key,
        "rule": incident.rule,
        "level": Level(incident.level).label,
        "rank": [incident.level, incident.rank],
        "title": incident.title,
        "text": sentence(printable_line(truncate(text, 400))),
        "course": _course(incident, now),
        "since": incident.since.isoformat(),
        "resolved_at": incident.resolved_at and incident.resolved_at.isoformat(),
        "let_go": incident.let_go,
        "affected": [*incident.affected],
        "affected_counts": incident.affected_counts,
        "command": advice.command(incident),
        "url": console_url(page),
        "look": console_url(problem_links.path(incident.link_kind, incident.link_key)),
    }


def _course(incident: Incident, now: datetime) -> str:
    """`Alert since 13:05 UTC (40 min). Affects 2 instances and 40 tenants.`"""
    end = incident.resolved_at or now
    length = format_duration(end - incident.since)
    if incident.resolved_at:
        course = f"It lasted {length}, until {_clock(incident.resolved_at, now)}."
        if incident.let_go:
            course = "It is still there, but its rule was switched off or changed."
    else:
        course = f"Alert since {_clock(incident.since, now)} ({length})."
    if whom := affected.in_words(incident.affected_counts):
        course += f" Affect{'ed' if incident.resolved_at else 's'} {whom}."
    if incident.flaps and not incident.resolved_at:
        course += f" It came back {counted(incident.flaps, 'time')}."
    return course


def _clock(at: datetime, now: datetime) -> str:
    """In UTC, whoever has it composed: a message has readers in several zones."""
    return f"{at:%H:%M} UTC" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def _title(items: Iterable[dict[str, Any]]) -> str:
    """`RAINBO: An instance is down`, `RAINBO: 3 problems, 2 urgent; 1 resolved`."""
    items = list(items)
    if len(items) == 1:
        return f"RAINBO: {items[0]['title']}{_suffix(items[0])}"
    wrong = [item for item in items if item["kind"] != NoticeKind.RESOLVED]
    urgent = sum(item["level"] == Level.URGENT.label for item in wrong)
    parts = []
    if wrong:
        parts.append(counted(len(wrong), "problem") + (f", {urgent:,} urgent" if urgent else ""))
    let_go = sum(bool(item.get("let_go")) for item in items)
    if ended := len(items) - len(wrong) - let_go:
        parts.append(f"{ended:,} resolved")
    parts += [f"{let_go:,} no longer reported"] if let_go else []
    return f"RAINBO: {'; '.join(parts)}"


def _suffix(item: dict[str, Any]) -> str:
    if item["kind"] != NoticeKind.RESOLVED:
        return ""
    return " (no longer reported)" if item.get("let_go") else " (resolved)"
