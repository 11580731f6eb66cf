"""The only way to run a sync: request a run, execute it, close it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import (
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    connection,
    transaction,
)
from django.db.models.functions import Now

from common.errors import UsageError
from common.read_only import is_read_only
from syncs.engine import closing, events, held, lease, lost_runs, registry, retries, run_rows
from syncs.engine.closing import Ending
from syncs.engine.host import here
from syncs.engine.options import Options
from syncs.engine.registry import Sync
from syncs.engine.run import Listener, Run
from syncs.engine.watchdog import Watchdog
from syncs.errors import LeaseHeld, LeaseLost
from syncs.models import OPEN_STATES, PATIENT, RunLog, RunState, SyncRun, TargetState, Trigger

logger = logging.getLogger("rainbo.run")

CLOSING_TIMEOUT = 20.0  # seconds that RAINBO's own database may be down while a run is closed


def request(
    sync: Sync | str,
    options: Options,
    trigger: Trigger,
    actor: str = "",
    *,
    slot: datetime | None = None,
    not_before: datetime | None = None,
) -> SyncRun:
    """Insert a queued run; for a slot that has one already, return that one.

    sync: a sync, or the name of one.
    Raises UsageError for an unknown sync, or if the run that the options name can't be used.
    """
    name = sync.name if isinstance(sync, Sync) else registry.get(sync).name
    _check_named_runs(name, options)
    record = SyncRun(
        sync=name,
        options=options.as_json(),
        trigger=trigger,
        actor=actor,
        slot=slot,
        not_before=not_before,
    )
    try:
        with transaction.atomic():
            if options.accept_held is not None and not options.dry_run:
                held.take_for_decision(options.accept_held)
            record.save(force_insert=True)
    except IntegrityError:
        return SyncRun.objects.get(sync=name, slot=slot, attempt=record.attempt)
    return record


def waiting(sync: str, options: Options) -> SyncRun | None:
    """Return a run with the same options that only waits for a worker, if there is one."""
    same = SyncRun.objects.filter(sync=sync, state=RunState.QUEUED, options=options.as_json())
    return same.filter(not_before=None).exclude(trigger=Trigger.COMMAND).order_by("pk").first()


def execute(
    record: SyncRun, listener: Listener | None = None, *, sync: Sync | None = None
) -> SyncRun:
    """Execute a queued run in this process and close it whatever happens.

    sync: the run's, when the caller has looked it up already.
    Returns the run as it ended: `skipped` when its sync was running, but still `queued` if it is
    patient. A run that isn't queued is returned untouched. SystemExit and KeyboardInterrupt
    are raised again after closing.
    """
    if record.state != RunState.QUEUED:
        return record
    lost_runs.close_lost_runs(record.sync, taker=record)
    try:
        token = lease.claim(record)
    except LeaseHeld as busy:
        if busy.run_id == record.pk:  # another delivery of this run was faster
            record.refresh_from_db()
        else:
            _step_aside(record, busy)
        return record
    try:
        lost_runs.plan_retries(record.sync)
        if record.move(RunState.RUNNING, expect=(RunState.QUEUED,), **_start(token)):
            events.log(record)
            _run_and_close(record, sync or registry.get(record.sync), token, listener)
    finally:
        _retry_while_database_is_down(lambda: lease.release(record.sync, token))
    return record


def _step_aside(record: SyncRun, busy: LeaseHeld) -> None:
    """Let a patient run wait for the one that is in progress; skip another."""
    if record.trigger in PATIENT:
        queued = SyncRun.objects.filter(pk=record.pk, state=RunState.QUEUED)
        queued.update(met_id=busy.run_id)
        record.refresh_from_db()
    else:
        _skip(record, busy)


def _skip(record: SyncRun, busy: LeaseHeld) -> None:
    with transaction.atomic():
        # A run that is closing now comes first or sees this one: either plans the next attempt.
        blockers = [] if busy.run_id is None else [busy.run_id]
        list(SyncRun.objects.select_for_update(no_key=True).filter(pk__in=blockers))
        if record.move(
            RunState.SKIPPED,
            expect=(RunState.QUEUED,),
            met_id=busy.run_id,
            error=str(busy),
            finished_at=Now(),
        ):
            retries.plan_next_attempt(record, transient=True)


def _run_and_close(record: SyncRun, sync: Sync, token: int, listener: Listener | None) -> None:
    started = time.monotonic()
    ending = Ending()
    options = None
    try:
        options = Options.from_json(record.options)
        watchdog = Watchdog(record, sync, options)
        with lease.Renewal(record.sync, token, watchdog) as renewal:
            run = Run(record, sync.cron, options, renewal, listener)
            watchdog.interrupt = run.interrupt
            try:
                sync.function(run)
                ending = Ending(run.final_state())
            except Exception as error:
                if renewal.ended is not None:
                    raise renewal.ended from error
                raise
            finally:
                run.close()
    except Exception as error:  # noqa: BLE001 (the boundary: the run's record has the error)
        ending = Ending.by(record, error)
        if isinstance(error, LeaseLost):
            message = str(error)
            _retry_while_database_is_down(lambda: _log_lease_lost(record, message))
    except BaseException as stop:
        ending = Ending.by(record, stop)
        raise
    finally:
        seconds = time.monotonic() - started
        _retry_while_database_is_down(lambda: closing.close(record, ending, seconds, options))


def _start(token: int) -> dict[str, Any]:
    return {
        "token": token,
        "started_at": Now(),
        "host": here(),
        "pid": os.getpid(),
    }


def _log_lease_lost(record: SyncRun, error: str) -> None:
    entry = RunLog(run=record, level="error", message=error)
    with suppress(LeaseLost):  # another run has its id by now
        run_rows.add(record, [entry])


def _retry_while_database_is_down(act: Callable[[], object]) -> None:
    """Call it again while RAINBO's own database is down. A run that stays open becomes `lost`."""
    deadline = time.monotonic() + CLOSING_TIMEOUT
    while True:
        try:
            act()
            return
        except (InterfaceError, InternalError, OperationalError) as error:
            if isinstance(error, InternalError) and not is_read_only(error):
                raise
            connection.close()
            if time.monotonic() > deadline:
                logger.error("could not close a run: its lease will run out")
                return
            time.sleep(0.5)


def _check_named_runs(sync: str, options: Options) -> None:
    if options.failed_from is not None:
        failed = _run_of(sync, options.failed_from).targets
        if not failed.filter(state__in=[TargetState.FAILED, TargetState.WAITING]).exists():
            raise UsageError(f"nothing failed in run {options.failed_from}")
    if options.accept_held is not None:
        named = _run_of(sync, options.accept_held)
        held.check_reason(options.reason, "accepting")
        if reason := held.why_not_acceptable(named):
            raise UsageError(reason)


def _run_of(sync: str, pk: int) -> SyncRun:
    named = SyncRun.objects.filter(pk=pk, sync=sync).first()
    if named is None:
        raise UsageError(f"{sync} has no run {pk}")
    if named.state in OPEN_STATES:
        raise UsageError(f"run {pk} has not ended yet")
    return named
