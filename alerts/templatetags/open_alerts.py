"""Links to the open incidents that a page's thing has to do with, for pages of every app."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils import timezone

from alerts import queries
from common import markup
from common.text import counted, in_viewer_zone, truncate

register = template.Library()
SHOWN = 5
LONGEST = 90  # characters of what an incident says, where its page is about more than one thing


@register.inclusion_tag("alerts/incident_list_notes.html", takes_context=True)
def incident_list_notes(context: Any) -> Any:
    """What the list of incidents doesn't show by itself: its age, and what is muted."""
    may = context["request"].user.has_perm
    muted = 0 if context["request"].GET.get("state") else queries.count_muted(may)
    return {
        "warning": queries.evaluation_warning(timezone.now()),
        "muted": counted(muted, "open incident") if muted else "",
    }


@register.inclusion_tag("alerts/open_alerts.html", takes_context=True)
def open_alerts(
    context: Any,
    target: object = None,
    sync: str = "",
    run: Any = None,
    link: str = "",
    key: object = "",
) -> Any:
    """The open incidents of a target, of a sync's schedule, of a run, or of the page that a kind of
    link and its key lead to, in one query.

    target: the key of an instance or of a connection. Nothing without the permission to view
    incidents.
    """
    from alerts.admin.badges import level_badge  # not before: the theme loads all tags first

    if not context["perms"]["alerts"]["view_incident"]:
        return {"alerts": (), "more": 0}
    may = context["request"].user.has_perm
    found = queries.open_about(
        target=str(target or ""),
        sync=sync,
        run=run,
        link=(link, str(key)) if link else None,
        may=may,
    )
    now = timezone.now()
    shown = [
        (
            row,
            level_badge(row.level),
            markup.moment(row.since, now),
            "" if target else in_viewer_zone(truncate(row.brief, LONGEST), row.last_seen_at),
        )
        for row in found[:SHOWN]
    ]
    return {"alerts": shown, "more": len(found) - len(shown)}
