"""What is owed: ghost users of leavers, until they are confirmed gone.

It follows from the users and from what the instances last confirmed, whatever became of runs. Each
minute, and at once after a signal or a run, what is due is requested again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import BooleanField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from common.clock import database_now
from syncs import tasks
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import RunState, SyncRun, Trigger
from tenants.ghosts import policy
from tenants.models import GhostUser, InstanceCheck, RdsInstance
from tenants.models.ghost import GONE, GhostState
from tenants.models.instance import UNREADABLE, Health

SYNC = "ghost_users"
SLOWEST_RETRY = 600  # seconds, if RAINBO_RETRY_SECONDS is none
ALTERED_RETRY = 3600  # seconds, once the instance has answered that only a person can repair it
CHECKS = timedelta(minutes=2)  # an instance that was down so shortly before a try was down then


def find(wanted: Collection[int] | None = None) -> QuerySet[GhostUser]:
    """Return the ghost users that are owed. wanted: the admins; default: those of now."""
    may_enter: Any = policy.admins().values("pk") if wanted is None else [*wanted]
    left = GhostUser.objects.exclude(confirmed__in=GONE)
    return left.exclude(admin_id__in=may_enter)


def by_instance(wanted: Collection[int], *, held: bool = True) -> dict[int, frozenset[int]]:
    """Return whose ghosts are owed on which instance. held: those too that wait for a person."""
    found: dict[int, set[int]] = {}
    rows = find(wanted) if held else find(wanted).filter(held_by=None)
    for instance, admin in rows.values_list("instance_id", "admin_id"):
        found.setdefault(instance, set()).add(admin)
    return {instance: frozenset(admins) for instance, admins in found.items()}


def instances_without(wanted: Collection[int], only: Collection[int] = ()) -> list[RdsInstance]:
    """Return instances that keep no ghost users, and where some are owed.

    only: of these admins; default: of any.
    """
    ghosts = find(wanted).filter(admin_id__in=only) if only else find(wanted)
    others = RdsInstance.objects.exclude(is_active=True, has_ghosts=True)
    return list(others.filter(pk__in=ghosts.values("instance_id")))


def retire_leavers() -> SyncRun | None:
    """Mark what is owed, and have one run deactivate all of it if anything is due.

    A run that a signal requested and that waits does it too, since each run deactivates all that is
    owed. Rows that are being published are not waited for: they are marked by the next call.
    """
    now = database_now()
    with transaction.atomic():
        ghosts = _read()
        _update([g for g in ghosts if not g.is_owed], owed_since=None, held_by=None)
        left = [ghost for ghost in ghosts if ghost.is_owed]
        _mark([ghost for ghost in left if ghost.owed_since is None], now)
        known = [ghost for ghost in left if ghost.held_by is None]
        due = [ghost for ghost in known if _is_due(ghost, now)]
        record = _waiting() if known else None
        if record is None and due:
            record = _request(due, now)
        if record is not None:
            tasks.enqueue(record)
    return record


def retry_after(tries: int, *, altered: bool = False) -> timedelta:
    """Return how long to wait after so many tries. altered: the instance has answered so."""
    delays = settings.RAINBO_RETRY_SECONDS or (SLOWEST_RETRY,)
    if altered and tries >= len(delays):
        return timedelta(seconds=ALTERED_RETRY)
    return timedelta(seconds=delays[min(max(tries, 1), len(delays)) - 1])


def _read() -> list[Any]:
    """Return what is owed or was: is_owed. was_down: its instance was, when it was last tried."""
    is_owed = Q(pk__in=find().values("pk"))
    down = InstanceCheck.objects.filter(
        instance=OuterRef("instance"),
        health__in=UNREADABLE,
        minute__gt=OuterRef("tried_at") - CHECKS,
    )
    rows = GhostUser.objects.filter(is_owed | Q(owed_since__isnull=False))
    owing = ExpressionWrapper(is_owed, BooleanField())
    return list(
        rows.annotate(is_owed=owing, was_down=Exists(down)).select_related("instance").order_by()
    )


def _mark(ghosts: Sequence[GhostUser], now: datetime) -> None:
    new = {"owed_since": now, "tried_at": None, "tries": 0, "wanted": GhostState.INACTIVE}
    for ghost in ghosts:
        ghost.tried_at, ghost.tries = None, 0
    _update(ghosts, **new)


def _update(ghosts: Sequence[GhostUser], **fields: object) -> None:
    """Update rows that nobody has locked: two sessions that wait for each other's would fail."""
    if ghosts:
        rows = GhostUser.objects.filter(pk__in=[ghost.pk for ghost in ghosts]).order_by()
        free = rows.select_for_update(skip_locked=True).values_list("pk", flat=True)
        GhostUser.objects.filter(pk__in=list(free)).update(**fields)


def _is_due(ghost: Any, now: datetime) -> bool:
    """Whether to try again now: by the usual delays, and at once when the instance is back."""
    tried = ghost.tried_at
    if tried is None or tried > now:  # the clock was set back
        return True
    answered = ghost.confirmed_at is not None and ghost.confirmed_at >= tried
    altered = answered and ghost.confirmed == GhostState.UNKNOWN
    return now >= tried + retry_after(ghost.tries, altered=altered) or _is_back(ghost, tried)


def _is_back(ghost: Any, tried: datetime) -> bool:
    instance = ghost.instance
    is_up = instance.health in (Health.HEALTHY, Health.DEGRADED)
    checked = instance.last_check_at
    return bool(ghost.was_down and is_up and checked is not None and checked > tried)


def _waiting() -> SyncRun | None:
    """Return a run that will read the users after this: one that has not begun."""
    queued = SyncRun.objects.filter(sync=SYNC, state=RunState.QUEUED, trigger=Trigger.SIGNAL)
    return queued.filter(Q(not_before=None) | Q(not_before__lte=Now())).order_by("pk").first()


def _request(due: Sequence[GhostUser], now: datetime) -> SyncRun:
    only = sorted({ghost.admin_id for ghost in due})
    _update(due, tried_at=now, tries=F("tries") + 1)
    return runs.request(SYNC, Options(only=tuple(map(str, only))), Trigger.SIGNAL)
