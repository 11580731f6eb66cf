"""How long a page waits for RAINBO's own database, and what it says when that was not enough.

Only web processes: commands and workers may take their time, and a migration must.
"""

from __future__ import annotations

import sys

from django.db import InterfaceError, OperationalError, connections
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.defaults import server_error

STATEMENT, LOCK = 10, 8  # seconds; a page that refreshes itself waits for ten


def limit_waiting() -> None:
    """For every connection that is opened from now on. A pooler knows no such options."""
    chosen = connections.settings["default"]["OPTIONS"]
    if "options" in chosen:
        chosen["options"] += f" -c statement_timeout={STATEMENT}s -c lock_timeout={LOCK}s"


def failed(request: HttpRequest) -> HttpResponse:
    """Django's handler of what a page did not foresee."""
    if not isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        return server_error(request)
    answer = render(request, "503.html", status=503)
    answer["Retry-After"] = "30"
    return answer
