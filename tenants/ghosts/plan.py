"""The plan of a ghost user run, and the result of one instance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql

from common.terminal import printable_line
from syncs.engine import guard, held
from syncs.engine.run import Run
from syncs.models import HeldChange, Trigger
from syncs.transfer.copy_stream import Connection, verbatim
from tenants.fleet import contract, ghost_roles, resolution
from tenants.fleet.resolution import NO_TABLES, Tables
from tenants.ghosts import owed, policy, record
from tenants.ghosts.policy import Admin, Ghost, GhostOutcome
from tenants.models import RdsInstance
from tenants.models.installation import installation_id

# Raised by an instance for a row that its columns, constraints or triggers don't take.
ROWS_REJECTED = (
    *(psycopg.DataError, psycopg.IntegrityError),
    *(psycopg.errors.RaiseException, psycopg.errors.WithCheckOptionViolation),
)


@dataclass(frozen=True)
class InstanceResult:
    """The result of one instance.

    reasons: why it was rolled back there and held for review. tables: what the statement's names
    mean there; moved: since it was last confirmed they meant something else. lifted: a user had
    accepted it. plain: the server could not store some names as they are, so it got plain ones.
    """

    at: datetime
    ghosts: list[Ghost]
    reasons: list[str]
    tables: Tables = NO_TABLES
    moved: str = ""
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
    def to_review(self) -> list[tuple[str, str, str]]:
        """The changes that are held, if there is a reason to."""
        tables = [resolution.change_to_review(self.moved)] if self.moved else []
        return [*tables, *self.removals]

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

    @property
    def unequal(self) -> list[Ghost]:
        """The ghosts that are not as they should be."""
        return [ghost for ghost in self.ghosts if ghost.outcome in policy.UNEQUAL]


@dataclass(frozen=True)
class Plan:
    """What a run wants, read once before the first instance is contacted.

    only: the admins that it is limited to, all when empty. leavers: whose ghosts should be gone
    from which instance and are not known to be. owed: those of them that do not wait for a person:
    every run takes them up. of_leavers: it was requested for them alone.
    known, lately and tables, by target, are for the guard: ghosts that are not gone, those that
    RAINBO deactivated in 24 h, and the tables that were written when it was last confirmed.
    """

    admins: Mapping[int, Admin]
    only: frozenset[int]
    leavers: Mapping[int, frozenset[int]]
    owed: Mapping[int, frozenset[int]]
    of_leavers: bool
    installation: str
    known: Mapping[str, int]
    lately: Mapping[str, int]
    tables: Mapping[str, Mapping[str, Any]]

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
            leavers=owed.by_instance(admins),
            owed=owed.by_instance(admins, held=False),
            of_leavers=is_of_leavers(run),
            installation=installation_id(),
            known={str(k): n for k, n in record.ghosts_not_gone(run.session).items()},
            lately=record.deactivated_lately(run.session, sync, targets, now),
            tables=resolution.remembered(sync),
        )

    def only_at(self, instance: RdsInstance) -> frozenset[int] | None:
        """Return the admins that it is limited to on an instance, with all that is owed there.

        None: all. What waits there for a person does not keep a leavers' run from the others.
        """
        if not self.only:
            return None
        asked = frozenset(self.admins) if self.of_leavers else self.only
        return asked | self.owed.get(instance.pk, frozenset())

    def parameters(
        self, instance: RdsInstance, admins: Sequence[Admin] | None = None
    ) -> dict[str, object]:
        """Return the parameters of sync_ghost_users.sql; disabled instances get no new ghosts.

        admins: limit it to these, who all should have a ghost; default: all of the plan.
        """
        limited = self.only_at(instance) if admins is None else {admin.id for admin in admins}
        wanted = [*self.admins.values()] if admins is None else admins
        return {
            "ids": [str(admin.id) for admin in wanted],
            "emails": [admin.email for admin in wanted],
            "names": [admin.name for admin in wanted],
            "roles": [ghost_roles.role_there(instance.ghost_roles, a.groups) for a in wanted],
            "only": None if limited is None else [str(pk) for pk in limited],
            "installation": self.installation,
            "create": instance.keeps_ghosts,
        }

    def judge(self, run: Run, target: str, found: InstanceResult) -> InstanceResult:
        """Let the guard judge what an instance would deactivate, and where that is written."""
        seen = sum(ghost.was_active for ghost in found.ghosts)
        known = max(seen, self.known.get(target, 0))
        found = replace(found, moved=found.tables.change_since(self.tables.get(target)))
        reasons = [
            *resolution.reasons(found.moved, "writes"),
            *policy.why_held(len(found.removals), known, self.lately.get(target, 0)),
        ]
        decision = guard.decide_reasons(run, target, reasons, held.as_query(found.to_review))
        return replace(found, reasons=decision.reasons, lifted=decision.accepted)


def is_of_leavers(run: Run) -> bool:
    return run.record.trigger == Trigger.SIGNAL and bool(run.options.only)


def carry_out(run: Run, plan: Plan, instance: RdsInstance, remote: Connection) -> InstanceResult:
    """Apply the plan inside the instance's transaction; undone if the run is dry or it is held.

    Raises LeaseLost, and leaves nothing there, if another run took the lease.
    """
    try:
        return _carry_out(run, _Statement(plan, instance, remote), in_parts=False)
    except ROWS_REJECTED:
        return _carry_out(run, _Statement(plan, instance, remote), in_parts=True)


def _carry_out(run: Run, written: _Statement, *, in_parts: bool) -> InstanceResult:
    at = run.now()
    with written.remote.pipeline():  # both questions take one round trip
        tables = written.tables()
    with written.remote.transaction(force_rollback=run.dry_run):
        if in_parts:
            written.execute_in_parts()
        else:
            written.execute()
        answer = InstanceResult(at, written.ghosts, [], tables(), plain=written.plain)
        answer = written.plan.judge(run, str(written.instance.pk), answer)
        if answer.reasons:
            raise psycopg.Rollback
        run.check_lease()
    return answer


@dataclass
class _Statement:
    """The statement on one instance: as a whole, or in parts if a row breaks a rule there.

    One ghost that the instance does not take must not keep the others as they are, leavers least
    of all. ghosts: what it returned. plain: some got plain names.
    """

    plan: Plan
    instance: RdsInstance
    remote: Connection
    ghosts: list[Ghost] = field(default_factory=list)
    plain: bool = False

    def tables(self) -> Callable[[], Tables]:
        """Ask what the names in it mean there, without executing it."""
        text = contract.text("sync_ghost_users", self.instance.schema_group)
        explain = sql.SQL("EXPLAIN {}").format(verbatim(text))
        self.remote.execute(explain, self.plan.parameters(self.instance, admins=[]))
        return Tables.asked(text, self.remote)

    def execute(self) -> None:
        self.ghosts += self._rows(self.plan.parameters(self.instance))

    def execute_in_parts(self) -> None:
        self._retire(self.plan.parameters(self.instance))
        if self.instance.keeps_ghosts:
            self._make([*self.plan.admins.values()])

    def _retire(self, whole: Mapping[str, object]) -> None:
        """Deactivate all leavers' ghosts, or each that can be. No names or roles are written."""
        count = len(self.plan.admins)
        left = {**whole, "create": False, "names": [""] * count, "roles": [None] * count}
        try:
            found = self._part(left)
        except ROWS_REJECTED:
            limited = self.plan.only_at(self.instance)
            leavers = self.plan.leavers.get(self.instance.pk, frozenset())
            self._retire_some(left, sorted(leavers if limited is None else leavers & limited))
        else:
            self.ghosts += [g for g in found if g.outcome is not GhostOutcome.LEFT]

    def _retire_some(self, left: Mapping[str, object], admins: Sequence[int]) -> None:
        only = [str(pk) for pk in admins]
        try:
            found = self._part({**left, "only": only}) if only else []
        except ROWS_REJECTED as error:
            if half := len(admins) // 2:
                self._retire_some(left, admins[:half])
                self._retire_some(left, admins[half:])
            else:
                self._add_rejected(only[0], GhostOutcome.MISSED, error)
        else:
            self.ghosts += [ghost for ghost in found if ghost.admin_id in only]

    def _make(self, admins: Sequence[Admin]) -> None:
        """Make these ghosts: together, else by halves; one alone gets a plain name at last."""
        ids = [str(admin.id) for admin in admins]
        try:
            found = self._part(self.plan.parameters(self.instance, admins)) if ids else []
        except ROWS_REJECTED as error:
            if half := len(admins) // 2:
                self._make(admins[:half])
                self._make(admins[half:])
            elif admins[0].name != admins[0].plain_name:
                self.plain = True
                self._make([admins[0].with_plain_name()])
            else:
                self._add_rejected(ids[0], GhostOutcome.REFUSED, error)
        else:
            self.ghosts += [ghost for ghost in found if ghost.is_own and ghost.admin_id in ids]

    def _part(self, parameters: Mapping[str, object]) -> list[Ghost]:
        """Execute it in a savepoint, so that another part can follow what failed."""
        with self.remote.transaction():
            return self._rows(parameters)

    def _rows(self, parameters: Mapping[str, object]) -> list[Ghost]:
        statement = contract.text("sync_ghost_users", self.instance.schema_group)
        rows = self.remote.execute(verbatim(statement), parameters)
        return [Ghost.of(row) for row in rows]

    def _add_rejected(self, admin: str, outcome: GhostOutcome, error: psycopg.Error) -> None:
        why = printable_line(error.diag.message_primary or "the instance rejected it")
        self.ghosts.append(Ghost(admin, None, outcome, why))
