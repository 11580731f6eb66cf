"""Records who signed in and out, and who tried to. What was typed is never stored as such."""

from __future__ import annotations

from typing import Any

from axes import signals as counting  # noqa: F401 (its receivers come before those here)
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from activity.address import address_of
from activity.log import record, record_by
from rainbo.auth.lockout import known_name

UNKNOWN = "unknown user"


def connect() -> None:
    user_logged_in.connect(_signed_in, dispatch_uid="record of sign-ins")
    user_logged_out.connect(_signed_out, dispatch_uid="record of sign-outs")
    user_login_failed.connect(_failed, dispatch_uid="record of failed sign-ins")


def _signed_in(request: HttpRequest, user: Any, **_: object) -> None:
    if hasattr(request, "user"):  # else code signed in, not a person
        record(request, "person.signed_in", user)


def _signed_out(request: HttpRequest, user: Any, **_: object) -> None:
    if user is not None:
        record(request, "person.signed_out", user)


def _failed(credentials: dict[str, Any], request: Any = None, **_: object) -> None:
    """The lock's own receiver came before and has counted the try, unless the lock rejected it."""
    if request is None:
        return
    locked, tries = request.axes_locked_out, request.axes_failures_since_start
    if locked and tries is None:
        return
    typed = str(credentials.get("username") or "")
    _record_try(request, "person.sign_in_failed", typed)
    if locked:
        _record_try(request, "person.locked_out", typed)


def _record_try(request: HttpRequest, action: str, typed: str) -> None:
    """Nobody is signed in, so that the actor is the name that was tried."""
    name = known_name(typed) or UNKNOWN
    record_by(name, None, address_of(request), action, name)
