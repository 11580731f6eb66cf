"""The console's pages of incidents: what is wrong, its course, and who has taken it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity.log import record
from alerts import actions, advice, affected, queries
from alerts.admin.badges import level_badge, state_badges
from alerts.models import OPEN, Incident, Mute
from common import clock, manage_command, markup
from common.admin_filters import Choices, PlainFilter
from common.errors import UsageError
from common.model_admin import ReadOnlyAdmin, post_only
from common.text import format_duration, in_viewer_zone, listed, sentence
from syncs.reports import problem_links

CHANGE = "alerts.change_incident"
SHOWN = 20  # keys of what is affected
MUTES = {
    "1": "1 hour",
    "4": "4 hours",
    "24": "1 day",
    "168": "1 week",
    "720": "30 days",
    "8760": "1 year",
}


class StateFilter(PlainFilter):
    """Open ones, unless others are asked for."""

    title = "state"
    all_option = ("", "open")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("muted", "muted"), ("history", "resolved"), ("all", "all")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        seen = queryset.exclude(opened_at=None)
        if self.value() == "all":
            return seen.order_by("-since", "-pk")
        if self.value() == "history":
            return seen.filter(resolved_at__isnull=False).order_by("-since", "-pk")
        muted = Mute.objects.filter(until__gt=Now()).values("key")
        if self.value() == "muted":
            return seen.filter(OPEN, key__in=muted)
        return seen.filter(OPEN).exclude(key__in=muted)


class AcknowledgeForm(forms.Form):
    hours = forms.ChoiceField(choices=list(MUTES.items()), required=False)


class MuteForm(forms.Form):
    hours = forms.ChoiceField(choices=list(MUTES.items()))
    reason = forms.CharField(max_length=255)


@admin.register(Incident)
class IncidentAdmin(ReadOnlyAdmin):
    list_display = ("what", "level_shown", "states", "began", "length", "details")
    list_filter = (StateFilter,)
    sortable_by = ()
    change_form_outer_before_template = "alerts/incident_page.html"
    list_before_template = "alerts/incident_list_top.html"
    empty_text = "No incident is open."

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """An incident's page is our own: nothing of it is a form's field."""
        return ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        found: QuerySet[Incident] = super().get_queryset(request).select_related("cause")
        return found.filter(queries.visible(request.user.has_perm))

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        return () if request.GET.get("state") in ("all", "history") else ("level", "rank", "-since")

    def get_custom_urls(self) -> Any:
        return (
            ("<int:pk>/acknowledge/", "alerts_incident_acknowledge", acknowledge_view),
            ("<int:pk>/mute/", "alerts_incident_mute", mute_view),
            ("<int:pk>/unmute/", "alerts_incident_unmute", unmute_view),
        )

    def complete(self, rows: Sequence[Any]) -> None:
        now = timezone.now()
        known = queries.mutes(now) if rows else {}
        for row in rows:
            row.now, row.mute = now, known.get(row.key)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= page(context["original"], request.user.has_perm)
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    @admin.display(description="incident")
    def what(self, row: Any) -> str:
        return str(row.title)

    @admin.display(description="level")
    def level_shown(self, row: Any) -> SafeString:
        return level_badge(row.level)

    @admin.display(description="state")
    def states(self, row: Any) -> SafeString:
        return state_badges(row, row.mute, row.now)

    @admin.display(description="since")
    def began(self, row: Any) -> SafeString:
        return markup.age(row.since, row.now)

    @admin.display(description="lasted")
    def length(self, row: Any) -> str:
        return format_duration((row.resolved_at or row.now) - row.since)

    @admin.display(description="details")
    def details(self, row: Any) -> SafeString:
        return markup.brief(in_viewer_zone(row.text, row.last_seen_at), 120)


def page(row: Any, may: Callable[[str], bool]) -> dict[str, Any]:
    """What an incident's page shows, in a fixed number of queries."""
    now = timezone.now()
    facts: list[tuple[str, Any]] = [
        ("Since", markup.moment(row.since, now)),
        ("Last seen", markup.moment(row.last_seen_at, now)),
        ("Resolved", markup.moment(row.resolved_at, now, "not yet")),
        ("Rule", row.rule),
        ("Key", format_html("<code>{}</code>", row.key)),
        ("Affects", _affects(row)),
        ("Came back", f"{row.flaps:,} ×" if row.flaps else markup.quiet("no")),
    ]
    if row.is_acknowledged(now):
        until = markup.moment(row.acknowledged_until, now, "it is resolved")
        facts.append(("Acknowledged", format_html("by {}, until {}", row.acknowledged_by, until)))
    if row.mute:
        until = markup.moment(row.mute.until, now)
        facts.append(
            ("Muted until", format_html("{}: {} ({})", until, row.mute.reason, row.mute.by))
        )
    return {
        "badges": format_html("{} {}", level_badge(row.level), state_badges(row, row.mute, now)),
        "sentence": sentence(in_viewer_zone(row.text, row.last_seen_at)),
        "look_url": problem_links.path(row.link_kind, row.link_key),
        "command": advice.command(row),
        "facts": facts,
        "mute": row.mute,
        "is_acknowledged": row.is_acknowledged(now),
        "mutes": MUTES.items(),
        "symptoms": [
            (one, in_viewer_zone(one.text, one.last_seen_at))
            for one in row.symptoms.filter(queries.visible(may), resolved_at=None)[:50]
        ],
        "timeline": [
            (markup.moment(e.at, now), e, in_viewer_zone(e.text, e.at))
            for e in row.events.all()[:500]
        ],
        "acknowledge_command": manage_command.line(f"alert_ack {row.pk}"),
    }


def _affects(row: Incident) -> SafeString | str:
    """`2 instances and 40 tenants (instance 2, instance 7)`"""
    words = affected.in_words(row.affected_counts)
    names = [
        f"instance {key}" if key.isdecimal() else key.replace("/", " ") for key in row.affected
    ]
    shown = listed(names, SHOWN)
    if words and shown:
        return f"{words} ({shown})"
    return words or shown or markup.quiet("not about single ones")


@post_only
def acknowledge_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Until it is resolved, or for as long as the form says."""
    row, form = _found(request, pk), AcknowledgeForm(request.POST)
    if not form.is_valid():
        return _back(request, pk, UsageError("choose for how long"))
    hours = form.cleaned_data["hours"]
    until = clock.database_now() + timedelta(hours=int(hours)) if hours else None
    try:
        with transaction.atomic():
            actions.acknowledge(pk, request.user.get_username(), until)
            record(request, "incident.acknowledged", row, after={"until": until})
    except UsageError as error:
        return _back(request, pk, error)
    end = f"until {timezone.localtime(until):%Y-%m-%d %H:%M %Z}" if until else "while it stays open"
    return _done(request, pk, f"Acknowledged. No reminder is sent {end}.")


@post_only
def mute_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    row, form = _found(request, pk), MuteForm(request.POST)
    if not form.is_valid():
        return _back(request, pk, UsageError("enter how long and why"))
    until = clock.database_now() + timedelta(hours=int(form.cleaned_data["hours"]))
    reason = form.cleaned_data["reason"]
    try:
        with transaction.atomic():
            actions.mute(pk, request.user.get_username(), until, reason)
            record(request, "incident.muted", row, after={"until": until, "reason": reason})
    except UsageError as error:
        return _back(request, pk, error)
    shown = f"{timezone.localtime(until):%Y-%m-%d %H:%M %Z}"
    return _done(request, pk, f"Muted until {shown}. It ends by itself.")


@post_only
def unmute_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    row = _found(request, pk)
    try:
        with transaction.atomic():
            actions.unmute(pk, request.user.get_username())
            record(request, "incident.unmuted", row)
    except UsageError as error:
        return _back(request, pk, error)
    return _done(request, pk, "The mute has ended.")


def _found(request: HttpRequest, pk: int) -> Incident:
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    return get_object_or_404(Incident.objects.filter(queries.visible(request.user.has_perm)), pk=pk)


def _back(request: HttpRequest, pk: int, error: UsageError) -> HttpResponse:
    messages.error(request, f"Nothing was changed: {error}.")
    return HttpResponseRedirect(reverse("admin:alerts_incident_change", args=[pk]))


def _done(request: HttpRequest, pk: int, words: str) -> HttpResponse:
    messages.success(request, words)
    return HttpResponseRedirect(reverse("admin:alerts_incident_change", args=[pk]))
