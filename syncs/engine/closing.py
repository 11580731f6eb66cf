"""How a run is closed in its record, exactly once, and what follows from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from common.errors import RainboError
from common.read_only import READ_ONLY, is_read_only
from syncs import hooks
from syncs.engine import events, held, parts, retries
from syncs.engine.options import Options
from syncs.errors import Cancelled
from syncs.models import RunState, SyncRun

logger = logging.getLogger("rainbo.run")

COMPLETE = (RunState.SUCCEEDED, RunState.PARTIAL, RunState.HELD)  # each part has an outcome
TRANSIENT = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)


@dataclass
class Ending:
    """How a run ended; failed unless its function returned.

    transient: the cause can go away by itself.
    """

    state: RunState = RunState.FAILED
    error: str = ""
    transient: bool = False

    @classmethod
    def by(cls, record: SyncRun, error: BaseException) -> Ending:
        """Return the ending that an exception causes, with a readable error."""
        if isinstance(error, Cancelled):
            return cls(RunState.CANCELLED, str(error))
        if isinstance(error, RainboError):
            return cls(RunState.FAILED, str(error), error.transient)
        if is_read_only(error):
            return cls(RunState.FAILED, READ_ONLY, transient=True)
        if isinstance(error, Exception):
            return cls(RunState.FAILED, _describe(record, error), isinstance(error, TRANSIENT))
        why = f"stopped by {type(error).__name__}: the process was asked to end"
        return cls(RunState.FAILED, why, transient=True)


def close(record: SyncRun, ending: Ending, seconds: float, options: Options | None = None) -> bool:
    """Close a running run, plan its retry, let other apps know; False if it was closed before.

    options: the run's, when the caller has parsed them already.
    """
    with transaction.atomic():
        closed = record.move(
            ending.state,
            expect=(RunState.RUNNING,),
            error=ending.error,
            seconds=seconds,
            finished_at=Now(),
        )
        if closed:
            if ending.state not in COMPLETE:
                parts.store_waiting(record)
            retries.plan_next_attempt(record, transient=ending.transient, options=options)
            hooks.run_closed.send(record)
    if closed:
        events.log(record)
    held.supersede_older(record)
    return closed


def _describe(record: SyncRun, error: Exception) -> str:
    """Return a readable sentence for an error that is not ours; its details are logged."""
    ids = {"run": record.pk, "sync": record.sync}
    if isinstance(error, DatabaseError | psycopg.Error):
        logger.error("RAINBO's own database failed: %s", str(error).partition("\n")[0], extra=ids)
        logger.debug("where it failed", exc_info=error, extra=ids)
        if isinstance(error.__cause__ or error, psycopg.errors.LockNotAvailable):
            return (
                "a table or row of RAINBO's own database stayed locked for too long by another "
                "session; nothing was published after that"
            )
        return (
            "RAINBO's own database failed during the run; nothing was published after that. "
            "The log of the server that ran it has the details"
        )
    logger.error("run %s of %s failed", record.pk, record.sync, exc_info=error, extra=ids)
    return f"unexpected {type(error).__name__}; the log of the server that ran it has the details"
