"""What a connection's page shows next to its form."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import manage_command, markup, text
from common.markup import Tone
from integrations import access, plugin, states
from integrations.due import Judgement, State
from integrations.models import Connection
from integrations.plugin import OAuth2
from syncs.admin.badges import TARGET_TONES
from syncs.models import RunTarget
from syncs.reports import run_report

RUNS = 10
DISCONNECTED = "it was disconnected: connect it again to have it fetched"

TONES: dict[State, Tone] = {
    State.RECONNECT: Tone.BAD,
    State.HELD: Tone.WARNING,
    State.FAILED: Tone.BAD,
    State.RETRYING: Tone.WARNING,
    State.WAITING: Tone.BUSY,
    State.PROCESSING: Tone.BUSY,
    State.DUE: Tone.BUSY,
    State.CONNECTED: Tone.GOOD,
    State.PAUSED: Tone.QUIET,
    State.DISABLED: Tone.QUIET,
}


def context(row: Connection, user: Any) -> dict[str, Any]:
    now = timezone.now()
    judged = states.judge([row], now)[row.pk]
    may_change = user.has_perm("integrations.change_connection") and access.may_manage(user, row)
    return {
        "badge": badge(judged),
        "sentence": text.sentence(DISCONNECTED if row.is_disconnected else judged.why),
        "error": row.last_error,
        "facts": _facts(row, judged, now),
        "may_change": may_change,
        "may_read": access.may_read_records(user, row),
        "may_fetch": may_change and row.enabled and row.reconnect_since is None,
        "is_paused": judged.state is State.PAUSED and row.owner.is_active,
        "oauth": _oauth(row, user),
        "takes_token": (known := plugin.all_plugins().get(row.service)) is not None
        and plugin.entered(known) is not None,
        "may_delete": may_change and user.has_perm("integrations.delete_connection"),
        "is_disconnected": row.is_disconnected,
        "is_broken": row.reconnect_since is not None,
        "records": reverse(
            "admin:integrations_externalrecord_changelist", query={"connection": row.pk}
        ),
        "runs": _runs(row, now),
        "command": manage_command.line(f"integrations_fetch --connection {row.pk}"),
    }


def ways() -> list[dict[str, str]]:
    """The services whose accounts can be connected in the browser."""
    return [
        {
            "title": service.title,
            "url": reverse("admin:integrations_connection_connect", args=[service.name]),
        }
        for service in plugin.by_title()
        if isinstance(service.auth, OAuth2)
    ]


def _oauth(row: Connection, user: Any) -> str:
    """Where its owner connects it again in the browser; empty for others, and other services."""
    known = plugin.all_plugins().get(row.service)
    if known is None or not isinstance(known.auth, OAuth2) or row.owner_id != user.pk:
        return ""
    if row.base_url != known.base_url:  # its own is another place, where this account isn't
        return ""
    return reverse("admin:integrations_connection_connect_again", args=[row.pk])


def badge(judged: Judgement) -> SafeString:
    return markup.badge(str(judged.state), TONES[judged.state], judged.why)


def following(judged: Judgement, now: datetime) -> SafeString:
    """When it is due next; a person's turn is said so."""
    if judged.next_at is not None:
        is_due = judged.next_at <= now
        return format_html("{}", "due now") if is_due else markup.age(judged.next_at, now)
    is_ours = judged.state is State.PROCESSING
    return markup.quiet("after this run" if is_ours else "when somebody acts")


def _facts(row: Connection, judged: Judgement, now: datetime) -> list[tuple[str, Any]]:
    known = plugin.all_plugins().get(row.service)
    return [
        ("service", known.title if known else f"{row.service} (not installed)"),
        ("owner", f"{row.owner}{', shared with others' if row.is_shared else ', private'}"),
        ("account", row.account or markup.quiet("not known")),
        ("address", row.base_url),
        ("next", following(judged, now)),
        ("last fetched", markup.moment(row.last_successful_update_at, now)),
        ("last triggered", markup.moment(row.last_triggered_at, now, missing="not since then")),
        ("records", markup.number(row.record_count)),
        ("withheld", markup.number(row.withheld_count)),
        ("credentials", "stored, encrypted" if row.credentials else markup.quiet("none")),
        *([("granted", ", ".join(row.scopes))] if row.scopes else []),
    ]


def _runs(row: Connection, now: datetime) -> list[dict[str, Any]]:
    parts = RunTarget.objects.filter(target=row.key, run__sync=row.service)
    found = parts.select_related("run").order_by("-run_id")[:RUNS]
    return [
        {
            "url": reverse("admin:syncs_syncrun_change", args=[part.run_id]),
            "name": f"run {part.run_id}",
            "state": markup.badge(part.state, TARGET_TONES[part.state]),
            "when": markup.age(part.run.finished_at, now, missing="running"),
            "counts": ", ".join(
                run_report.describe_count(name, count, proposed=part.state == "held")
                for name in run_report.COUNTS
                if (count := getattr(part, name)) is not None
            ),
            "message": part.error or part.note,
        }
        for part in found
    ]
