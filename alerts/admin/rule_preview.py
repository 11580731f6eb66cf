"""What the form of a rule shows before it is saved: what would have fired in the last 7 days."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from alerts.preview import Episode, Preview, preview
from alerts.rules import Rule
from common import clock, markup
from common.text import counted, format_duration, sentence
from syncs.reports import problem_links


def context(rule: Rule, request: HttpRequest) -> dict[str, Any]:
    """What the template shows of a rule with the values of the form."""
    found = preview(rule, clock.database_now(), request.user.has_perm)
    return {
        "preview": found,
        "preview_values": _values(rule),
        "preview_count": counted(found.count, "incident"),
        "preview_since": markup.moment(found.since, found.until),
        "preview_rows": [_row(episode, found) for episode in found.episodes],
        "preview_more": found.count - len(found.episodes),
    }


def _values(rule: Rule) -> str:
    """`more than 300 seconds, for 5 min`"""
    parts = []
    if rule.threshold is not None:
        parts.append(f"{rule.edge.value} {rule.threshold:g} {rule.unit}")
    if rule.hold:
        parts.append(f"for {format_duration(rule.hold)}")
    return ", ".join(parts)


def _row(episode: Episode, found: Preview) -> dict[str, Any]:
    lasted = format_duration((episode.end or found.until) - episode.begin)
    return {
        "begin": _begin(episode, found),
        "lasted": lasted if episode.end else f"{lasted}, and still does",
        "what": sentence(episode.problem.text),
        "came_back": episode.came_back,
        "url": problem_links.path(episode.problem.link.kind, episode.problem.link.key),
    }


def _begin(episode: Episode, found: Preview) -> SafeString:
    """Of what had begun before, when is not known."""
    if episode.begin <= found.since:
        return markup.quiet("before")
    return markup.moment(episode.begin, found.until)
