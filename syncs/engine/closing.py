"""How a run ends in its record, once and for all; and what follows from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import psycopg
from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from common.errors import RainboError
from syncs import hooks
from syncs.engine import held, retries
from syncs.errors import Cancelled
from syncs.models import RunState, SyncRun

logger = logging.getLogger("rainbo.run")

PASSING = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)


@dataclass
class Ending:
    """How a run ends; failed unless its function came through.

    passing: what ended it can pass by itself.
    """

    state: RunState = RunState.FAILED
    error: str = ""
    passing: bool = False

    @classmethod
    def by(cls, record: SyncRun, error: BaseException) -> Ending:
        """The ending that an exception brings, in words for a person."""
        if isinstance(error, Cancelled):
            return cls(RunState.CANCELLED, str(error))
        if isinstance(error, RainboError):
            return cls(RunState.FAILED, str(error), error.passing)
        if isinstance(error, Exception):
            return cls(RunState.FAILED, _in_words(record, error), isinstance(error, PASSING))
        words = f"stopped by {type(error).__name__}: the process was told to end"
        return cls(RunState.FAILED, words, passing=True)


def close(record: SyncRun, ending: Ending, seconds: float) -> bool:
    """Close a running run, plan its retry and let other apps know.

    False when it was closed by others before.
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
            retries.plan_next_attempt(record, passing=ending.passing)
            hooks.run_closed.send(record)
    held.supersede_repeats(record)
    return closed


def _in_words(record: SyncRun, error: Exception) -> str:
    """What a person reads of an error that is not ours; its details go to the log."""
    ids = {"run": record.pk, "sync": record.sync}
    if isinstance(error, DatabaseError | psycopg.Error):
        logger.error("RAINBO's own database failed: %s", str(error).partition("\n")[0], extra=ids)
        logger.debug("where it failed", exc_info=error, extra=ids)
        if isinstance(error.__cause__ or error, psycopg.errors.LockNotAvailable):
            return (
                "a table or a row of RAINBO's own database stayed locked for too long: somebody "
                "alters or changes it; nothing was published after that"
            )
        return (
            "RAINBO's own database failed during the run; nothing was published after that. "
            "The log of the server that ran it has the details"
        )
    logger.error("run %s of %s failed", record.pk, record.sync, exc_info=error, extra=ids)
    return f"unexpected {type(error).__name__}; the log of the server that ran it has the details"
