"""What failed and can pass is tried again: a new run of the same slot, some time later."""

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
PUT_OFF = (1, 5, 10)  # beats that a slot waits for a run that does not stand for it


def plan_next_attempt(
    run: SyncRun, *, passing: bool, options: Options | None = None
) -> SyncRun | None:
    """Plan the next attempt at a slot that failed; None when there is to be none.

    A later slot that was skipped because it met this run takes the attempt up: it counted on it.
    It runs as a whole when this one was cancelled.
    passing: what ended the run as a whole can pass by itself. options: the run's, when the caller
    has parsed them already. Belongs into the transaction that closes the run, so that no slot is
    left without its retry.
    """
    heir = _last_that_met(run) or run
    if run.state == RunState.CANCELLED and heir != run:
        return plan_next_attempt(heir, passing=passing)
    taking = _options(run, options, passing=passing)
    if taking is None:
        return None
    now = database_now()
    at = _time(heir, now, put_off=run.state == RunState.SKIPPED)
    if at is None or _has_newer(heir):
        return None
    retry = SyncRun(
        sync=run.sync,
        options=taking.as_json(),
        trigger=run.trigger,
        slot=heir.slot,
        attempt=heir.attempt + 1,
        not_before=at,
    )
    try:
        with transaction.atomic():
            retry.save(force_insert=True)
    except IntegrityError:
        return None  # somebody else has planned it
    words = f"attempt {retry.attempt} follows at {at:%H:%M:%S} UTC: run {retry.pk}"
    RunLog.objects.create(run=run, message=words)
    return retry


def _options(run: SyncRun, options: Options | None, *, passing: bool) -> Options | None:
    """What the next attempt takes: the instances whose failure can pass; None without any."""
    if run.slot is None or run.cancel_requested_at or run.options.get("dry_run"):
        return None
    try:
        options = options or Options.from_json(run.options)
    except (UsageError, TypeError):
        return None
    if run.state == RunState.SKIPPED and (run.attempt > 1 or _blocked_by_unrelated_run(run)):
        return options  # what it met does not stand for it: it is put off
    if run.state not in FAILURES:
        return None
    parts = list(run.targets.all())
    if not parts:
        return options if passing else None
    again = tuple(
        part.target
        for part in parts
        if (part.state == TargetState.FAILED and part.passing)
        or (part.state == TargetState.WAITING and passing)
    )
    return replace(options, targets=again, failed_from=run.pk) if again else None


def _time(run: SyncRun, now: datetime, *, put_off: bool) -> datetime | None:
    """When the next attempt is due; None when there are no more before the next slot."""
    attempts = SyncRun.objects.filter(sync=run.sync, slot=run.slot)
    skipped = attempts.filter(state=RunState.SKIPPED).count()
    tried = max(run.attempt - skipped, 1)
    delays = settings.RAINBO_RETRY_SECONDS
    if put_off:
        seconds = settings.RAINBO_HEARTBEAT_INTERVAL * PUT_OFF[min(skipped, len(PUT_OFF)) - 1]
    elif tried <= len(delays):
        seconds = delays[tried - 1]
    else:
        return None
    at = now + timedelta(seconds=seconds)
    cron = _cron(run.sync)
    return at if cron and at < crontab.next_slots(cron, now)[0] else None


def _cron(sync: str) -> str | None:
    """The sync's rhythm: its schedule's or its default; None for one that the code forgot."""
    rows = Schedule.objects.filter(func=store.FUNCTION, args=repr((sync,)))
    usual = [spec.cron for spec in registry.all_syncs() if spec.name == sync]
    crons = [*rows.exclude(cron=None).values_list("cron", flat=True), *usual]
    return next((cron for cron in crons if usual and crontab.is_valid(cron)), None)


def _blocked_by_unrelated_run(run: SyncRun) -> bool:
    """Whether the run that it met does not stand for it.

    One that was asked for, perhaps dry, takes other instances, or has just ended badly.
    """
    met = run.met
    return met is not None and (
        met.slot is None
        or met.options.get("targets") != run.options.get("targets")
        or met.state in (*FAILURES, RunState.CANCELLED)
    )


def _last_that_met(run: SyncRun) -> SyncRun | None:
    if run.slot is None:
        return None
    met = SyncRun.objects.filter(sync=run.sync, met=run, state=RunState.SKIPPED)
    return met.filter(slot__gt=run.slot).order_by("-slot", "-attempt").first()


def _has_newer(run: SyncRun) -> bool:
    later = SyncRun.objects.filter(sync=run.sync, slot__gt=run.slot)
    return later.exclude(state__in=[RunState.SKIPPED, RunState.CANCELLED]).exists()
