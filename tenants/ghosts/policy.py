"""Who should have a ghost user, what a sync's outcomes mean, and when they are held."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeGuard

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Q, QuerySet

from common.errors import UsageError
from syncs.engine.guard import Limit
from tenants.models import GhostUser
from tenants.models.ghost import GhostState

PERMISSION = "tenants.impersonate"
BACKEND = "django.contrib.auth.backends.ModelBackend"
PLAIN = 40  # characters of a plain name


@dataclass(frozen=True)
class Admin:
    """groups: the names of those that the admin is in."""

    id: int
    name: str
    groups: frozenset[str] = frozenset()

    @property
    def email(self) -> str:
        return f"rainbo-admin-{self.id}@system.internal"

    @property
    def plain_name(self) -> str:
        """The name as any server can store it: in ASCII, and short."""
        letters = unicodedata.normalize("NFKD", self.name).encode("ascii", "ignore").decode()
        return " ".join(letters.split())[:PLAIN].rstrip() or f"admin {self.id}"

    def with_plain_name(self) -> Admin:
        return replace(self, name=self.plain_name)


class GhostOutcome(StrEnum):
    """The outcome of one ghost in the statement; see sync_ghost_users.sql."""

    CREATED = "created"
    REACTIVATED = "reactivated"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    DEACTIVATED = "deactivated"
    INACTIVE = "inactive"
    REFUSED = "refused"
    MISSED = "missed"
    LEFT = "left"
    ALTERED = "altered"
    UNKNOWN = "unknown"
    FOREIGN = "foreign"


CONFIRMED = {
    GhostOutcome.CREATED: GhostState.ACTIVE,
    GhostOutcome.REACTIVATED: GhostState.ACTIVE,
    GhostOutcome.CHANGED: GhostState.ACTIVE,
    GhostOutcome.UNCHANGED: GhostState.ACTIVE,
    GhostOutcome.DEACTIVATED: GhostState.INACTIVE,
    GhostOutcome.INACTIVE: GhostState.INACTIVE,
    GhostOutcome.REFUSED: GhostState.REFUSED,
    GhostOutcome.MISSED: GhostState.UNKNOWN,
    GhostOutcome.ALTERED: GhostState.UNKNOWN,
}
# What is not as it should be; what another installation made is none of ours.
UNEQUAL = (
    *(GhostOutcome.REFUSED, GhostOutcome.MISSED),
    *(GhostOutcome.ALTERED, GhostOutcome.UNKNOWN),
)
KEPT = Q(instance__is_active=True, instance__has_ghosts=True)  # the instance keeps ghost users


@dataclass(frozen=True)
class Ghost:
    """One row of the statement's result."""

    admin_id: str | None
    remote_id: str | None
    outcome: GhostOutcome
    why: str | None = None

    @classmethod
    def of(cls, row: Sequence[Any]) -> Ghost:
        admin_id, remote_id, outcome, why = row
        return cls(admin_id, remote_id, GhostOutcome(outcome), why)

    @property
    def was_active(self) -> bool:
        return self.outcome in (
            GhostOutcome.UNCHANGED,
            GhostOutcome.CHANGED,
            GhostOutcome.DEACTIVATED,
        )

    @property
    def is_own(self) -> bool:
        """Whether it is a ghost of this installation, as far as is known."""
        return self.outcome not in (
            GhostOutcome.ALTERED,
            GhostOutcome.UNKNOWN,
            GhostOutcome.FOREIGN,
        )

    def __str__(self) -> str:
        whose = "a ghost user" if self.admin_id is None else f"ghost of admin {self.admin_id}"
        where = f" (user {self.remote_id} there)" if self.remote_id else ""
        return f"{whose}{where}: {self.outcome}{f': {self.why}' if self.why else ''}"


def admins() -> QuerySet[User]:
    """Return active staff with the permission to impersonate; superusers count."""
    return User.objects.with_perm(PERMISSION, backend=BACKEND).filter(is_staff=True)


def wanted_admins() -> dict[int, Admin]:
    """Return the admins that should have a ghost user on every instance."""
    return {
        user.pk: Admin(
            user.pk,
            user.get_full_name() or user.get_username(),
            frozenset(group.name for group in user.groups.all()),
        )
        for user in admins().prefetch_related("groups")
    }


def is_admin_id(key: str | None) -> TypeGuard[str]:
    return key is not None and key.isascii() and key.isdecimal() and len(key) < 19


def parse_only(only: Sequence[str]) -> set[int]:
    """Parse the admin ids of a request.

    Raises UsageError for an invalid id and for one that RAINBO has never known.
    """
    wrong = [key for key in only if not is_admin_id(key)]
    if wrong:
        raise UsageError(f"not an admin id: {', '.join(wrong)}; use the id of a RAINBO user")
    ids = {int(key) for key in only}
    users = User.objects.filter(pk__in=ids).values_list("pk", flat=True)
    known = GhostUser.objects.filter(admin_id__in=ids).values_list("admin_id", flat=True)
    if unknown := ids - {*users, *known}:
        names = ", ".join(map(str, sorted(unknown)))
        raise UsageError(f"RAINBO knows no user {names}, nor a ghost user of theirs")
    return ids


def why_held(going: int, active: int, lately: int) -> list[str]:
    """Return why deactivations on one instance must be held for review; empty if not.

    active: ghosts not known to be gone. lately: those that RAINBO deactivated in 24 h. What others
    did to ghosts there counts for nothing.
    """
    limit = Limit(*settings.RAINBO_GUARD_GHOSTS_DEACTIVATED)
    if not going:
        return []
    if limit.exceeded(going, active):
        return [f"{going} of {active} active ghost users would be deactivated"]
    if limit.exceeded(going + lately, active + lately):
        since = f"{going + lately} of the {active + lately} of 24 h ago"
        return [f"{since} would be deactivated by now"]
    return []
