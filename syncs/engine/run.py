"""The handle that a sync's function gets: its options, its targets, its lease."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypedDict, Unpack

from django.db import transaction
from psycopg import sql
from psycopg.types.json import Jsonb

from common.clock import Clock
from common.errors import RainboError
from common.redaction import redact
from syncs.engine import cancel_requests, held, lease, parts, run_rows
from syncs.engine.options import Options
from syncs.engine.targets import Target
from syncs.errors import Cancelled, LeaseLost, OverLimit, Unequal
from syncs.models import HeldChange, RunLog, RunState, RunTarget, SyncRun, TargetState
from syncs.transfer.session import Session, open_session

logger = logging.getLogger("rainbo.run")

Listener = Callable[[RunTarget], None]

CANCEL_TIMEOUT = 5.0  # seconds for RAINBO's own database to accept a cancel request


def _ignore(_: RunTarget) -> None:
    pass


class Counts(TypedDict, total=False):
    """Rows of a target's source and of what a run did; null where unknown.

    guarded_counts, source, accepted: what later runs' guards need to know of a publish.
    """

    read: int | None
    added: int | None
    changed: int | None
    removed: int | None
    withheld: int | None
    total: int | None
    guarded_counts: dict[str, int]
    source: str
    accepted: bool


@dataclass(frozen=True)
class Confirmed:
    """A target that was proved equal to its source as it was at a moment."""

    target: str
    at: datetime
    rows: int = 0
    basis: str = ""
    tables: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Gathered:
    """What is to be recorded by one commit."""

    parts: list[RunTarget] = field(default_factory=list)
    log: list[RunLog] = field(default_factory=list)


_SUCCEED = """
      WITH confirmed AS (
           INSERT INTO syncs_confirmation (sync, run_id, target, at, rows, basis)
           VALUES (%(sync)s, %(run)s, %(target)s, %(at)s, %(rows)s, %(basis)s)
               ON CONFLICT (sync, target) DO UPDATE
              SET at = excluded.at, run_id = excluded.run_id, rows = excluded.rows,
                  basis = excluded.basis, tables = NULL)
    INSERT INTO syncs_runtarget (
           run_id, target, label, state, note, seconds, read, added, changed, removed, withheld,
           total, error, error_kind, passing)
    VALUES (%(run)s, %(target)s, %(label)s, 'succeeded', %(note)s, %(seconds)s, %(read)s,
            %(added)s, %(changed)s, %(removed)s, %(withheld)s, %(total)s, '', '', false)
        ON CONFLICT (run_id, target) DO UPDATE
       SET state = excluded.state, note = excluded.note, seconds = excluded.seconds,
           read = excluded.read, added = excluded.added, changed = excluded.changed,
           removed = excluded.removed, withheld = excluded.withheld, total = excluded.total"""
_CONFIRM = """
    INSERT INTO syncs_confirmation (sync, run_id, target, at, rows, basis, tables)
    SELECT %(sync)s, %(run)s, target, at, rows, basis, tables
      FROM jsonb_to_recordset(%(confirmed)s) AS confirmed (
           target text, at timestamptz, rows bigint, basis text, tables jsonb)
        ON CONFLICT (sync, target) DO UPDATE
       SET at = excluded.at, run_id = excluded.run_id, rows = excluded.rows,
           basis = excluded.basis, tables = excluded.tables"""

_SPEND = """
    UPDATE syncs_syncrun SET accepted_by_id = %(run)s
     WHERE id = %(held)s AND accepted_by_id IS NULL AND NOT EXISTS (
           SELECT FROM syncs_heldchange WHERE run_id = %(held)s AND target <> ALL (%(targets)s))"""
_SPEND_IN_PART = """
      WITH spent AS (
           DELETE FROM syncs_heldchange WHERE run_id = %(held)s AND target = ANY (%(targets)s)
           RETURNING target)
    INSERT INTO syncs_runlog (run_id, at, level, target, message)
    SELECT DISTINCT %(held)s, clock_timestamp(), 'info', target,
           'accepted and let through by run ' || %(run)s || '; what it holds of other instances '
           'can still be accepted'
      FROM spent"""


class Run:
    """A running execution. Only `syncs.engine.runs.execute` creates it.

    cron: its sync's default cron line. options: the record's, parsed once for all that follows.
    """

    def __init__(
        self,
        record: SyncRun,
        cron: str,
        options: Options,
        renewal: lease.Renewal,
        listener: Listener | None = None,
    ) -> None:
        self.record = record
        self.cron = cron
        self.options = options
        self.renewal = renewal
        self._late = parts.late(record)
        self._listener = listener or _ignore
        self._clock = Clock.read()
        self._parts: dict[str, RunTarget] = {}
        self._gathered: _Gathered | None = None
        self._checking = threading.Lock()

    @property
    def dry_run(self) -> bool:
        return self.options.dry_run

    def now(self) -> datetime:
        return self._clock.now()

    def at(self, monotonic: float) -> datetime:
        """The time of RAINBO's database at a moment of the monotonic clock."""
        return self._clock.at(monotonic)

    @cached_property
    def session(self) -> Session:
        """The run's connection to RAINBO's database, for staging and publishing."""
        return open_session(self.record.sync)

    @cached_property
    def _checks(self) -> Session:
        """The connection that threads check the lease with: one for all of them."""
        return open_session(self.record.sync)

    def close(self) -> None:
        for name in ("session", "_checks"):
            if name in self.__dict__:
                self.__dict__[name].close()

    def interrupt(self) -> None:
        """Cancel what the run's session executes; called by another thread."""
        if "session" in self.__dict__:
            self.session.cancel_safe(timeout=CANCEL_TIMEOUT)

    def cancellation_point(self) -> None:
        """Raise Cancelled, OverLimit or LeaseLost if the run must end."""
        if self.renewal.ended is not None:
            raise self.renewal.ended

    def check_lease(self) -> None:
        """Check in the database that the run may go on for half the lease's time to live.

        Any thread may call it. Raises LeaseLost if the lease is no longer this run's, Cancelled
        if a user cancelled it.
        """
        self.cancellation_point()
        if self._goes_on():
            return
        if not lease.renew(self.record.sync, self.renewal.token):
            raise LeaseLost
        self._raise_if_cancelled()

    def _goes_on(self) -> bool:
        """Whether the lease holds, by one cheap query; if not, check_lease finds out why."""
        with self._checking:
            return lease.goes_on(self._checks, self.record.sync, self.renewal.token)

    def _raise_if_cancelled(self) -> None:
        if (request := cancel_requests.request_of(self.record.pk)) is not None:
            raise request

    @contextmanager
    def publishing(self) -> Iterator[Session]:
        """The one transaction after which readers see the new state.

        Raises LeaseLost, and changes nothing, if another run took the lease; Cancelled if a user
        cancelled this one.
        """
        self.cancellation_point()
        session = self.session
        with session.transaction(force_rollback=self.dry_run):
            with session.pipeline():  # both are asked at once
                fenced = lease.fencing(session, self.record.sync)
                request = cancel_requests.requested(session, self.record.pk)
            lease.check_fenced(fenced, self.renewal.token)
            cancel_requests.raise_requested(request)
            yield session

    def confirm(
        self,
        session: Session,
        target: str,
        at: datetime,
        *,
        rows: int = 0,
        basis: str = "",
        tables: Mapping[str, Any] | None = None,
    ) -> None:
        """Record, inside the publishing transaction, that the target equals its source."""
        self.confirm_all(session, [Confirmed(target, at, rows, basis, tables)])

    def confirm_all(self, session: Session, confirmed: Sequence[Confirmed]) -> None:
        """Like `confirm`, for many targets at once."""
        rows = [
            vars(one) | {"at": one.at.isoformat(), "tables": one.tables or None}
            for one in confirmed
        ]
        given = {"sync": self.record.sync, "run": self.record.pk, "confirmed": Jsonb(rows)}
        session.execute(_CONFIRM, given)

    def log(self, message: str, target: str = "", level: str = "info") -> None:
        entry = RunLog(run=self.record, message=message, target=target, level=level)
        if self._gathered is None:
            run_rows.add(self.record, [entry])
        else:
            self._gathered.log.append(entry)
        logger.log(
            logging.getLevelNamesMapping()[level.upper()],
            message,
            extra={"run": self.record.pk, "sync": self.record.sync, "target": target},
        )

    def expect(self, targets: Iterable[Target]) -> None:
        """Declare targets that this run will record an outcome for.

        Those that `parts.late` names are stored with their outcome.
        """
        found = [RunTarget(run=self.record, target=one.key, label=one.label) for one in targets]
        run_rows.expect(self.record, [part for part in found if part.target not in self._late])
        self._parts |= {part.target: part for part in found}

    def record_outcome(
        self,
        target: str,
        state: TargetState,
        *,
        note: str = "",
        error: RainboError | None = None,
        seconds: float | None = None,
        **counts: Unpack[Counts],
    ) -> None:
        """Record a target's outcome. A safe point, unless the target was published.

        A dry run leaves no total behind: the guard compares with what was published.
        """
        if isinstance(error, Cancelled | OverLimit):
            raise error  # not the target's failure
        part = self._parts[target]
        part.state, part.note, part.seconds = state, note, seconds
        for name, count in counts.items():
            if name != "total" or not self.dry_run:
                setattr(part, name, count)
        if error is not None:
            part.error, part.error_kind, part.passing = str(error), error.kind, error.transient
            self.log(str(error), target, "error")
        if self._gathered is None:
            run_rows.store(self.record, [part])
            self._listener(part)
        else:
            self._gathered.parts.append(part)
        if state != TargetState.SUCCEEDED:
            self.cancellation_point()

    def succeed(
        self,
        session: Session,
        confirmed: Confirmed,
        *,
        note: str = "",
        seconds: float | None = None,
        **counts: Unpack[Counts],
    ) -> None:
        """Confirm a target and record its success, inside the publishing transaction.

        `announce` it after that.
        """
        names = ("read", "added", "changed", "removed", "withheld", "total")
        facts: dict[str, Any] = {name: counts.get(name) for name in names}
        facts |= {"sync": self.record.sync, "run": self.record.pk, "target": confirmed.target}
        facts |= {"at": confirmed.at, "rows": confirmed.rows, "basis": confirmed.basis}
        facts |= {"label": self._parts[confirmed.target].label, "seconds": seconds}
        session.execute(_SUCCEED, facts | {"note": redact(note)})

    def announce(
        self, target: str, *, note: str = "", seconds: float | None, **counts: Unpack[Counts]
    ) -> None:
        """What `succeed` recorded was committed."""
        part = self._parts[target]
        part.state, part.note, part.seconds = TargetState.SUCCEEDED, note, seconds
        for name, count in counts.items():
            setattr(part, name, count)
        self._listener(part)

    @contextmanager
    def batched(self) -> Iterator[None]:
        """Record the outcomes and log lines of the block at its end, in one transaction."""
        gathered = self._gathered = _Gathered()
        try:
            yield
        finally:
            self._gathered = None
            with transaction.atomic():
                run_rows.add(self.record, gathered.log)
                run_rows.store(self.record, gathered.parts)
            for part in gathered.parts:
                self._listener(part)

    def hold(
        self,
        target: str,
        reasons: list[str],
        changes: sql.Composable | Iterable[tuple[str, str, str]],
    ) -> None:
        """Hold a target for review, with what would change.

        changes: (kind, source id, detail) of each, or a query on the session as `held.keep` has it.
        """
        self.log(f"held: {'; '.join(reasons)}", target, "warning")
        if self.dry_run:
            return
        part = self._parts[target]
        part.held_counts, part.held_tenants = self._keep(target, changes)

    def _keep(
        self, target: str, changes: sql.Composable | Iterable[tuple[str, str, str]]
    ) -> held.Kept:
        if isinstance(changes, sql.Composable):
            return held.keep(self.session, self.record, target, changes)
        kept = [
            HeldChange(run=self.record, target=target, kind=kind, source_id=key, detail=detail)
            for kind, key, detail in changes
        ]
        run_rows.add(self.record, kept)
        return held.Kept(dict(Counter(change.kind for change in kept)))

    def check_acceptance(self) -> None:
        """Raise RainboError if the run's acceptance can't be used, or no longer."""
        if self.options.accept_held is not None:
            named = SyncRun.objects.get(pk=self.options.accept_held)
            if reason := held.why_not_acceptable(named):
                raise RainboError(reason)

    def spend_acceptance(self, session: Session, let_through: Sequence[str]) -> None:
        """Spend the acceptance for the targets that it let through, and for no others.

        For a sync that commits on its targets before it publishes: what the held run holds of the
        other targets can still be accepted. Only one run of a sync at a time has the lease.
        """
        if self.options.accept_held is None or not let_through:
            return
        given = {
            "run": self.record.pk,
            "held": self.options.accept_held,
            "targets": [*let_through],
        }
        if not session.execute(_SPEND, given).rowcount:
            session.execute(_SPEND_IN_PART, given)

    def use_acceptance(self, session: Session) -> None:
        """Use the acceptance inside the publishing transaction: it can be used once."""
        spent = session.execute(
            "UPDATE syncs_syncrun SET accepted_by_id = %s WHERE id = %s AND "
            "discarded_at IS NULL AND (accepted_by_id IS NULL OR accepted_by_id = %s)",
            [self.record.pk, self.options.accept_held, self.record.pk],
        )
        if not spent.rowcount:
            raise RainboError(f"run {self.options.accept_held} was accepted or discarded before")

    def final_state(self) -> RunState:
        """Return the run's state, derived from its targets'.

        Partial says that something was published. Without, what needs a person comes first.
        """
        states = {part.state for part in self._parts.values()} - {TargetState.SKIPPED}
        if states <= {TargetState.SUCCEEDED}:
            return RunState.SUCCEEDED
        if TargetState.SUCCEEDED in states:
            return RunState.PARTIAL
        if any(part.error_kind == Unequal.kind for part in self._parts.values()):
            return RunState.PARTIAL
        return RunState.HELD if TargetState.HELD in states else RunState.FAILED
