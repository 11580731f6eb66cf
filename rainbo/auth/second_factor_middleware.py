"""Show nothing to users who still have to pass, or to set up, two-factor authentication."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

OPEN = ("admin:login", "admin:logout")
Handler = Callable[[HttpRequest], HttpResponseBase]


def ask(get_response: Handler) -> Handler:
    """Middleware: leads to the code, or to the enrolment, and lets nothing else through."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        page = missing_step(request.user)
        if not page or request.path in {reverse(name) for name in (page, *OPEN)}:
            return get_response(request)
        next_page = urlencode({"next": request.get_full_path()}) if request.method == "GET" else ""
        return HttpResponseRedirect(f"{reverse(page)}?{next_page}".rstrip("?"))

    return middleware


def missing_step(user: Any) -> str:
    """The page that the person has to pass first; empty when there is none."""
    if not user.is_authenticated or user.is_verified():
        return ""
    if user.has_second_factor:
        return "second_factor_code"
    return "second_factor_enrol" if user.needs_second_factor else ""
