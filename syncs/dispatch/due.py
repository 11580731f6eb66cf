"""Runs everything that is due once, without a worker: for cron and job platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from django.db import transaction
from django_q.models import Schedule

from common.clock import database_now
from common.errors import RainboError
from syncs.dispatch import lost_triggers, slots
from syncs.engine import registry
from syncs.models import SyncRun
from syncs.schedules import crontab, store

Execute = Callable[[SyncRun], SyncRun]


def run_due(execute: Execute, report: Callable[[str], object]) -> list[SyncRun]:
    """Execute all due slots and all queued runs; return the runs that ended.

    Slots are claimed from the schedules' rows as a worker claims them, before any is executed, so
    that of several processes one gets each. Slots that were enqueued and that no worker took are
    claimed too. What is requested meanwhile, such as by a signal, is executed before it returns.
    A schedule that can't be read is reported and skipped.
    """
    found = {record.pk: record for record in (*_claim_scheduled(report), *_claim_enqueued(report))}
    claimed = list(found.values())
    order = {sync.name: sync.order for sync in registry.all_syncs()}
    claimed.sort(key=lambda record: order[record.sync])
    ended = [execute(record) for record in claimed if slots.should_run(record)]
    tried = set(found)
    while waiting := [r for r in slots.waiting() if r.sync in order and r.pk not in tried]:
        tried |= {record.pk for record in waiting}
        ended += [execute(record) for record in waiting if slots.should_run(record)]
    # A worker took the others first, or they wait for a run in progress.
    return [record for record in ended if not record.is_open]


def _claim_scheduled(report: Callable[[str], object]) -> Iterator[SyncRun]:
    due = Schedule.objects.filter(func=store.FUNCTION, next_run__lte=database_now())
    for pk in due.exclude(repeats=store.OFF).order_by("pk").values_list("pk", flat=True):
        try:
            record = _claim(pk)
        except RainboError as error:
            report(f"A schedule was skipped: {error}")
            continue
        if record is not None:
            yield record


def _claim_enqueued(report: Callable[[str], object]) -> Iterator[SyncRun]:
    for sync, slot in chain(lost_triggers.take_abandoned(), lost_triggers.missed_triggers()):
        try:
            record = slots.claim_due(sync, slot)
        except RainboError as error:
            report(f"A scheduled time was skipped: {error}")
            continue
        if record is not None:
            yield record


def _claim(pk: int) -> SyncRun | None:
    """Claim a due row as django-q's scheduler does: lock it, check it again, advance it."""
    with transaction.atomic():
        now = database_now()
        rows = Schedule.objects.select_for_update(skip_locked=True)
        row = rows.filter(pk=pk, next_run__lte=now).exclude(repeats=store.OFF).first()
        sync = store.sync_of(row.args) if row is not None else None
        if row is None:
            return None
        if sync is None or not crontab.is_valid(row.cron or ""):
            raise RainboError(f"{row.name or row.pk} is invalid: run manage.py setup_schedules")
        handed = row.next_run
        row.next_run = crontab.next_slots(row.cron, now)[0]
        row.save(update_fields=["next_run"])
        return slots.claim_due(sync, handed)
