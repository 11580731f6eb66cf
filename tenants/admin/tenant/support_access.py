"""From a tenant's page into the tenant: the form, the assertion, and the mark *do not enter*."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from csp.decorators import csp_update
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanWidget

from activity.address import address_of
from activity.log import record
from common import two_factor
from common.errors import RainboError, UsageError
from common.model_admin import post_only
from common.text import sentence
from tenants.models import SupportOptOut, SupportSession, Tenant
from tenants.support_access import admission, assertion, sessions
from tenants.support_access.admission import Wanted
from tenants.support_access.sessions import Issued, Refused

LOOK = "tenants.view_tenant"
ADD, DELETE = "tenants.add_supportoptout", "tenants.delete_supportoptout"


class EnterForm(forms.Form):
    reason = forms.CharField(
        max_length=assertion.LONGEST_REASON,
        help_text="The tenant may read it: what is the matter, and who asked for it.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "autofocus": ""}),
    )
    ticket = forms.CharField(
        required=False,
        max_length=assertion.LONGEST_TICKET,
        help_text="Its number in your ticket system, if there is one.",
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )
    minutes = forms.ChoiceField(
        label="For at most",
        initial=str(admission.USUAL_MINUTES),
        choices=[(str(minutes), f"{minutes} minutes") for minutes in admission.MINUTES],
        widget=UnfoldAdminSelectWidget,
    )
    read_only = forms.BooleanField(
        label="Read only",
        required=False,
        initial=True,
        help_text="The application refuses every change in this session.",
        widget=UnfoldBooleanWidget,
    )

    def wanted(self) -> Wanted | None:
        """What was asked for; None, with the error at its field, if that is not enough."""
        if not self.is_valid():
            return None
        given = self.cleaned_data
        try:
            return Wanted.of(
                given["reason"],
                given["ticket"],
                read_only=given["read_only"],
                minutes=given["minutes"],
            )
        except UsageError as error:
            self.add_error("reason", sentence(str(error)))
            return None


@require_http_methods(["GET", "HEAD", "POST"])
def enter_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """The form; and after it the page whose button leads into the application."""
    tenant = _found(request, pk, admission.OPEN)
    if not two_factor.is_recent(request):
        return _ask_again(request)
    form = EnterForm(request.POST or None)
    wanted = form.wanted() if request.method == "POST" else None
    if wanted is not None:
        try:
            return _deliver(request, tenant, _issue(request, tenant, wanted))
        except Refused as error:
            form.add_error(None, sentence(f"not opened: {error}"))
        except RainboError as error:
            form.add_error(None, sentence(str(error)))
    return _form_page(request, tenant, form)


@post_only
def opt_out_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Mark a tenant *do not enter*, and end the sessions that are open there."""
    tenant = _found(request, pk, ADD)
    reason = " ".join(request.POST.get("reason", "").split())
    if not 0 < len(reason) <= 255:
        messages.error(request, "Not marked: give a reason of at most 255 characters.")
        return _back(tenant)
    with transaction.atomic():
        by = request.user.get_username()
        found, made = SupportOptOut.objects.get_or_create(
            instance_id=tenant.instance_id,
            tenant_id=tenant.remote_id,
            defaults={"reason": reason, "by": by},
        )
        if made:
            record(request, "tenant.closed_to_support", tenant, after={"reason": found.reason})
    if not made:
        messages.warning(request, "The tenant is marked already.")
        return _back(tenant)
    left = sessions.open_sessions().filter(
        instance_id=tenant.instance_id, tenant_id=tenant.remote_id
    )
    for row in left:
        sessions.end(row, "the tenant was marked do not enter")
    messages.success(request, "Marked do not enter. No support session can be opened here.")
    return _back(tenant)


@post_only
def opt_in_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    tenant = _found(request, pk, DELETE)
    with transaction.atomic():
        mark = SupportOptOut.of(tenant.instance_id, tenant.remote_id)
        if mark is not None:
            mark.delete()
            record(request, "tenant.opened_to_support", tenant, before={"reason": mark.reason})
    messages.success(request, "The mark is removed: support sessions can be opened here.")
    return _back(tenant)


def part(request: HttpRequest, tenant: Tenant) -> dict[str, Any]:
    """What the tenant's page shows of support access, in two queries."""
    mark = SupportOptOut.of(tenant.instance_id, tenant.remote_id)
    rows = SupportSession.objects.filter(
        instance_id=tenant.instance_id, tenant_id=tenant.remote_id, closed_at=None
    )
    may_see = request.user.has_perm("tenants.view_supportsession")
    return {
        "support": {
            "mark": mark,
            "may_mark": request.user.has_perm(ADD),
            "may_unmark": request.user.has_perm(DELETE),
            "may_enter": request.user.has_perm(admission.OPEN),
            "may_see": may_see,
            "open": rows[:20] if may_see else (),
        }
    }


@sensitive_variables()
def _issue(request: HttpRequest, tenant: Tenant, wanted: Wanted) -> Issued:
    user: Any = request.user

    def write_down(row: SupportSession) -> None:
        after = {
            "reason": row.reason,
            "ticket": row.ticket,
            "read only": row.read_only,
            "minutes": wanted.minutes,
            "session": str(row.jti),
        }
        record(request, "tenant.entered", tenant, after=after)

    return sessions.issue(user, tenant, wanted, address_of(request), write_down)


@sensitive_variables()
def _deliver(request: HttpRequest, tenant: Tenant, issued: Issued) -> HttpResponse:
    """The assertion is in this one page, which nobody stores, and goes to one origin."""
    context = {
        **admin.site.each_context(request),
        "title": f"Enter {tenant.name or tenant.remote_id} as support",
        "tenant": tenant,
        "issued": issued,
        "origin": admission.origin(issued.address),
        "seconds": int(assertion.VALID.total_seconds()),
    }
    page = TemplateResponse(request, "tenants/support_delivery.html", context)
    page["Cache-Control"] = "no-store"
    page["Referrer-Policy"] = "no-referrer"
    widened: Any = csp_update({"form-action": [context["origin"]]})
    return cast("HttpResponse", widened(lambda _: page)(request))


def _form_page(request: HttpRequest, tenant: Tenant, form: EnterForm) -> HttpResponse:
    user: Any = request.user
    ghost = admission.ghost_of(user, tenant.instance)
    context = {
        **admin.site.each_context(request),
        "title": f"Enter {tenant.name or tenant.remote_id} as support?",
        "opts": Tenant._meta,
        "original": tenant,
        "form": form,
        "obstacles": [sentence(one) for one in admission.obstacles(user, tenant, ghost)],
    }
    page = TemplateResponse(request, "tenants/support_enter.html", context)
    page["Cache-Control"] = "no-store"
    return page


def _ask_again(request: HttpRequest) -> HttpResponse:
    """Lead to the code, or to the enrolment, and back to the form."""
    user: Any = request.user
    page = "second_factor_code" if user.has_second_factor else "second_factor_enrol"
    if user.has_second_factor:
        text = "Enter a code again: it is asked before a tenant is entered."
    else:
        text = "Set up two-factor authentication first: nobody enters a tenant without it."
    messages.info(request, text)
    return HttpResponseRedirect(f"{reverse(page)}?{urlencode({'next': request.path})}")


def _found(request: HttpRequest, pk: int, permission: str) -> Tenant:
    if not request.user.has_perms([LOOK, permission]):
        raise PermissionDenied
    return get_object_or_404(Tenant.objects.select_related("instance"), pk=pk)


def _back(tenant: Tenant) -> HttpResponse:
    return HttpResponseRedirect(
        reverse("admin:tenants_tenant_change", args=[tenant.pk]) + "#tenant-door"
    )
