"""Who should have a ghost user, and what a sync's outcomes mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.conf import settings
from django.contrib.auth import get_user_model

from syncs.errors import UsageError
from syncs.guard import Limit
from tenants.models.ghost import GhostState, GhostUser

PERMISSION = "tenants.impersonate"
BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True)
class Admin:
    id: int
    name: str

    @property
    def email(self) -> str:
        return f"rainbo-admin-{self.id}@system.internal"


class Outcome(StrEnum):
    """What the statement did with one ghost; see sync_ghost_users.sql."""

    CREATED = "created"
    REACTIVATED = "reactivated"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DEACTIVATED = "deactivated"
    INACTIVE = "inactive"
    REFUSED = "refused"
    MISSED = "missed"
    LEFT = "left"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"


CONFIRMED = {
    Outcome.CREATED: GhostState.ACTIVE,
    Outcome.REACTIVATED: GhostState.ACTIVE,
    Outcome.CHANGED: GhostState.ACTIVE,
    Outcome.UNCHANGED: GhostState.ACTIVE,
    Outcome.DEACTIVATED: GhostState.INACTIVE,
    Outcome.INACTIVE: GhostState.INACTIVE,
    Outcome.REFUSED: GhostState.REFUSED,
}
GONE = (GhostState.INACTIVE, GhostState.ABSENT)


@dataclass(frozen=True)
class Ghost:
    """One row of the statement's answer."""

    admin_id: str | None
    remote_id: str | None
    outcome: Outcome
    why: str | None

    def __str__(self) -> str:
        whose = "a ghost user" if self.admin_id is None else f"ghost of admin {self.admin_id}"
        where = f" (user {self.remote_id} there)" if self.remote_id else ""
        return f"{whose}{where}: {self.outcome}{f': {self.why}' if self.why else ''}"


def wanted_admins() -> dict[int, Admin]:
    """Active staff who may impersonate; superusers count."""
    users = get_user_model()._default_manager.with_perm(PERMISSION, backend=BACKEND)
    return {
        user.pk: Admin(user.pk, user.get_full_name() or user.get_username())
        for user in users.filter(is_staff=True)
    }


def leavers() -> set[int]:
    """Admins whose ghosts are still meant to be active although they should have none."""
    known = GhostUser.objects.filter(wanted=GhostState.ACTIVE).values_list("admin_id", flat=True)
    return set(known.distinct()) - wanted_admins().keys()


def parse_only(only: Sequence[str]) -> set[int]:
    """The admin ids of a request. Raises UsageError for what is no id."""
    wrong = [key for key in only if not (key.isascii() and key.isdecimal() and int(key) > 0)]
    if wrong:
        raise UsageError(f"no admin id: {', '.join(wrong)}; give the number of a user of RAINBO")
    return {int(key) for key in only}


def why_held(
    ghosts: Iterable[Ghost], known_active: int, accepted: set[tuple[str, str]] | None
) -> list[str]:
    """Why the deactivations must wait for a person; empty when they may happen."""
    going = {
        ("removed", str(ghost.admin_id))
        for ghost in ghosts
        if ghost.outcome is Outcome.DEACTIVATED
    }
    limit = Limit(*settings.RAINBO_GUARD_GHOSTS_DEACTIVATED)
    if not limit.exceeded(len(going), known_active):
        return []
    if accepted is not None and going <= accepted:
        return []
    return [f"{len(going)} of {known_active} active ghost users would be deactivated"]
