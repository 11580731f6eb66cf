"""Runs what is due once, without a worker: for crontab and platforms that start jobs."""

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


def run_due(execute: Execute, complain: Callable[[str], object]) -> list[SyncRun]:
    """Execute every planned time that is due and every run that waits; the runs as they ended.

    Planned times are taken from the rows as a worker takes them, before any is executed: of
    those who come at the same time one gets each. So are those that were rung for and that no
    worker took. A schedule that can't be read is told and left out.
    """
    found = {record.pk: record for record in (*_take_all(complain), *_take_over(complain))}
    taken = list(found.values())
    order = {sync.name: sync.order for sync in registry.all_syncs()}
    taken.sort(key=lambda record: order[record.sync])
    ended = [execute(record) for record in taken if slots.should_run(record)]
    waiting = [record for record in slots.waiting() if record.sync in order]
    ended += [execute(record) for record in waiting if slots.should_run(record)]
    return [record for record in ended if not record.is_open]  # a worker was faster with those


def _take_all(complain: Callable[[str], object]) -> Iterator[SyncRun]:
    due = Schedule.objects.filter(func=store.FUNCTION, next_run__lte=database_now())
    for pk in due.exclude(repeats=store.OFF).order_by("pk").values_list("pk", flat=True):
        try:
            record = _take(pk)
        except RainboError as error:
            complain(f"A schedule was left out: {error}")
            continue
        if record is not None:
            yield record


def _take_over(complain: Callable[[str], object]) -> Iterator[SyncRun]:
    for sync, slot in chain(lost_triggers.take_abandoned(), lost_triggers.missed_triggers()):
        try:
            record = slots.claim_due(sync, slot)
        except RainboError as error:
            complain(f"A planned time was left out: {error}")
            continue
        if record is not None:
            yield record


def _take(pk: int) -> SyncRun | None:
    """Take a due row as django-q's scheduler does: locked, looked at again, moved on."""
    with transaction.atomic():
        now = database_now()
        rows = Schedule.objects.select_for_update(skip_locked=True)
        row = rows.filter(pk=pk, next_run__lte=now).exclude(repeats=store.OFF).first()
        sync = store.sync_of(row) if row is not None else None
        if row is None:
            return None
        if sync is None or not crontab.is_valid(row.cron or ""):
            raise RainboError(f"{row.name or row.pk} makes no sense: run manage.py setup_schedules")
        handed = row.next_run
        row.next_run = crontab.next_slots(row.cron, now)[0]
        row.save(update_fields=["next_run"])
        return slots.claim_due(sync, handed)
