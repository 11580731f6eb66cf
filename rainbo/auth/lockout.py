"""Lock-out after failed sign-ins: django-axes, counting in our way, with a page of our own.

Counted are tries at one name from one address: nobody can lock a person out from elsewhere. So
that one address can't try a few passwords on every name, it is locked after ten times as many
tries at any names.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.handlers.proxy import AxesProxyHandler
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Max, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.crypto import salted_hmac

from activity.address import address_of

ANY_NAME = 10  # times as many tries at any names lock an address


class LockHandler(AxesDatabaseHandler):
    def get_failures(self, request: HttpRequest, credentials: Any = None) -> int:
        one_name, any_name = (
            attempts.aggregate(tries=Sum("failures_since_start"))["tries"] or 0
            for attempts in self.get_user_attempts(request, credentials)
        )
        return max(one_name, any_name // ANY_NAME)

    def reset_user_attempts(self, request: HttpRequest, credentials: Any = None) -> int:
        """A success forgives the tries at that name from that address, and no others."""
        one_name, _ = self.filter_user_attempts(request, credentials)
        forgiven: int = one_name.delete()[0]
        return forgiven


def counted_address(request: HttpRequest) -> str | None:
    """The address under which tries are counted: of IPv6 the /64 network, which one host owns."""
    text = address_of(request)
    found = ip_address(text) if text else None
    if not isinstance(found, IPv6Address):
        return text
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, 64), strict=False).network_address)


def known_name(typed: str) -> str:
    """The name, if a user has it; else nothing: people type passwords into the wrong field."""
    known = "\0" not in typed and get_user_model().objects.filter(username=typed).exists()
    return typed if known else ""


def counted_name(request: HttpRequest, credentials: Any = None) -> str:
    """The name under which tries are counted; of an unknown one, what can't be read back."""
    typed = str((credentials or request.POST).get("username") or "")
    return known_name(typed) or "unknown:" + salted_hmac("lock-out", typed).hexdigest()


def refuse(request: HttpRequest, _: Any = None, credentials: Any = None) -> HttpResponse:
    """The page that says when to come back."""
    now = timezone.now()
    until = _locked_until(request, credentials) or now
    seconds = max(1, math.ceil((until - now).total_seconds()))
    context = admin.site.each_context(request) | {
        "title": "Sign-in is locked",
        "until": until,
        "minutes": math.ceil(seconds / 60),
        "tries": settings.RAINBO_LOGIN_ATTEMPTS,
    }
    answer = render(request, "rainbo/locked_out.html", context, status=429)
    answer["Retry-After"], answer["Cache-Control"] = str(seconds), "no-store"
    return answer


def _locked_until(request: HttpRequest, credentials: Any) -> datetime | None:
    """When the last of the tries is forgotten."""
    handler = AxesProxyHandler.get_implementation()
    lasts = [
        attempts.aggregate(last=Max("attempt_time"))["last"]
        for attempts in handler.get_user_attempts(request, credentials)
    ]
    last = max((moment for moment in lasts if moment), default=None)
    return last and last + timedelta(minutes=settings.RAINBO_LOGIN_LOCK_MINUTES)
