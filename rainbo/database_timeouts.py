"""How long a page waits for RAINBO's own database, and what it says when that was not enough.

Only web processes: commands and workers may take their time, and a migration must.
"""

from __future__ import annotations

import sys

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.defaults import bad_request, server_error

from common import libpq
from common.read_only import causes, is_read_only

STATEMENT, LOCK = 10, 8  # seconds; a page that refreshes itself waits for ten


def limit_waiting() -> None:
    """For every connection that is opened from now on. A pooler takes no such options."""
    if not settings.RAINBO_DB_POOLER:
        waits = {"statement_timeout": f"{STATEMENT}s", "lock_timeout": f"{LOCK}s"}
        connections.settings["default"]["OPTIONS"]["options"] += f" {libpq.options(waits)}"


def failed(request: HttpRequest) -> HttpResponse:
    """Django's handler of what a page did not foresee."""
    error = sys.exc_info()[1]
    if is_read_only(error) or isinstance(error, OperationalError | InterfaceError):
        return _unavailable(request, error)
    return server_error(request)


def rejected(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's handler of a bad request, which it also calls one whose session can't be saved."""
    lost = any(isinstance(error, OperationalError | InterfaceError) for error in causes(exception))
    if lost or is_read_only(exception):
        return _unavailable(request, exception)
    return bad_request(request, exception)


def _unavailable(request: HttpRequest, error: BaseException | None) -> HttpResponse:
    facts = {"is_read_only": is_read_only(error)}
    answer = render(request, "503.html", facts, status=503)
    answer["Retry-After"] = "30"
    return answer
