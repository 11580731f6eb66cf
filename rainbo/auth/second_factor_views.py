"""The pages of two-factor authentication: a user's own, and the reset by an administrator."""

from __future__ import annotations

import logging
from typing import Any

import django_otp
from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from unfold.widgets import UnfoldAdminTextInputWidget

from activity.log import record
from common import two_factor
from common.encryption import CredentialError
from rainbo.auth import second_factor
from rainbo.auth.second_factor import Offer
from rainbo.models import Authenticator, Factor, RecoveryCodes

logger = logging.getLogger(__name__)
OWN = "second_factor"
BROKEN = (
    "Your authenticator's secret can't be decrypted: its key is missing. Use a recovery code, or "
    "ask your RAINBO administrator."
)


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=40,
        error_messages={"required": "Enter the code."},
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "autofocus": "", "spellcheck": "false"}
        ),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("code")
def code_view(request: HttpRequest) -> HttpResponse:
    """After the password: the code. Nothing else is shown until it is right.

    It is asked again by pages that need a proof of the last ten minutes.
    """
    user: Any = request.user
    if two_factor.is_recent(request) or not user.has_second_factor:
        return HttpResponseRedirect(_next(request))
    form = CodeForm(request.POST or None)
    if form.is_valid() and (proved := _prove(request, form)):
        request.session.cycle_key()
        django_otp.login(request, proved)
        two_factor.note(request)
        left = _say_what_is_left(request, proved)
        after = {"by": second_factor.NAMES[type(proved)], **left}
        record(request, "person.second_factor_passed", user, after=after)
        return HttpResponseRedirect(_next(request))
    return _page(
        request, "code", "Two-factor authentication", form=form, next=request.GET.get("next", "")
    )


@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("code", "offer")
def enrol_view(request: HttpRequest) -> HttpResponse:
    """A secret for an authenticator app, and the proof that the app has it."""
    user: Any = request.user
    if user.has_second_factor:
        return HttpResponseRedirect(reverse(OWN))
    brought = Offer.opened(request.POST.get("offer", ""), user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if brought is None:
            form.add_error("code", "That took too long. Add the new secret below to your app.")
        elif (codes := second_factor.enrol(user, brought, _plain(form))) is None:
            form.add_error("code", "That code is wrong. Check the clock of your device.")
        else:
            return _enrolled(request, codes)
    offer = brought or Offer.new(user)
    name = user.get_username()
    return _page(
        request,
        "enrol",
        "Set up two-factor authentication",
        form=form,
        offer=offer,
        picture=offer.picture(name),
        address=offer.address(name),
        next=request.GET.get("next", ""),
    )


@require_safe
def own_view(request: HttpRequest) -> HttpResponse:
    """What the person has, and what they can do about it."""
    user: Any = request.user
    device, codes = Authenticator.of(user), RecoveryCodes.of(user)
    left = len(codes.digests) if codes else 0
    facts = {"device": device, "left": left, "codes_made_at": codes and codes.made_at}
    return _page(request, "own", "Two-factor authentication", form=CodeForm(), **facts)


@require_POST
@sensitive_post_parameters("code")
def codes_view(request: HttpRequest) -> HttpResponse:
    """New recovery codes, for a code of the authenticator."""
    if not _proved_again(request):
        return HttpResponseRedirect(reverse(OWN))
    codes = second_factor.renew_codes(request.user)
    record(request, "person.recovery_codes_renewed", request.user)
    return _page(request, "codes", "Your recovery codes", codes=codes, next="")


@require_POST
@sensitive_post_parameters("code")
def remove_view(request: HttpRequest) -> HttpResponse:
    """Remove the user's two-factor authentication, unless their account requires it."""
    user: Any = request.user
    if user.needs_second_factor:
        messages.error(
            request, "Your account requires two-factor authentication. You can't remove it."
        )
    elif _proved_again(request) and second_factor.remove(user):
        record(request, "person.second_factor_removed", user)
        messages.success(
            request,
            "Two-factor authentication is removed. You now sign in with your password only.",
        )
    return HttpResponseRedirect(reverse(OWN))


@require_POST
def reset_view(request: HttpRequest, pk: int, **_: Any) -> HttpResponse:
    """Reset the two-factor authentication of another user who lost the device."""
    user = get_object_or_404(get_user_model(), pk=pk)
    if not may_reset(request, user):
        raise PermissionDenied
    if second_factor.remove(user):
        record(request, "person.second_factor_reset", user)
        messages.success(
            request, f"Two-factor authentication of {user} was reset. They can set it up again."
        )
    else:
        messages.warning(request, f"{user} doesn't use two-factor authentication.")
    return HttpResponseRedirect(reverse("admin:auth_user_change", args=[pk]))


def may_reset(request: HttpRequest, user: Any) -> bool:
    """A superuser's account is a superuser's business."""
    allowed = request.user.has_perm("auth.change_user")
    return allowed and (request.user.is_superuser or not user.is_superuser)


def _prove(request: HttpRequest, form: CodeForm) -> Factor | None:
    """The factor that the form's code proves; else the form says why not."""
    user, token = request.user, form.cleaned_data["code"]
    if until := second_factor.wait_until(user, token):
        local = timezone.localtime(until)
        form.add_error("code", f"Too many wrong codes: wait until {local:%H:%M:%S %Z}.")
        return None
    try:
        proved = second_factor.prove(user, token)
    except CredentialError:
        logger.exception("an authenticator can't be checked", extra={"user_id": user.pk})
        form.add_error("code", BROKEN)
        return None
    if proved is None:
        form.add_error("code", "That code is wrong, or was used before. Wait for the next one.")
        record(request, "person.second_factor_failed", user)
    return proved


def _proved_again(request: HttpRequest) -> bool:
    """Whether the request brings a code of the person who sits there now."""
    form = CodeForm(request.POST)
    if form.is_valid() and _prove(request, form):
        return True
    for error in form.errors.get("code", []):
        messages.error(request, str(error))
    return False


def _enrolled(request: HttpRequest, codes: list[str]) -> HttpResponse:
    request.session.cycle_key()
    django_otp.login(request, Authenticator.of(request.user))
    two_factor.note(request)
    record(request, "person.second_factor_enrolled", request.user)
    return _page(request, "codes", "Your recovery codes", codes=codes, next=_next(request))


def _say_what_is_left(request: HttpRequest, proved: Factor) -> dict[str, int]:
    if not isinstance(proved, RecoveryCodes):
        return {}
    left = len(proved.digests)
    messages.warning(request, f"That recovery code is used up: {left} are left.")
    return {"left": left}


def _plain(form: CodeForm) -> str:
    return second_factor.device_token(form.cleaned_data["code"])


def _next(request: HttpRequest) -> str:
    """Where the person wanted to go, if that is a page of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    hosts, secure = {request.get_host()}, request.is_secure()
    fine = url_has_allowed_host_and_scheme(wanted, allowed_hosts=hosts, require_https=secure)
    return wanted if fine else reverse("admin:index")


def _page(request: HttpRequest, name: str, title: str, **context: Any) -> HttpResponse:
    shared = admin.site.each_context(request) | {"title": title}
    return render(request, f"rainbo/second_factor_{name}.html", shared | context)
