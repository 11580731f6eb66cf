"""What is wrong with the ghost users: those of people who left, while they can still enter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from common.text import counted
from syncs.status.problems import Link, Problem, Severity, Source
from tenants.ghosts import policy
from tenants.models import GhostUser
from tenants.models.ghost import GhostState

COUNTED = 1_000  # ghost users of leavers; more are said to be more


@dataclass(frozen=True)
class Leavers:
    """Ghost users of leavers that their instance last confirmed as active.

    ghosts: how many, up to COUNTED and one more. instances: where they are.
    """

    ghosts: int = 0
    instances: frozenset[int] = frozenset()


def read(_: datetime) -> Leavers:
    """In one query, whose answer is bounded."""
    active = GhostUser.objects.filter(confirmed=GhostState.ACTIVE)
    left = active.exclude(admin_id__in=policy.admins().values("pk")).order_by()
    found = list(left.values_list("instance_id", flat=True)[: COUNTED + 1])
    return Leavers(len(found), frozenset(found))


def judge(facts: Leavers, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    if not facts.ghosts:
        return
    more = facts.ghosts > COUNTED
    ghosts = counted(min(facts.ghosts, COUNTED), "ghost user", more=more)
    instances = counted(len(facts.instances), "instance", more=more)
    yield Problem(
        key="ghosts/leavers",
        severity=Severity.LEAVER_CAN_ENTER,
        cause="leaver",
        text=f"{ghosts} of people who left can still enter {instances}",
        link=Link("ghosts"),
        affected=tuple(str(pk) for pk in sorted(facts.instances)),
    )


GHOSTS = Source(name="ghosts", read=read, judge=judge, permissions=("tenants.view_ghostuser",))
