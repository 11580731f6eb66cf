"""The status of syncs, as pages, probes and commands read it, so that they never disagree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import LiteralString, NamedTuple

from django.conf import settings
from django.db import connection

from common.joint_query import Answers, Question, Questions, answer
from common.shared import Shared
from syncs.engine import registry
from syncs.engine.registry import Sync
from syncs.engine.targets import Target, Targets
from syncs.models import RunState, WorkerEvent
from syncs.schedules import crontab, store
from syncs.schedules.pause import Pause
from syncs.schedules.store import Planned
from syncs.status import freshness, recent, workers
from syncs.status.freshness import Cause, Facts, Failure, Freshness, Reason, State
from syncs.status.recent import LastRun, RecentRuns, Running, TargetOutcome
from syncs.status.workers import WorkerState
from syncs.status.workers import read as read_worker_state

# A row that is changed gets another xmin: the transaction that wrote it, later than the one before.
_VERSION = (
    "(SELECT concat_ws('/', count(*), sum(xmin::text::bigint)) FROM syncs_confirmation)",
    "(SELECT concat_ws('/', count(*), sum(xmin::text::bigint)) FROM syncs_syncschedule)",
    "(SELECT max(id) FROM syncs_syncrun)",
    "current_database()",
)
_shared: Shared[Status] = Shared()


class TargetStatus(NamedTuple):
    """What is known of one target of a sync.

    rows: of the source, as the last confirmation counted them; None without one. failures: why it
    was not confirmed, of a whole run before that of its last part, whatever the reason names first.
    """

    key: str
    label: str
    confirmed_at: datetime | None
    freshness: Freshness
    reason: Reason | None
    rows: int | None = None
    failures: tuple[Failure, ...] = ()

    @property
    def held(self) -> Failure | None:
        """What waits for review, though a pause or unresponsive workers come before it."""
        return next((f for f in self.failures if f.cause is Cause.HELD), None)

    @property
    def is_severe(self) -> bool:
        """Whether the instance is down, a run is held or failing."""
        return any(failure.cause in freshness.SEVERE for failure in self.failures)


@dataclass(frozen=True)
class SyncStatus:
    name: str
    title: str
    state: State
    reason: Reason | None
    targets: tuple[TargetStatus, ...]
    planned: tuple[Planned, ...]
    pause: Pause | None
    next_slot: datetime | None
    usual_seconds: float
    last_run: LastRun | None
    running: Running | None
    noun: str = "instance"  # what a target is called
    has_schedule: bool = True  # else each target has a frequency of its own
    grace: timedelta = timedelta(minutes=2)

    def judge(self, at: datetime, now: datetime) -> Freshness:
        """How fresh what a run saw then is, by the schedules; unknown without any."""
        plans = [plan for plan in self.planned if not plan.off] or self.planned
        following = sorted({slot for plan in plans for slot in plan.slots_after(at)})
        if not following:
            return Freshness(State.UNKNOWN)
        first, second = following[:2]
        return freshness.judge(at, (first, second), self.usual_seconds, self.grace, now)


@dataclass(frozen=True)
class Status:
    now: datetime
    worker: WorkerState
    syncs: tuple[SyncStatus, ...]

    @property
    def heartbeat(self) -> datetime | None:
        """The last one of a worker or of schedule_run."""
        return self.worker.last_heartbeat

    @property
    def worker_silent(self) -> bool:
        return self.worker.unresponsive

    @property
    def state(self) -> State:
        return freshness.worst(sync.state for sync in self.syncs)


def worker_state() -> WorkerState:
    """Return the state of the workers, for the probe and the command alike."""
    return read_worker_state()


def worker_events(limit: int = 5) -> list[WorkerEvent]:
    """Return the last restarts of workers by their supervisor."""
    return list(WorkerEvent.objects.all()[:limit])


def status(now: datetime) -> Status:
    """Return how fresh every sync's targets are, and why, in a fixed number of queries.

    A sync without a schedule and without targets, such as a service that nobody connected, is left
    out: nothing of it can be late.
    """
    return status_in(answer(ask(now)), now)


def ask(_: datetime) -> Questions:
    """The questions whose answers `status_in` takes."""
    return _ask(registry.all_syncs())


def status_in(answers: Answers, now: datetime) -> Status:
    """Like `status`, of facts that were read."""
    known = _Known.of(answers, now, registry.all_syncs())
    wanted = [sync for sync in registry.all_syncs() if sync.cron or known.targets[sync.targets]]
    return Status(now, known.worker, tuple(known.status_of(sync) for sync in wanted))


def shared_status() -> Status:
    """Return the status, read at most a second ago by this process, once for all threads.

    It is read again as soon as anything was confirmed, or a schedule changed, so that whoever saw a
    run end sees what it confirmed. `now` is the time of the reading.
    """
    known, now = version()
    return _shared.get(known, lambda: status(now))


def version(*also: LiteralString) -> tuple[tuple[object, ...], datetime]:
    """Return what changes with what is shared, and the database's time.

    also: expressions in SQL that are versions of what else is shared.
    """
    columns: LiteralString = ", ".join((*_VERSION, *also))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {columns}, clock_timestamp()")
        *known, now = cursor.fetchone()
        return tuple(known), now


def sync_status(name: str, now: datetime) -> SyncStatus:
    """Like `status`, for one sync."""
    sync = registry.get(name)
    return _Known.of(answer(_ask([sync])), now, [sync]).status_of(sync)


def _ask(syncs: Sequence[Sync]) -> Questions:
    known = {sync.targets for sync in syncs if isinstance(sync.targets, Targets)}
    asked = {function.ask for function in known}
    return {
        **{_key(ask): ask() for ask in asked},
        **recent.ask([sync.name for sync in syncs]),
        "schedules": store.ask(),
        "workers": workers.ask(),
    }


def _key(ask: Callable[[], Question]) -> str:
    return f"targets of {ask.__module__}.{ask.__qualname__}"


def _targets(function: Callable[[], list[Target]], answers: Answers) -> list[Target]:
    if isinstance(function, Targets):
        return function.pick(answers[_key(function.ask)])
    return function()


@dataclass(frozen=True)
class Expectation:
    """What `freshness.judge` takes, by the schedule of now and the last runs of a sync.

    slots: of the time of a confirmation, the two scheduled times that follow it.
    """

    title: str
    usual_seconds: float
    grace: timedelta
    slots: Callable[[datetime], tuple[datetime, datetime]]


def expectations(now: datetime) -> dict[str, Expectation]:
    """Return what is expected of each sync that has a schedule."""
    syncs = [sync for sync in registry.all_syncs() if sync.cron]
    known = _Known.of(answer(_ask(syncs)), now, syncs)
    return {sync.name: known.expectation_of(sync) for sync in syncs}


@dataclass(frozen=True)
class _Known:
    """All facts about all syncs, read once."""

    now: datetime
    planned: dict[str, list[Planned]]
    worker: WorkerState
    confirmed: dict[tuple[str, str], tuple[datetime, int]]
    runs: dict[str, RecentRuns]
    parts: dict[tuple[str, str], TargetOutcome]
    running: dict[str, Running]
    targets: Mapping[Callable[[], list[Target]], Sequence[Target]]  # several syncs have the same

    @classmethod
    def of(cls, answers: Answers, now: datetime, syncs: Sequence[Sync]) -> _Known:
        """What these syncs' status needs."""
        runs = recent.runs_in(answers)
        functions = {sync.targets for sync in syncs}
        targets = {function: _targets(function, answers) for function in functions}
        wanted = [(sync.name, target.key) for sync in syncs for target in targets[sync.targets]]
        return cls(
            now=now,
            planned=store.planned_in(answers["schedules"]),
            worker=workers.judge(answers["workers"], now),
            confirmed=recent.confirmations_in(answers),
            runs=runs,
            parts=recent.last_parts(answers, runs, wanted),
            running=recent.running_in(answers),
            targets=targets,
        )

    def status_of(self, sync: Sync) -> SyncStatus:
        usual = self._usual_seconds(sync)
        targets = tuple(self._judged(sync, usual))
        state = freshness.worst(target.freshness.state for target in targets)
        planned = tuple(self.planned.get(sync.name, ()))
        slots = [slot for plan in planned if (slot := plan.next_slot(self.now))]
        return SyncStatus(
            name=sync.name,
            title=sync.title,
            state=state,
            reason=self._reason(sync, targets, state, usual),
            targets=targets,
            planned=planned,
            pause=self._pause(sync),
            next_slot=min(slots, default=None),
            usual_seconds=usual,
            last_run=self._last_run(sync),
            running=self.running.get(sync.name),
            noun=sync.noun,
            has_schedule=bool(sync.cron),
            grace=self._grace(sync),
        )

    def expectation_of(self, sync: Sync) -> Expectation:
        plans = self._in_force(sync)
        return Expectation(
            title=sync.title,
            usual_seconds=self._usual_seconds(sync),
            grace=self._grace(sync),
            slots=lambda at: self._slots(sync, plans, at, None),
        )

    def _judged(self, sync: Sync, usual: float) -> Iterator[TargetStatus]:
        """Yield the status of each target; what they have in common is found once."""
        usual_grace, plans = self._grace(sync), self._in_force(sync)
        facts = self._facts(sync, None)
        stuck, last = self._unresponsive_run(sync), self._failed_run(sync)
        for target in self.targets[sync.targets]:
            at, rows = self.confirmed.get((sync.name, target.key), (None, None))
            grace = usual_grace if target.period is None else _usual_grace(target.period)
            slots = self._slots(sync, plans, at, target.period) if at else None
            judged = freshness.judge(at, slots, usual, grace, self.now)
            part = self.parts.get((sync.name, target.key))
            of_run = stuck or (last if part is None else _later(last, part.run))
            of_part = part.failure(is_down=target.is_down) if part else None
            failures = tuple(filter(None, (of_run, of_part)))
            known = replace(facts, failure=failures[0]) if failures else facts
            reason = freshness.explain(judged, known, usual, grace, self.now)
            yield TargetStatus(target.key, target.label, at, judged, reason, rows, failures)

    def _reason(
        self, sync: Sync, targets: Iterable[TargetStatus], state: State, usual: float
    ) -> Reason | None:
        """Return the reason of the first target in that state; the sync's own without targets."""
        targets = list(targets)
        if targets:
            worst = [target for target in targets if target.freshness.state is state]
            return next((target.reason for target in worst if target.reason), None)
        facts = self._facts(sync, self._unresponsive_run(sync) or self._failed_run(sync))
        unknown = Freshness(State.UNKNOWN)
        reason = freshness.explain(unknown, facts, usual, self._grace(sync), self.now)
        if reason is not None and reason.cause is Cause.NEVER_CONFIRMED:
            return Reason(Cause.NEVER_CONFIRMED, f"no {sync.noun} takes part in it")
        return reason

    def _facts(self, sync: Sync, failure: Failure | None) -> Facts:
        planned = self.planned.get(sync.name, [])
        running = self.running.get(sync.name)
        is_running = running and running.is_live
        return Facts(
            scheduled=bool(planned) or not sync.cron,
            off=bool(planned) and all(plan.off for plan in planned),
            pause=self._pause(sync),
            heartbeat=self.worker.last_heartbeat,
            unresponsive=self.worker.unresponsive,
            failure=failure,
            running=self.now - running.started_at if running and is_running else None,
        )

    def _usual_seconds(self, sync: Sync) -> float:
        known = self.runs.get(sync.name)
        return known.usual_seconds if known else 0.0

    def _last_run(self, sync: Sync) -> LastRun | None:
        known = self.runs.get(sync.name)
        return known.last if known else None

    def _unresponsive_run(self, sync: Sync) -> Failure | None:
        running = self.running.get(sync.name)
        if running is None or running.is_live:
            return None
        words = f"run {running.pk} is unresponsive: its process died or lost RAINBO's database"
        return Failure(Cause.FAILING, words, running.pk)

    def _failed_run(self, sync: Sync) -> Failure | None:
        """Return the failure of the last run, if it failed as a whole.

        A run that failed without an error of its own failed on targets, which report it themselves.
        """
        last = self._last_run(sync)
        if last is None or last.state not in (RunState.FAILED, RunState.LOST):
            return None
        if last.state == RunState.FAILED and not last.error:
            return None
        return Failure(Cause.FAILING, f"run {last.pk}: {last.error or last.state}", last.pk)

    def _slots(
        self,
        sync: Sync,
        plans: Sequence[Planned],
        confirmed_at: datetime,
        period: timedelta | None,
    ) -> tuple[datetime, datetime]:
        """Return the two slots that follow a confirmation.

        plans: those in force. period: the target's own, without a schedule.
        """
        if not plans:
            period = period or _expected_period(sync, confirmed_at)
            return confirmed_at + period, confirmed_at + 2 * period
        slots = {slot for plan in plans for slot in plan.slots_after(confirmed_at)}
        first, second = sorted(slots)[:2]
        return first, second

    def _grace(self, sync: Sync) -> timedelta:
        own = [plan.grace for plan in self.planned.get(sync.name, []) if plan.grace is not None]
        if own:
            return max(own)
        periods = [crontab.period(plan.cron, self.now) for plan in self._in_force(sync)]
        return _usual_grace(min(periods, default=_expected_period(sync, self.now)))

    def _pause(self, sync: Sync) -> Pause | None:
        pauses = [plan.paused(self.now) for plan in self.planned.get(sync.name, [])]
        return next(filter(None, pauses), None)

    def _in_force(self, sync: Sync) -> list[Planned]:
        """Return the schedules in force; the disabled ones if all are disabled."""
        planned = self.planned.get(sync.name, [])
        return [plan for plan in planned if not plan.off] or planned


def _later(failed: Failure | None, run: int) -> Failure | None:
    """Return a run's failure if the run came after that one, in which a target had its outcome."""
    return failed if failed is not None and (failed.run or 0) > run else None


def _expected_period(sync: Sync, at: datetime) -> timedelta:
    if settings.RAINBO_EXPECTED_PERIOD:
        return timedelta(seconds=settings.RAINBO_EXPECTED_PERIOD)
    return crontab.period(sync.cron, at) if sync.cron else timedelta(hours=1)


def _usual_grace(period: timedelta) -> timedelta:
    return freshness.grace(period, settings.RAINBO_GRACE_SECONDS, settings.RAINBO_GRACE_PERCENT)
