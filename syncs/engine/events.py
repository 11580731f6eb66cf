"""A run's start and end as one line each in the log of the process that saw it.

Whoever requested the run, a line `sync_start` is followed by one `sync_ok` or `sync_fail`; a run
that never started (skipped, or cancelled while it waited) has neither. The lines carry their fields
both as text and as JSON fields; the formatters mask secrets.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from syncs.models import RunState, SyncRun

logger = logging.getLogger("rainbo.run")

START, OK, FAIL = "sync_start", "sync_ok", "sync_fail"
_EVENTS = {RunState.RUNNING: START, RunState.SUCCEEDED: OK}  # every other end is a FAIL
_LEVELS = {
    RunState.RUNNING: logging.INFO,
    RunState.SUCCEEDED: logging.INFO,
    RunState.FAILED: logging.ERROR,
    RunState.LOST: logging.ERROR,
}


def log(record: SyncRun) -> None:
    """Log that the run is running, or how it ended."""
    state = RunState(record.state)
    event = _EVENTS.get(state, FAIL)
    fields: dict[str, Any] = {"sync": record.sync, "runId": record.pk, "trigger": record.trigger}
    if event != START:
        seconds = None if record.seconds is None else round(record.seconds, 3)
        fields |= {"state": str(state), "seconds": seconds, "error": record.error or None}
    known = {name: value for name, value in fields.items() if value is not None}
    line = " ".join([event, *(f"{name}={_shown(value)}" for name, value in known.items())])
    extra = {"event": event, "run": record.pk} | known
    logger.log(_LEVELS.get(state, logging.WARNING), line, extra=extra)


def _shown(value: Any) -> str:
    """Free text in quotes, so that it can't look like another field."""
    text = str(value)
    return (
        text
        if text.replace("_", "").replace(".", "").isalnum()
        else json.dumps(text, ensure_ascii=False)
    )
