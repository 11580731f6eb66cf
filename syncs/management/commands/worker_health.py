from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from common.command import RainboCommand
from common.terminal import json_text
from syncs.status import queries
from syncs.status.workers import WorkerState


class Command(RainboCommand):
    help = "Check worker health. Exits with 1 if there is no heartbeat or the queue is stalled."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on stdout")

    def handle(self, **options: Any) -> None:
        state = queries.worker_state()
        if options["json"]:
            self.stdout.write(json_text(_document(state)))
        elif state.problem:
            self.stderr.write(f"Workers are unhealthy: {state.problem}.")
        else:
            self.stdout.write(_healthy(state))
        if state.problem:
            sys.exit(1)


def _healthy(state: WorkerState) -> str:
    if state.busy_with:
        return f"Workers are healthy. Run {state.busy_with} is in progress."
    return f"Workers are healthy. Last heartbeat: {state.heartbeat:%H:%M:%S} UTC."


def _document(state: WorkerState) -> dict[str, Any]:
    return {
        "status": "unavailable" if state.problem else "ok",
        "reason": state.problem,
        "last_heartbeat": state.heartbeat and state.heartbeat.isoformat(),
        "queued_since": state.waiting_since and state.waiting_since.isoformat(),
        "busy_with_run": state.busy_with,
        "last_events": [
            {"at": event.at.isoformat(), "host": event.host, "message": event.message}
            for event in queries.worker_events()
        ],
    }
