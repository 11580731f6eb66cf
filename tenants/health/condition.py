"""How an instance is, as far as is known now: one word, one age and one sentence for every door."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from common import text
from common.text import format_duration
from syncs.status.freshness import State
from syncs.status.queries import SyncStatus
from tenants.health import history
from tenants.models import RdsInstance
from tenants.models.instance import UNREADABLE, Health

HEALTH = "instance_health"


@dataclass(frozen=True)
class Condition:
    """What the last check found, and how old that is.

    checked_at: None if it was never checked. is_old: two checks should have been made since, so
    that nothing is known of now.
    """

    pk: int
    label: str
    health: Health
    is_active: bool
    checked_at: datetime | None
    is_old: bool = False

    @property
    def is_unreadable(self) -> bool:
        """Whether the last check could not read it."""
        return self.is_active and self.health in UNREADABLE

    def in_words(self, now: datetime) -> str:
        """`down, checked 20 s ago`."""
        if not self.is_active:
            return "not active"
        if self.checked_at is None:
            return f"{Health.UNKNOWN}, never checked"
        return f"{self.health}, checked {_ago(self.checked_at, now)}"

    def notice(self, now: datetime) -> str:
        """What to say first on a page about something there; empty if nothing is wrong with it.

        Of one that can't be read, the database is asked since when.
        """
        if not self.is_active:
            return f"{self.label} is not active: nothing is read there."
        if self.checked_at is None:
            return f"{self.label} was never checked: whether it is up is unknown."
        checked = _ago(self.checked_at, now)
        if self.is_old:
            was = f"was {self.health} when it was last checked, {checked}"
            return f"{self.label} {was}: how it is now is unknown."
        if not self.is_unreadable:
            return ""
        since = history.down_since(self.pk)
        what = unreadable(since, now, refuses=self.health == Health.REFUSED)
        return f"{self.label} {what} (checked {checked}). What is shown of it is from before."


def of(instance: RdsInstance, now: datetime, checks: SyncStatus | None = None) -> Condition:
    """checks: the status of the health sync; without it, no check is too old."""
    return Condition(
        instance.pk,
        f"{instance}, the master," if instance.is_master else str(instance),
        Health(instance.health),
        instance.is_active,
        instance.last_check_at,
        is_old(instance.last_check_at, now, checks),
    )


def is_old(checked_at: datetime | None, now: datetime, checks: SyncStatus | None) -> bool:
    """Whether a check says nothing of now."""
    if checked_at is None or checks is None:
        return False
    return checks.judge(checked_at, now).state is State.STALE


def checks_in(syncs: Iterable[SyncStatus]) -> SyncStatus | None:
    """The status of the health sync."""
    return next((sync for sync in syncs if sync.name == HEALTH), None)


def unreadable(since: datetime | None, now: datetime, *, refuses: bool) -> str:
    """`has been down since 12:40 UTC`, of an instance that can't be read."""
    at = text.since(since, now)
    if refuses:
        read = f"has been read{at}" if at else "has ever been read"
        return f"is up and refuses RAINBO's credentials, nothing {read}"
    return f"has been down{at}" if at else "is down and has never answered"


def _ago(at: datetime, now: datetime) -> str:
    return f"{format_duration(max(now - at, timedelta()))} ago"
