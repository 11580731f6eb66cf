"""Retries: a new run of the same slot, some time after one that failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django_q.models import Schedule

from common.clock import database_now
from common.errors import UsageError
from syncs.engine import registry
from syncs.engine.options import Options
from syncs.models import RunLog, RunState, SyncRun, TargetState
from syncs.schedules import crontab, store

FAILURES = (RunState.FAILED, RunState.PARTIAL, RunState.LOST)
POSTPONED_BY = (1, 5, 10)  # heartbeat intervals that a slot blocked by an unrelated run waits


def plan_next_attempt(
    run: SyncRun, *, transient: bool, options: Options | None = None
) -> SyncRun | None:
    """Plan the next attempt of a slot that failed; None if there is none.

    A later slot that was skipped while this run was running gets the attempt, since it relied on
    this run. It runs in full if this run was cancelled.
    transient: the cause of the failure can go away by itself. options: the run's, if the caller has
    parsed them already. Call it in the transaction that closes the run, so that no slot is left
    without its retry.
    """
    successor = _last_blocked_by(run) or run
    if run.state == RunState.CANCELLED and successor != run:
        return plan_next_attempt(successor, transient=transient)
    taking = _options(run, options, transient=transient)
    if taking is None:
        return None
    now = database_now()
    at = _time(successor, now, postponed=run.state == RunState.SKIPPED)
    if at is None or _has_newer(successor):
        return None
    retry = SyncRun(
        sync=run.sync,
        options=taking.as_json(),
        trigger=run.trigger,
        slot=successor.slot,
        attempt=successor.attempt + 1,
        not_before=at,
    )
    try:
        with transaction.atomic():
            retry.save(force_insert=True)
    except IntegrityError:
        return None  # another process has planned it
    message = f"attempt {retry.attempt} follows at {at:%H:%M:%S} UTC: run {retry.pk}"
    RunLog.objects.create(run=run, message=message)
    return retry


def _options(run: SyncRun, options: Options | None, *, transient: bool) -> Options | None:
    """Return the next attempt's options: targets with a transient failure; None without any."""
    if run.slot is None or run.cancel_requested_at or run.options.get("dry_run"):
        return None
    try:
        options = options or Options.from_json(run.options)
    except (UsageError, TypeError):
        return None
    if run.state == RunState.SKIPPED and (run.attempt > 1 or _blocked_by_unrelated_run(run)):
        return options  # blocked by an unrelated run: postponed
    if run.state not in (*FAILURES, RunState.HELD):
        return None
    parts = list(run.targets.all())
    if not parts:
        return options if transient else None
    again = tuple(
        part.target
        for part in parts
        if (part.state == TargetState.FAILED and part.passing)
        or (part.state == TargetState.WAITING and transient)
    )
    return replace(options, targets=again, failed_from=run.pk) if again else None


def _time(run: SyncRun, now: datetime, *, postponed: bool) -> datetime | None:
    """Return when the next attempt is due; None if it would not be before the next slot."""
    attempts = SyncRun.objects.filter(sync=run.sync, slot=run.slot)
    skipped = attempts.filter(state=RunState.SKIPPED).count()
    tried = max(run.attempt - skipped, 1)
    delays = settings.RAINBO_RETRY_SECONDS
    if postponed:
        seconds = (
            settings.RAINBO_HEARTBEAT_INTERVAL * POSTPONED_BY[min(skipped, len(POSTPONED_BY)) - 1]
        )
    elif tried <= len(delays):
        seconds = delays[tried - 1]
    else:
        return None
    at = now + timedelta(seconds=seconds)
    cron = _cron(run.sync)
    return at if cron and at < crontab.next_slots(cron, now)[0] else None


def _cron(sync: str) -> str | None:
    """Return the sync's cron line, its schedule's or its default; None for an unknown sync."""
    rows = Schedule.objects.filter(func=store.FUNCTION, args=repr((sync,)))
    usual = [spec.cron for spec in registry.all_syncs() if spec.name == sync]
    crons = [*rows.exclude(cron=None).values_list("cron", flat=True), *usual]
    return next((cron for cron in crons if usual and crontab.is_valid(cron)), None)


def _blocked_by_unrelated_run(run: SyncRun) -> bool:
    """Whether the run that blocked it does not replace it.

    That is a manual run, maybe dry, one for other instances, or one that has just failed.
    """
    met = run.met
    return met is not None and (
        met.slot is None
        or met.options.get("targets") != run.options.get("targets")
        or met.state in (*FAILURES, RunState.CANCELLED)
    )


def _last_blocked_by(run: SyncRun) -> SyncRun | None:
    if run.slot is None:
        return None
    met = SyncRun.objects.filter(sync=run.sync, met=run, state=RunState.SKIPPED)
    return met.filter(slot__gt=run.slot).order_by("-slot", "-attempt").first()


def _has_newer(run: SyncRun) -> bool:
    later = SyncRun.objects.filter(sync=run.sync, slot__gt=run.slot)
    return later.exclude(state__in=[RunState.SKIPPED, RunState.CANCELLED]).exists()
