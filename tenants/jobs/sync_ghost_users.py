"""The admins who may enter tenants → their ghost users on every instance.

Written remotely, so our own fence can't guard it: the remote transaction writes, then the lease
is checked, then it commits. What it does is idempotent.

A ghost that can't be made because another account has its e-mail or its admin id doesn't fail the
instance: that would hide the work that was done, and no retry mends it. It is counted as
withheld, told in the note, logged as a warning and kept in ghost_users as `refused`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from django.conf import settings
from django.db import connection as own_connection

from syncs.errors import Conflict, ConnectionFailed, RainboError, SourceTimeout
from syncs.history import rows_day_ago
from syncs.models import HeldChange, TargetState
from syncs.run import Run
from syncs.session import Session
from syncs.transfer import Connection
from tenants import contract, fleet, ghost_record, ghosts
from tenants.choice import as_target, chosen
from tenants.ghosts import Admin, Ghost, Outcome
from tenants.models import RdsInstance
from tenants.models.installation import installation_id

NAME = "sync_ghost_users"
AWAY = (ConnectionFailed, SourceTimeout)


@dataclass(frozen=True)
class Plan:
    """What the run wants of every instance, read once before the first is asked.

    only: the admins it keeps to, all when empty. active, day_ago and accepted, by target, are
    for the guard: ghosts active now and 24 h ago, and deactivations that a person accepted.
    """

    admins: Mapping[int, Admin]
    only: frozenset[int]
    statement: str
    parameters: Mapping[str, object]
    active: Mapping[str, int]
    day_ago: Mapping[str, int | None]
    accepted: Mapping[str, set[tuple[str, str]]]


@dataclass(frozen=True)
class Answer:
    """What one instance said. reasons: why it was rolled back there, to wait for a person."""

    at: datetime
    ghosts: list[Ghost]
    reasons: list[str]
    lifted: bool

    def removals(self) -> list[tuple[str, str, str]]:
        return [
            (HeldChange.Kind.REMOVED, str(ghost.admin_id), f"user {ghost.remote_id} there")
            for ghost in self.ghosts
            if ghost.outcome is Outcome.DEACTIVATED
        ]


Part = fleet.Outcome[Answer]


def sync_ghost_users(run: Run) -> None:
    """Give every admin a ghost user on every active instance, and take the leavers' away.

    Leavers are looked for on every registered instance until it is known that none is left.
    """
    only = frozenset(ghosts.parse_only(run.options.only))
    admins = ghosts.wanted_admins()
    instances = chosen(run, also=ghosts.inactive_with_leavers(admins, only))
    run.expect(map(as_target, instances))
    plan = _plan(run, instances, admins, only)
    asking = threading.get_ident()

    def act(instance: RdsInstance, remote: Connection) -> Answer:
        try:
            return _apply(run, plan, instance, remote)
        finally:
            if threading.get_ident() != asking:
                own_connection.close()

    parts = fleet.each_instance(instances, act, run.record.sync, writes=True)
    for part in parts:
        _tell(run, part)
    totals = _publish(run, plan, parts)
    for part in parts:
        _settle(run, plan, part, totals)


def _plan(
    run: Run, instances: list[RdsInstance], admins: dict[int, Admin], only: frozenset[int]
) -> Plan:
    wanted = {pk: admin for pk, admin in admins.items() if not only or pk in only}
    targets = [str(instance.pk) for instance in instances]
    sync, now = run.record.sync, run.now()
    return Plan(
        admins=wanted,
        only=only,
        statement=contract.text(NAME),
        parameters={
            "ids": [str(pk) for pk in wanted],
            "emails": [admin.email for admin in wanted.values()],
            "names": [admin.name for admin in wanted.values()],
            "only": [str(pk) for pk in only] or None,
            "installation": installation_id(),
        },
        active=ghost_record.active_ghosts(run.session),
        day_ago={target: rows_day_ago(sync, target, now) for target in targets},
        accepted={target: run.accepted(target) or set() for target in targets},
    )


def _apply(run: Run, plan: Plan, instance: RdsInstance, remote: Connection) -> Answer:
    """One transaction on the instance; rolled back when it is dry or must wait for a person."""
    at = run.now()
    with remote.transaction(force_rollback=run.dry_run):
        half = settings.RAINBO_LEASE_TTL * 1000 // 2
        remote.execute(f"SET LOCAL idle_in_transaction_session_timeout = {half}")
        rows = remote.execute(
            plan.statement.encode(), {**plan.parameters, "create": instance.is_active}
        ).fetchall()
        answer = _judge(plan, str(instance.pk), at, [Ghost.of(*row) for row in rows])
        if answer.reasons:
            raise psycopg.Rollback
        run.check_lease()
    return answer
