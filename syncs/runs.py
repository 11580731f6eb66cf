"""The one way in and the one way through: request a run, execute it, close it."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models.functions import Now

from syncs import held, lease, specs
from syncs.errors import LeaseHeld, LeaseLost, RainboError, UsageError
from syncs.models import OPEN_STATES, RunLog, RunState, SyncRun, Trigger
from syncs.options import Options
from syncs.run import Listener, Run

logger = logging.getLogger("rainbo.run")

CLOSING_PATIENCE = 20.0  # seconds that an own database may be away while a run is closed


def request(
    sync: str,
    options: Options,
    trigger: Trigger,
    actor: str = "",
    *,
    slot: datetime | None = None,
) -> SyncRun:
    """Insert a queued run; for a slot that has one already, return that one.

    Raises UsageError for an unknown sync, or when the run that the options name can't serve.
    """
    specs.get(sync)
    _check_named_runs(sync, options)
    record = SyncRun(sync=sync, options=options.as_json(), trigger=trigger, actor=actor, slot=slot)
    try:
        with transaction.atomic():
            record.save(force_insert=True)
    except IntegrityError:
        return SyncRun.objects.get(sync=sync, slot=slot, attempt=record.attempt)
    return record


def execute(record: SyncRun, listener: Listener | None = None) -> SyncRun:
    """Run a queued run in this process and close it whatever happens.

    Returns the run as it ended; `skipped` when its sync was running. A run that isn't queued
    is returned untouched. SystemExit and KeyboardInterrupt are raised again after closing.
    """
    if record.state != RunState.QUEUED:
        return record
    try:
        token = lease.claim(record)
    except LeaseHeld as busy:
        if busy.run_id != record.pk:  # else another delivery of this very run was faster
            record.move(
                RunState.SKIPPED,
                expect=(RunState.QUEUED,),
                met_id=busy.run_id,
                error=str(busy),
                finished_at=Now(),
            )
        return record
    try:
        if record.move(RunState.RUNNING, expect=(RunState.QUEUED,), **_start(token)):
            _run_and_close(record, token, listener)
    finally:
        _patiently(lambda: lease.release(record.sync, token))
    return record


def _run_and_close(record: SyncRun, token: int, listener: Listener | None) -> None:
    started = time.monotonic()
    ending = _Ending()
    try:
        with lease.Renewal(record.sync, token) as renewal:
            run = Run(record, renewal, listener)
            try:
                specs.get(record.sync).function(run)
                ending.state = run.verdict()
            finally:
                run.close()
    except RainboError as error:
        ending.fail(words := str(error))
        if isinstance(error, LeaseLost):
            _patiently(lambda: _note_refusal(record, words))
    except Exception as error:  # noqa: BLE001 (the boundary: the run's record says what came)
        ending.fail(_in_words(record, error))
    except BaseException as stop:
        ending.fail(f"stopped by {type(stop).__name__}: the process was told to end")
        raise
    finally:
        seconds = time.monotonic() - started
        _patiently(lambda: _close(record, ending, seconds))


class _Ending:
    """How a run ends; failed unless its function came through."""

    def __init__(self) -> None:
        self.state = RunState.FAILED
        self.error = ""

    def fail(self, error: str) -> None:
        self.state, self.error = RunState.FAILED, error


def _start(token: int) -> dict[str, Any]:
    return {
        "token": token,
        "started_at": Now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }


def _close(record: SyncRun, ending: _Ending, seconds: float) -> None:
    record.move(
        ending.state,
        expect=(RunState.RUNNING,),
        error=ending.error,
        seconds=seconds,
        finished_at=Now(),
    )
    held.supersede_repeats(record)


def _note_refusal(record: SyncRun, error: str) -> None:
    RunLog.objects.create(run=record, level="error", message=error)


def _in_words(record: SyncRun, error: Exception) -> str:
    """What a person reads of an error that is not ours; its details go to the log."""
    ids = {"run": record.pk, "sync": record.sync}
    if isinstance(error, DatabaseError | psycopg.Error):
        logger.error("RAINBO's own database failed: %s", str(error).partition("\n")[0], extra=ids)
        logger.debug("where it failed", exc_info=error, extra=ids)
        return (
            "RAINBO's own database failed during the run; nothing was published after that. "
            "The log of the server that ran it has the details"
        )
    logger.error("run %s of %s failed", record.pk, record.sync, exc_info=error, extra=ids)
    return f"unexpected {type(error).__name__}; the log of the server that ran it has the details"


def _patiently(act: Callable[[], None]) -> None:
    """Do it, waiting for an own database that is away. What stays open becomes `lost`."""
    deadline = time.monotonic() + CLOSING_PATIENCE
    while True:
        try:
            return act()
        except DatabaseError:
            connection.close()
            if time.monotonic() > deadline:
                logger.error("could not close a run: its lease will run out")
                return None
            time.sleep(0.5)


def _check_named_runs(sync: str, options: Options) -> None:
    if options.failed_from is not None:
        _run_of(sync, options.failed_from)
    if options.accept_held is not None:
        named = _run_of(sync, options.accept_held)
        if not options.reason:
            raise UsageError("accepting a held run needs a --reason")
        if reason := held.why_not_acceptable(named):
            raise UsageError(reason)


def _run_of(sync: str, pk: int) -> SyncRun:
    named = SyncRun.objects.filter(pk=pk, sync=sync).first()
    if named is None:
        raise UsageError(f"{sync} has no run {pk}")
    if named.state in OPEN_STATES:
        raise UsageError(f"run {pk} has not ended yet")
    return named
