"""The plan of a ghost user run, and the result of one instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from syncs.engine import guard
from syncs.engine.baseline import rows_a_day_ago
from syncs.engine.run import Run
from syncs.models import HeldChange
from syncs.transfer.copy_stream import Connection, verbatim
from tenants.fleet import contract
from tenants.ghosts import policy, record
from tenants.ghosts.policy import Admin, Ghost, GhostOutcome
from tenants.models import RdsInstance
from tenants.models.installation import installation_id


@dataclass(frozen=True)
class InstanceResult:
    """The result of one instance.

    reasons: why it was rolled back there and held for review. lifted: a user had accepted it.
    plain: the server could not store the names as they are, so it got plain ones.
    """

    at: datetime
    ghosts: list[Ghost]
    reasons: list[str]
    lifted: bool = False
    plain: bool = False

    @property
    def removals(self) -> list[tuple[str, str, str]]:
        return [
            (HeldChange.Kind.REMOVED.value, str(ghost.admin_id), f"user {ghost.remote_id} there")
            for ghost in self.ghosts
            if ghost.outcome is GhostOutcome.DEACTIVATED
        ]

    @property
    def counts(self) -> dict[str, Any]:
        found = Counter(ghost.outcome for ghost in self.ghosts)
        known = [ghost for ghost in self.ghosts if ghost.is_own and ghost.remote_id]
        return {
            "read": len(known) - found[GhostOutcome.CREATED],
            "added": found[GhostOutcome.CREATED],
            "changed": found[GhostOutcome.REACTIVATED] + found[GhostOutcome.CHANGED],
            "removed": found[GhostOutcome.DEACTIVATED],
            "withheld": found[GhostOutcome.REFUSED],
        }


@dataclass(frozen=True)
class Plan:
    """What a run wants, read once before the first instance is contacted.

    only: the admins that it is limited to, all when empty. active and day_ago, by target, are
    for the guard: ghosts active now and 24 h ago.
    """

    admins: Mapping[int, Admin]
    only: frozenset[int]
    statement: str
    installation: str
    active: Mapping[str, int]
    day_ago: Mapping[str, int | None]
    plain: bool = False

    @classmethod
    def make(
        cls,
        run: Run,
        instances: list[RdsInstance],
        admins: Mapping[int, Admin],
        only: frozenset[int],
    ) -> Plan:
        targets = [str(instance.pk) for instance in instances]
        sync, now = run.record.sync, run.now()
        return cls(
            admins={pk: admin for pk, admin in admins.items() if not only or pk in only},
            only=only,
            statement=contract.text("sync_ghost_users"),
            installation=installation_id(),
            active={str(k): n for k, n in record.active_ghosts(run.session).items()},
            day_ago=rows_a_day_ago(sync, targets, now),
        )

    def parameters(self, instance: RdsInstance) -> dict[str, object]:
        """Return the parameters of sync_ghost_users.sql; disabled instances get no new ghosts."""
        return {
            "ids": [str(pk) for pk in self.admins],
            "emails": [admin.email for admin in self.admins.values()],
            "names": [admin.name for admin in self.admins.values()],
            "only": [str(pk) for pk in self.only] or None,
            "installation": self.installation,
            "create": instance.is_active,
        }

    def with_plain_names(self) -> Plan:
        named = {pk: replace(admin, name=admin.plain_name) for pk, admin in self.admins.items()}
        return replace(self, admins=named, plain=True)

    def judge(self, run: Run, target: str, at: datetime, found: list[Ghost]) -> InstanceResult:
        """Let the guard judge what an instance would deactivate."""
        answer = InstanceResult(at, found, [], plain=self.plain)
        seen = sum(ghost.was_active for ghost in found)
        active = max(seen, self.active.get(target, 0))
        reasons = policy.why_held(len(answer.removals), active, self.day_ago[target])
        planned = _as_query(answer.removals)
        decision = guard.decide_reasons(run, target, reasons, planned)
        return replace(answer, reasons=decision.reasons, lifted=decision.accepted)


def carry_out(run: Run, plan: Plan, instance: RdsInstance, remote: Connection) -> InstanceResult:
    """Apply the plan inside the instance's transaction; undone if the run is dry or it is held.

    It is repeated with plain names if the server's encoding or columns can't store the real ones:
    one admin's name must not keep leavers' ghosts alive.
    Raises LeaseLost, and leaves nothing there, if another run took the lease.
    """
    try:
        return _write(run, plan, instance, remote)
    except psycopg.DataError:
        return _write(run, plan.with_plain_names(), instance, remote)


def _write(run: Run, plan: Plan, instance: RdsInstance, remote: Connection) -> InstanceResult:
    at = run.now()
    with remote.transaction(force_rollback=run.dry_run):
        rows = remote.execute(verbatim(plan.statement), plan.parameters(instance)).fetchall()
        answer = plan.judge(run, str(instance.pk), at, [Ghost.of(row) for row in rows])
        if answer.reasons:
            raise psycopg.Rollback
        run.check_lease()
    return answer


def _as_query(changes: list[tuple[str, str, str]]) -> sql.Composed:
    kinds, keys, details = ([change[at] for change in changes] for at in range(3))
    return sql.SQL(
        "SELECT * FROM unnest({}::text[], {}::text[], {}::text[]) AS c (kind, source_id, detail)"
    ).format(sql.Literal(kinds), sql.Literal(keys), sql.Literal(details))
