"""How long a page waits for RAINBO's own database, and what it says when that was not enough.

Only web processes: commands and workers may take their time, and a migration must.
"""

from __future__ import annotations

import sys

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import server_error

from common import libpq

STATEMENT, LOCK = 10, 8  # seconds; a page that refreshes itself waits for ten


def limit_waiting() -> None:
    """For every connection that is opened from now on. A pooler takes no such options."""
    if not settings.RAINBO_DB_POOLER:
        waits = {"statement_timeout": f"{STATEMENT}s", "lock_timeout": f"{LOCK}s"}
        connections.settings["default"]["OPTIONS"]["options"] += f" {libpq.options(waits)}"


def failed(request: HttpRequest) -> HttpResponse:
    """Django's handler of what a page did not foresee."""
    if not isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return server_error(request)
    answer = render(request, "503.html", status=503)
    answer["Retry-After"] = "30"
    return answer
