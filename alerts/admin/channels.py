"""The console's pages of channels: where messages go, and a test of each."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin

from activity.changes import Reading, reading
from activity.log import record
from activity.recorded_admin import Recorded
from alerts import outbox
from alerts import routing as routes
from alerts.admin.badges import channel_badge, delivery_state, level_badge
from alerts.admin.channel_form import ChannelForm
from alerts.channels import registry
from alerts.models import Channel, ChannelKind, Level
from common import markup
from common.model_admin import StrictUrls, post_only
from common.text import counted, listed

CHANGE = "alerts.change_channel"
RECORDED = (
    *("name", "kind", "enabled", "host", "recipients", "level", "syncs", "instances"),
    *("groups", "labels"),
    *("personal_data", "quiet_from", "quiet_to", "zone", "per_hour"),
)
SHOWN = 20  # messages
SECRETS = ("new_address", "new_signing")


@admin.register(Channel)
class ChannelAdmin(StrictUrls, Recorded, ModelAdmin):
    thing = "channel"
    added_as = "added"
    switch = "enabled"
    form = ChannelForm
    list_display = ("name", "kind_shown", "place", "state", "routing", "last_sent")
    sortable_by = ()
    actions = None
    show_full_result_count = True  # the table is small
    list_max_show_all = 0
    show_facets = admin.ShowFacets.NEVER
    empty_text = "No channel yet: incidents reach nobody who doesn't look here."
    list_before_template = "alerts/channel_list_top.html"
    change_form_outer_before_template = "alerts/channel_tools.html"
    change_form_outer_after_template = "alerts/channel_messages.html"
    readonly_fields = ("kind_shown", "place", "state", "last_error_shown", "last_sent")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        kind = _kind(request, obj)
        where: dict[str, tuple[str, ...]] = {
            ChannelKind.EMAIL: ("to",),
            ChannelKind.WEBHOOK: ("new_address", "new_signing"),
        }
        given = where.get(kind, ("new_address",))
        filters: tuple[str, ...] = (
            *("level", "only_syncs", "only_instances", "only_groups", "only_labels"),
            "personal_data",
        )
        if obj and not self.has_change_permission(request, obj):
            given, filters = ("place",), ("level", "personal_data")
        state = ("state", "last_error_shown", "last_sent") if obj else ()
        if obj and "place" not in given and registry.KINDS[kind].has_address:
            state = ("place", *state)
        return (
            (None, {"fields": ("name", "enabled", *state)}),
            (ChannelKind(kind).label, {"fields": given}),
            ("Which messages", {"fields": filters}),
            ("When", {"fields": (("quiet_from", "quiet_to"), "zone", "per_hour")}),
        )

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kw: Any
    ) -> Any:
        made = super().get_form(request, obj, change=change, **kw)
        return type("ChannelFormOfKind", (made,), {"kind": _kind(request, obj)})

    def get_custom_urls(self) -> Any:
        return (("<uuid:pk>/test/", "alerts_channel_test", test_view),)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= {
            "kinds": [kind for kind in ChannelKind.choices if kind[0] in _offered()],
            "kind": _kind(request, context["original"]),
            "show_save_and_add_another": False,
            "sent": _last_messages(context["original"]),
        }
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    @method_decorator(sensitive_post_parameters(*SECRETS))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        """Write what a person sets: deliveries write to the same rows meanwhile."""
        if not change:
            obj.save(force_insert=True)
            return
        fields = {*RECORDED} - {"host"}
        if form.cleaned_data.get("new_address"):
            fields |= {"address", "host", "gone_at", "failing_since", "last_error"}
        if form.cleaned_data.get("new_signing"):
            fields |= {"signing"}
        obj.save(update_fields=fields)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> Any:
        """To the channel's page: a test can be sent there."""
        if not self.has_change_permission(request, obj):
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, f"The channel {obj.name} was added. Send a test to see it work.")
        return HttpResponseRedirect(reverse("admin:alerts_channel_change", args=[obj.pk]))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Without a list of its messages, of which there are many."""
        count = sum(channel.deliveries.count() for channel in objs)
        names = [str(channel) for channel in objs]
        return names, {"channels": len(names), "messages": count}, set(), []

    def facts(self, row: Channel) -> Reading:
        return reading(row, RECORDED)

    def facts_of_form(self, form: Any) -> Reading:
        named = {"new_address": "url", "new_signing": "signing"}
        return {named[name]: "changed" for name in SECRETS if form.cleaned_data.get(name)}

    @admin.display(description="kind")
    def kind_shown(self, row: Channel) -> str:
        return ChannelKind(row.kind).label

    @admin.display(description="goes to")
    def place(self, row: Channel) -> str:
        if row.recipients:
            return listed(row.recipients)
        return row.host if row.kind == ChannelKind.APPRISE else f"{row.host}/…"

    @admin.display(description="state")
    def state(self, row: Channel) -> SafeString:
        return channel_badge(row, timezone.now())

    @admin.display(description="takes")
    def routing(self, row: Channel) -> SafeString | str:
        shown: SafeString | str = level_badge(row.level)
        more = [] if row.level == Level.URGENT else ["and louder"]
        more += [counted(len(row.syncs), "sync")] if row.syncs else []
        more += [counted(len(row.instances), "instance")] if row.instances else []
        more += [listed([*row.groups, *row.labels])] if routes.needs_groups(row) else []
        return shown + SafeString(" " + ", ".join(more)) if more else shown

    @admin.display(description="last message")
    def last_sent(self, row: Channel) -> SafeString:
        return markup.age(row.last_sent_at, timezone.now())

    @admin.display(description="last error")
    def last_error_shown(self, row: Channel) -> SafeString | str:
        return row.last_error or markup.quiet("none")


@post_only
def test_view(request: HttpRequest, pk: str, **_: Any) -> HttpResponse:
    """Send a test message now, and show what the other side answered."""
    if not request.user.has_perm(CHANGE):
        raise PermissionDenied
    row = get_object_or_404(Channel, pk=pk)
    result = outbox.send_test(row)
    found = {"accepted": result.accepted, "answer": result.detail}
    record(request, "channel.tested", row, after=found)
    if result.accepted:
        messages.success(request, f"The test was accepted: {result.detail}.")
    else:
        messages.error(request, f"The test was not accepted: {result.detail}.")
    return HttpResponseRedirect(reverse("admin:alerts_channel_change", args=[pk]))


def _last_messages(row: Channel | None) -> list[tuple[SafeString, str, SafeString]]:
    """When each was made, its title, and its result; the last one first."""
    now = timezone.now()
    rows = row.deliveries.order_by("-created_at")[:SHOWN] if row else ()
    return [
        (markup.moment(one.created_at, now), one.content["title"], delivery_state(one, now))
        for one in rows
    ]


def _kind(request: HttpRequest, row: Channel | None) -> str:
    """Of the channel, or the one that the page's address names."""
    if row:
        return str(row.kind)
    asked = request.GET.get("kind", "")
    return asked if asked in _offered() else ChannelKind.SLACK


def _offered() -> list[str]:
    """Kinds that can be used: some need a package that may not be installed."""
    return [kind for kind in ChannelKind.values if not registry.KINDS[kind].missing()]
