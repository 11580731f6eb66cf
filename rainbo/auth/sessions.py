"""Ends sessions: after a time without activity, and after a time whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from activity.log import record
from common.refreshing import REFRESH

Handler = Callable[[HttpRequest], HttpResponseBase]
BEGAN, SEEN = "began_at", "seen_at"  # in the session: seconds by this server's clock
NOTE_EVERY = 30  # seconds between notes of activity, so that not every request writes


def connect() -> None:
    user_logged_in.connect(_begin, dispatch_uid="a session's first moment")


def limit(get_response: Handler) -> Handler:
    """Middleware: ends the session of a request that comes too late.

    A page that refreshes itself is answered 401, not led to the sign-in.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        by_itself = REFRESH in request.headers
        if request.user.is_authenticated:
            _judge(request, by_itself=by_itself)
        response = get_response(request)
        if by_itself and "Location" in response.headers:
            return HttpResponse("signed out", status=401, content_type="text/plain")
        return response

    return middleware


def why_ended(session: SessionBase, now: float) -> str:
    """Why the session is over at this moment; empty while it is not."""
    began, seen = session.get(BEGAN), session.get(SEEN)
    idle, hours = settings.RAINBO_SESSION_IDLE, settings.SESSION_COOKIE_AGE
    if began is None or seen is None:
        return "it is not known when it began"
    if now - began >= hours:
        return f"{hours // 3600} h since the sign-in"
    if now - seen >= idle:
        return f"{idle // 60} min without activity"
    return ""


def _begin(request: Any, **_: object) -> None:
    request.session[BEGAN] = request.session[SEEN] = int(time.time())


def _judge(request: HttpRequest, *, by_itself: bool) -> None:
    now = time.time()
    if why := why_ended(request.session, now):
        record(request, "person.session_ended", request.user, after={"why": why})
        request.session.flush()
        request.user = AnonymousUser()
        messages.info(request, f"You were signed out: {why}.")
    elif not by_itself and now - request.session[SEEN] >= NOTE_EVERY:
        request.session[SEEN] = int(now)
