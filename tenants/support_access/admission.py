"""What must be true before an assertion is signed: pure of the requests that ask for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User

from common.errors import UsageError
from common.terminal import is_one_line
from tenants.ghosts import policy
from tenants.models import GhostUser, RdsInstance, SupportOptOut, Tenant
from tenants.models.ghost import GhostState
from tenants.models.instance import Health
from tenants.support_access import assertion

OPEN = "tenants.open_supportsession"
PATH = "/rainbo/enter"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
MINUTES = (15, 30, 45, 60)
USUAL_MINUTES = assertion.USUAL_SESSION // 60
FEWEST_LETTERS = 5  # different ones, so that a reason says something


@dataclass(frozen=True)
class Wanted:
    """What a person asks for. Texts are one line each."""

    reason: str
    ticket: str = ""
    read_only: bool = True
    minutes: int = USUAL_MINUTES

    @classmethod
    def of(cls, reason: str, ticket: str, *, read_only: bool, minutes: str) -> Wanted:
        """Parse what was typed. Raises UsageError that says what is wrong."""
        reason, ticket = " ".join(reason.split()), " ".join(ticket.split())
        if why := wrong_reason(reason):
            raise UsageError(why)
        if len(ticket) > assertion.LONGEST_TICKET or not is_one_line(ticket):
            raise UsageError(f"the ticket has at most {assertion.LONGEST_TICKET} characters")
        if minutes not in map(str, MINUTES):
            raise UsageError("choose how long the session may last")
        return cls(reason, ticket, read_only, int(minutes))


def wrong_reason(reason: str) -> str:
    """Why a reason says too little or too much; empty when it is one."""
    if len(reason) < assertion.SHORTEST_REASON:
        return f"give a reason of at least {assertion.SHORTEST_REASON} characters"
    if len(reason) > assertion.LONGEST_REASON:
        return f"give a reason of at most {assertion.LONGEST_REASON} characters"
    if not is_one_line(reason):
        return "the reason has characters that can't be shown"
    if len(set(re.findall(r"[^\W\d_]", reason.casefold()))) < FEWEST_LETTERS:
        return "give a reason that the tenant will understand"
    return ""


def issuer() -> str:
    """RAINBO's address, as assertions name it; empty if it is not set."""
    return str(settings.RAINBO_CONSOLE_URL).rstrip("/")


def entry_address(instance: RdsInstance) -> str:
    """Where the form is sent; empty if the instance has no address that is safe for it."""
    parts = urlsplit(instance.app_url)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not is_safe or parts.query or parts.fragment or "@" in parts.netloc:
        return ""
    return f"{instance.app_url.rstrip('/')}{PATH}"


def origin(address: str) -> str:
    """The origin of an address, as a content security policy names it."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def obstacles(user: User, tenant: Tenant, ghost: GhostUser | None) -> Iterator[str]:
    """Why this person can't enter this tenant now, as RAINBO knows it; nothing when they can."""
    instance = tenant.instance
    if not issuer():
        yield "RAINBO's own address is not set (RAINBO_CONSOLE_URL): applications check it"
    if not user.has_perm(OPEN):
        yield "you have no permission to open support sessions"
    if not may_have_ghost(user):
        yield "you have no permission to enter tenants as support, so no ghost user is yours"
    if not instance.is_active:
        yield f"{instance} is disabled"
    elif instance.health not in (Health.HEALTHY, Health.DEGRADED):
        yield f"{instance} is {instance.health}: its last health check did not find it up"
    if not entry_address(instance):
        yield (
            f"{instance} has no address of its application for it: set it (--app-url), with https"
        )
    if not is_confirmed(ghost):
        yield f"your ghost user is not confirmed on {instance}: sync it"
    if tenant.vanished_at is not None:
        yield f"{instance} no longer has this tenant"
    if (opt_out := SupportOptOut.of(instance.pk, tenant.remote_id)) is not None:
        yield f"this tenant is marked do not enter: {opt_out.reason}"


def may_have_ghost(user: User) -> bool:
    """Whether a ghost user should be theirs, as the database says now."""
    found: Any = policy.admins()
    return bool(found.filter(pk=user.pk).exists())


def is_confirmed(ghost: GhostUser | None) -> bool:
    return (
        ghost is not None
        and ghost.confirmed == GhostState.ACTIVE
        and ghost.wanted == GhostState.ACTIVE
        and bool(ghost.remote_id)
    )


def ghost_of(user: User, instance: RdsInstance) -> GhostUser | None:
    return GhostUser.objects.filter(admin_id=user.pk, instance=instance).first()
