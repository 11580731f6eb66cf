"""The console's page of tokens. A secret is shown once, by the answer that makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from activity.log import record
from api import scopes, tokens
from api.models import ApiToken
from api.token_form import TokenForm
from api.tokens import NewSecret
from common import markup
from common.errors import UsageError
from common.markup import Tone
from common.model_admin import (
    BoundedPaginator,
    DecoratedChangeList,
    EmptyResult,
    HistoryInActivity,
    StrictUrls,
    post_only,
)

OVERLAPS = {"0": "ends now", "24": "stays valid for a day", "168": "stays valid for a week"}
SOON = timedelta(days=7)


@admin.register(ApiToken)
class TokenAdmin(StrictUrls, HistoryInActivity, ModelAdmin):
    list_display = ("called", "state", "may", "used", "expiry", "origin")
    search_fields = ("name", "public_id")
    search_help_text = "Name or id"
    empty_text = "No program has a token yet. manage.py api_token create makes one, too."
    paginator = BoundedPaginator
    actions = None
    sortable_by = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_max_show_all = 0
    list_before_template = "api/environment_token.html"
    change_form_outer_before_template = "api/token.html"
    add_fieldsets = ((None, {"fields": ("name", "role", "chosen", "valid_for")}),)

    def get_custom_urls(self) -> Any:
        return (
            ("<int:pk>/rotate/", "api_apitoken_rotate", rotate_view),
            ("<int:pk>/revoke/", "api_apitoken_revoke", revoke_view),
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DecoratedChangeList]:
        return DecoratedChangeList

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """The token from the environment is named above the list: it has no row."""
        environment = tokens.from_environment()
        known = environment and {"name": environment.name, "scopes": _scopes(environment.scopes)}
        return super().changelist_view(request, {**(extra_context or {}), "environment": known})

    def complete(self, rows: Any) -> None:
        """Whether who made them is still there: a token outlives its maker."""
        gone = tokens.makers_gone(rows)
        for row in rows:
            row.maker = f"{row.created_by} (no longer active)" if row.pk in gone else row.created_by

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except UsageError as error:  # somebody else was faster
            messages.error(request, f"Not made: {error}.")
            return HttpResponseRedirect(reverse("admin:api_apitoken_add"))

    def nothing(self, term: str) -> EmptyResult:
        return EmptyResult()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A token is rotated or revoked by a button; nothing else of it changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.add_fieldsets if obj is None else ()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        return type("TokenForm", (TokenForm,), {"person": request.user})

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        values = form.cleaned_data
        by = request.user.get_username()
        made = tokens.create(values["name"], values["scopes"], by, values["expires_at"])
        obj.pk = made.token.pk
        cast("Any", request).made = made
        after = {"scopes": made.token.scopes, "expires": made.token.expires_at}
        record(request, "token.created", made.token, after=after)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """The activity has it."""

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> Any:
        return _secret_page(request, cast("Any", request).made, "was made")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        token = context["original"]
        # Each answer to this form shows the secret: there is one way to send it.
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        if token is not None:
            now = timezone.now()
            context |= {
                "facts": _facts(token, now),
                "badge": _badge(token, now),
                "valid": token.is_valid(now),
                "may_change": request.user.has_perm("api.change_apitoken"),
                "overlaps": OVERLAPS.items(),
            }
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response

    @admin.display(description="token")
    def called(self, token: ApiToken) -> str:
        return token.name

    @admin.display(description="state")
    def state(self, token: ApiToken) -> SafeString:
        return _badge(token, timezone.now())

    @admin.display(description="may")
    def may(self, token: ApiToken) -> SafeString:
        return _scopes(token.scopes)

    @admin.display(description="last used")
    def used(self, token: ApiToken) -> SafeString:
        return markup.age(token.last_used_at, timezone.now())

    @admin.display(description="expires")
    def expiry(self, token: ApiToken) -> SafeString:
        return markup.age(token.expires_at, timezone.now())

    @admin.display(description="made by")
    def origin(self, token: Any) -> str:
        return str(token.maker)


@post_only
def rotate_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Give a token a new secret, and show it once."""

    def rotate(token: ApiToken) -> HttpResponse:
        if scopes.missing_permissions(token.scopes, request.user):
            raise PermissionDenied  # the new secret would give them what they may not do
        hours = request.POST.get("overlap", "24")
        if hours not in OVERLAPS:
            raise UsageError("choose how long the present secret stays valid")
        made = tokens.rotate(token, timedelta(hours=int(hours)))
        after = {"the former one is valid until": made.token.previous_until}
        record(request, "token.rotated", made.token, after=after)
        return _secret_page(request, made, "has a new secret")

    return _changed(request, pk, rotate)


@post_only
def revoke_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    def revoke(token: ApiToken) -> HttpResponse:
        if tokens.revoke(token, request.user.get_username()):
            record(request, "token.revoked", token)
            messages.success(request, f"{token.name} is revoked: its secret no longer works.")
        else:
            messages.warning(request, f"{token.name} was revoked before.")
        return HttpResponseRedirect(reverse("admin:api_apitoken_changelist"))

    return _changed(request, pk, revoke)


def _changed(
    request: HttpRequest, pk: int, act: Callable[[ApiToken], HttpResponse]
) -> HttpResponse:
    if not request.user.has_perm("api.change_apitoken"):
        raise PermissionDenied
    token = get_object_or_404(ApiToken, pk=pk)
    try:
        with transaction.atomic():
            return act(token)
    except UsageError as error:
        messages.error(request, f"Not changed: {error}.")
        return HttpResponseRedirect(reverse("admin:api_apitoken_change", args=[pk]))


def _secret_page(request: HttpRequest, made: NewSecret, what: str) -> HttpResponse:
    """The only answer that ever has the secret: no redirect, no message, no cache keeps it."""
    facts = admin.site.each_context(request) | {
        "title": f"API token {made.token.name}",
        "token": made.token,
        "secret": made.secret,
        "what": what,
        "until": made.token.previous_until,
    }
    return render(request, "api/new_secret.html", facts)  # which no cache stores, as all of these


def _badge(token: ApiToken, now: datetime) -> SafeString:
    if token.revoked_at is not None:
        return markup.badge("revoked", Tone.QUIET, f"by {token.revoked_by}")
    if token.expires_at is None:
        return markup.badge("valid", Tone.GOOD)
    if token.expires_at <= now:
        return markup.badge("expired", Tone.BAD)
    if token.expires_at <= now + SOON:
        return markup.badge("expires soon", Tone.WARNING)
    return markup.badge("valid", Tone.GOOD)


def _facts(token: ApiToken, now: datetime) -> list[tuple[str, SafeString | str]]:
    gone = bool(tokens.makers_gone([token]))
    nowhere = markup.quiet("unknown" if token.last_used_at else "never")
    facts: list[tuple[str, SafeString | str]] = [
        ("id", f"rbo_{token.public_id}"),
        ("scopes", _scopes(token.scopes)),
        ("made", markup.moment(token.created_at, now)),
        ("made by", f"{token.created_by} (no longer active)" if gone else token.created_by),
        ("last used", markup.moment(token.last_used_at, now)),
        ("used from", token.last_used_from or nowhere),
        ("rotated", markup.moment(token.rotated_at, now)),
        ("expires", markup.moment(token.expires_at, now)),
    ]
    if token.previous_until is not None and token.previous_until > now:
        facts.append(("former secret valid until", markup.moment(token.previous_until, now)))
    if token.revoked_at is not None:
        facts.append(("revoked", markup.moment(token.revoked_at, now)))
        facts.append(("revoked by", token.revoked_by))
    return facts


def _scopes(names: Iterable[str]) -> SafeString:
    return format_html_join(" ", "<code>{}</code>", ((name,) for name in names))
