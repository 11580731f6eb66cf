"""What probes ask: is the process alive, can it serve, do the workers work.

Answered before every other middleware: a probe needs no login, no session, no host name that
RAINBO knows and no TLS. A refusal says what is wrong in plain words; details go to the log.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone

from syncs import queries

logger = logging.getLogger(__name__)
Handler = Callable[[HttpRequest], HttpResponseBase]
WORKER_SILENCE = timedelta(minutes=3)
NO_DATABASE = "RAINBO's own database cannot be used"


def answer_probes(get_response: Handler) -> Handler:
    """Middleware: the three paths below; every other request passes on."""
    views = {"/health": alive, "/health/ready": ready, "/health/worker": worker}

    def middleware(request: HttpRequest) -> HttpResponseBase:
        view = views.get(request.path_info.rstrip("/"))
        if view is None:
            return get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return JsonResponse({"status": "refused"}, status=405, headers={"Allow": "GET, HEAD"})
        return view()

    return middleware


def alive() -> JsonResponse:
    return _ok()


def ready() -> JsonResponse:
    try:
        applied = MigrationRecorder(connection).applied_migrations()
    except Error:
        logger.exception("readiness probe: %s", NO_DATABASE)
        return _unavailable(NO_DATABASE)
    missing = known_migrations() - applied.keys()
    if missing:
        return _unavailable(f"{len(missing)} migrations are not applied: run manage.py migrate")
    return _ok()


def worker() -> JsonResponse:
    try:
        last = queries.worker_heartbeat()
    except Error:
        logger.exception("worker probe: %s", NO_DATABASE)
        return _unavailable(NO_DATABASE)
    if last is None:
        return _unavailable("no worker has ever reported: start manage.py qcluster")
    if timezone.now() - last > WORKER_SILENCE:
        return _unavailable(f"no worker has reported since {last:%Y-%m-%d %H:%M} UTC")
    return _ok(last_heartbeat=last.isoformat())


@functools.cache
def known_migrations() -> frozenset[tuple[str, str]]:
    """The migrations that this code brings; it cannot change while the process lives."""
    return frozenset(MigrationLoader(None).graph.nodes)


def _ok(**details: str) -> JsonResponse:
    return _answer({"status": "ok", **details}, 200)


def _unavailable(reason: str) -> JsonResponse:
    return _answer({"status": "unavailable", "reason": reason}, 503)


def _answer(body: dict[str, str], status: int) -> JsonResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
