"""What probes ask: is the process alive, can it serve, do the workers work.

Answered before every other middleware: a probe needs no login, no session, no host name that
RAINBO knows and no TLS. None waits longer than three seconds. An error says what is wrong in
plain language; details go to the log.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import Error, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from common.read_only import READ_ONLY
from rainbo import startup
from rainbo.deadline import Answer, Question
from syncs.status import queries

logger = logging.getLogger(__name__)
Handler = Callable[[HttpRequest], HttpResponseBase]
DEADLINE = 3.0
NO_DATABASE = "RAINBO's own database cannot be used"
FROZEN = "The RAINBO database is unavailable"


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
    found = _ask("readiness", applied)
    if isinstance(found, JsonResponse):
        return found
    if found is None:
        return _unavailable(READ_ONLY)
    if missing := known_migrations() - found.migrations:
        return _unavailable(f"{len(missing)} migrations are not applied: run manage.py migrate")
    if wrong := [*startup.failed_checks(), *startup.missing_files(), *found.wrong]:
        return _unavailable(wrong[0])
    return _ok()


def worker() -> JsonResponse:
    """What `manage.py worker_health` says, for probes."""
    state = _ask("worker", workers)
    if isinstance(state, JsonResponse):
        return state
    if state.problem:
        return _unavailable(state.problem)
    return _ok(
        last_heartbeat=state.heartbeat and state.heartbeat.isoformat(),
        busy_with_run=state.busy_with,
    )


@functools.cache
def known_migrations() -> frozenset[tuple[str, str]]:
    """The migrations that this code brings; it cannot change while the process lives."""
    return frozenset(MigrationLoader(None).graph.nodes)


@dataclass(frozen=True)
class Applied:
    """What the database says. wrong: system checks of it that fail."""

    migrations: set[tuple[str, str]]
    wrong: tuple[str, ...]


def _applied() -> Applied | None:
    """Return what is applied; None if the database accepts no writes."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_read_only')::boolean")
        if cursor.fetchone() == (True,):
            return None
    migrations = set(MigrationRecorder(connection).applied_migrations())
    return Applied(migrations, startup.failed_database_checks())


applied = Question(_applied)
workers = Question(lambda: queries.worker_state())


def _ask(probe: str, question: Question[Answer]) -> Answer | JsonResponse:
    """Return the answer, or 503 when the RAINBO database does not answer in time."""
    try:
        return question.answer(DEADLINE)
    except TimeoutError:
        logger.error("%s probe: %s", probe, FROZEN)
        return _unavailable(FROZEN)
    except Error:
        logger.exception("%s probe: %s", probe, NO_DATABASE)
        return _unavailable(NO_DATABASE)


def _ok(**details: object) -> JsonResponse:
    return _answer({"status": "ok", **details}, 200)


def _unavailable(reason: str) -> JsonResponse:
    return _answer({"status": "unavailable", "reason": reason}, 503)


def _answer(body: dict[str, Any], status: int) -> JsonResponse:
    return JsonResponse(body, status=status, headers={"Cache-Control": "no-store"})
