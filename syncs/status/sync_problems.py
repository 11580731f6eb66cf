"""What is wrong with the workers and the syncs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from common import text
from common.joint_query import Answers
from common.text import format_duration
from syncs.errors import Unequal
from syncs.status import queries
from syncs.status.freshness import Cause, Reason, State
from syncs.status.past import PAST
from syncs.status.problems import Link, Problem, Severity, Source
from syncs.status.queries import Status, SyncStatus, TargetStatus

NOTHING_TO_READ = "nothing to read"  # the cause of a problem that leaves syncs without a target
WORST = (State.STALE, State.UNKNOWN, State.LATE, State.ON_TIME)
CAUSES = (
    *(Cause.NO_HEARTBEAT, Cause.INSTANCE_DOWN, Cause.HELD, Cause.FAILING, Cause.RUNNING_LONG),
    *(Cause.DISCARDED, Cause.OVERDUE, Cause.PAUSED, Cause.FROM_THE_FUTURE, Cause.NEVER_CONFIRMED),
)
# What follows from an instance that is down, or that lets RAINBO no longer log in.
EXPLAINED = (Cause.INSTANCE_DOWN, Cause.OVERDUE, Cause.NEVER_CONFIRMED)
EXPLAINED_ERRORS = ("login", "tls")
BY_STATE = {
    State.STALE: Severity.STALE,
    State.LATE: Severity.LATE,
    State.UNKNOWN: Severity.UNKNOWN,
    State.ON_TIME: Severity.UNKNOWN,
}
# An instance that a sync could not reach may be up again: whether it is down, its checks say.
BY_CAUSE = {
    Cause.HELD: Severity.HELD,
    Cause.FAILING: Severity.FAILING,
    Cause.INSTANCE_DOWN: Severity.FAILING,
    Cause.PAUSED: Severity.PAUSED,
    Cause.NEVER_CONFIRMED: Severity.UNKNOWN,
    Cause.FROM_THE_FUTURE: Severity.UNKNOWN,
}


@dataclass(frozen=True)
class SyncFacts:
    """timeout: how long workers may be without a heartbeat."""

    status: Status
    timeout: timedelta = timedelta(minutes=3)


def read(answers: Answers, now: datetime) -> SyncFacts:
    return facts_of(queries.status_in(answers, now))


def facts_of(status: Status) -> SyncFacts:
    return SyncFacts(status, timedelta(seconds=settings.RAINBO_HEARTBEAT_TIMEOUT))


def judge(facts: SyncFacts, found: Sequence[Problem]) -> Iterator[Problem]:
    """Workers that are dead, and one problem for each cause that keeps a sync from being on time.

    What is explained by an instance that is down, or by dead workers, is not named again.
    """
    if any(problem.cause == NOTHING_TO_READ for problem in found):
        return
    dead = dead_workers(facts)
    if dead:
        yield dead
    down = {
        key
        for problem in found
        if problem.severity is Severity.INSTANCE_DOWN
        for key in problem.affected
    }
    explained = {key for problem in found if problem.unequal for key in problem.affected}
    groups: list[_Group] = []
    for sync in facts.status.syncs:
        if not sync.targets and sync.reason:
            yield _without_targets(sync)
        groups += _groups(sync, down, explained, workers_named=dead is not None)
    for group in sorted(groups, key=lambda group: group.order):
        yield group.problem(facts.status.now)


SYNCS = Source(
    name="syncs",
    ask=queries.ask,
    read=read,
    judge=judge,
    permissions=("syncs.view_syncrun", "syncs.change_syncrun"),
    explained=True,
    past=PAST,
)


def is_calm(status: Status | None, found: Sequence[Problem]) -> bool:
    """Whether readers see all that they should, although something is wrong.

    status: None for whom may not see it.
    """
    is_late = status is not None and status.state.is_bad
    is_severe = any(problem.severity <= Severity.INSTANCE_DOWN for problem in found)
    return not is_late and not is_severe and not any(problem.unequal for problem in found)


def needs_attention(status: Status, found: Sequence[Problem]) -> bool:
    """Whether anything is late, or as severe as that, though dead workers hide it.

    Not what is degraded or paused. Dead workers alone do no harm until something is late: until
    then they are the matter of `worker_health`.
    """
    targets = (target for sync in status.syncs for target in sync.targets)
    if status.state.is_bad or any(target.is_severe for target in targets):
        return True
    others = (problem for problem in found if problem.severity is not Severity.WORKERS_DEAD)
    return any(problem.unequal or problem.severity <= Severity.LATE for problem in others)


def dead_workers(facts: SyncFacts) -> Problem | None:
    """Return the problem that no worker does what is due; None while one does."""
    status, worker = facts.status, facts.status.worker
    if not worker.problem or worker.by_crontab:
        return None
    heartbeat = worker.heartbeat
    if heartbeat is None:
        cause, why = "no heartbeat", "no worker has ever reported"
    elif worker.busy_with is None and status.now - heartbeat > facts.timeout:
        cause, why = "no heartbeat", f"no heartbeat of a worker{text.since(heartbeat, status.now)}"
    else:
        cause, why = "stalled queue", worker.problem
    words = _with_the_worst(status, why)
    link = Link("worker")
    return Problem("workers", Severity.WORKERS_DEAD, cause, words, link, about_all="instance")


def _with_the_worst(status: Status, why: str) -> str:
    """`routes are 40 min old: …`, or when the first of them will be late."""
    known = [sync for sync in status.syncs if sync.targets]
    worst = min(known, key=lambda sync: WORST.index(sync.state), default=None)
    if worst is None:
        return why
    bad = [t for t in worst.targets if t.freshness.state.is_bad]
    if bad:
        return f"{_how_old(worst, bad)}: {why}"
    late = [(t.freshness.late_at, sync) for sync in known for t in sync.targets]
    at, first = min(((at, sync) for at, sync in late if at), key=lambda pair: pair[0])
    name = Subject.of(first)
    return (
        f"{why}: nothing is late yet, {name.lower} will be at {text.format_clock(at, status.now)}"
    )


def _without_targets(sync: SyncStatus) -> Problem:
    return Problem(
        f"sync/{sync.name}/no instance",
        Severity.UNKNOWN,
        "no instance",
        f"{Subject.of(sync).lower} can't be read: no active {sync.noun} takes part",
        Link("sync", sync.name),
    )


def _groups(
    sync: SyncStatus, down: set[str], unequal: set[str], *, workers_named: bool
) -> list[_Group]:
    found: dict[Cause, list[tuple[TargetStatus, Reason]]] = {}
    for target in sync.targets:
        for reason in _reasons(target):
            is_named = workers_named and reason.cause is Cause.NO_HEARTBEAT
            is_named |= target.key in unequal and reason.error_kind == Unequal.kind
            if not is_named and not (target.key in down and _follows_from_down(reason)):
                found.setdefault(reason.cause, []).append((target, reason))
    return [_Group(sync, cause, tuple(pairs)) for cause, pairs in found.items()]


def _reasons(target: TargetStatus) -> Iterator[Reason]:
    """Its reason, and what that hides: a pause or a later failure ends no review of what is held.

    Of unresponsive workers a run that failed is a symptom: they may have died in it.
    """
    if target.reason is None:
        return
    yield target.reason
    causes = {target.reason.cause}
    for failure in target.failures:
        hidden = failure.cause is Cause.HELD or Cause.NO_HEARTBEAT not in causes
        if hidden and not failure.is_settled and failure.cause not in causes:
            causes.add(failure.cause)
            yield failure.reason


def _follows_from_down(reason: Reason) -> bool:
    return reason.cause in EXPLAINED or reason.error_kind in EXPLAINED_ERRORS


@dataclass(frozen=True)
class _Group:
    """The targets of a sync that one cause keeps from being on time."""

    sync: SyncStatus
    cause: Cause
    pairs: tuple[tuple[TargetStatus, Reason], ...]

    @property
    def targets(self) -> list[TargetStatus]:
        return [target for target, _ in self.pairs]

    @property
    def state(self) -> State:
        return min((target.freshness.state for target in self.targets), key=WORST.index)

    @property
    def severity(self) -> Severity:
        """By what readers see or by its cause, whichever is more severe."""
        return min(BY_STATE[self.state], BY_CAUSE.get(self.cause, Severity.LATE))

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Of two held ones, the one that would take more from readers is named first."""
        weight = sum(reason.weight for _, reason in self.pairs)
        return self.severity, WORST.index(self.state), CAUSES.index(self.cause), -weight

    def problem(self, now: datetime) -> Problem:
        reason = next(why for target, why in self.pairs if target.freshness.state is self.state)
        return Problem(
            key=f"sync/{self.sync.name}/{self.cause}",
            severity=self.severity,
            cause=str(self.cause),
            text=self._text(reason, now),
            link=Link("run", str(reason.run)) if reason.run else Link("sync", self.sync.name),
            affected=tuple(target.key for target in self.targets),
            unequal=any(why.error_kind == Unequal.kind for _, why in self.pairs),
        )

    def _text(self, reason: Reason, now: datetime) -> str:
        sync, targets, state = self.sync, self.targets, self.state
        if reason.cause is Cause.NEVER_CONFIRMED:
            slot = sync.next_slot
            next_time = f"the next time is {text.format_clock(slot, now)}" if slot else ""
            if not sync.has_schedule:
                next_time = f"each {sync.noun} has its own frequency"
            return f"{_how_old(sync, targets)}: {next_time or 'no time is scheduled'}"
        why = str(reason) if reason.cause is Cause.PAUSED else reason.words
        if state.is_bad:
            bad = [target for target in targets if target.freshness.state is state]
            where = _subject(sync, bad).where
            why = text.without_subject(why, where) if where else why
            return f"{_how_old(sync, bad)}: {text.truncate(why)}"
        name = _subject(sync, targets)
        why = text.without_subject(why, name.where) if name.where else why
        if reason.cause is Cause.PAUSED:
            return f"{name.lower} {name.be} {text.truncate(why)}"
        return f"{name.lower}: {text.truncate(why)}"


def _how_old(sync: SyncStatus, targets: Sequence[TargetStatus]) -> str:
    """`routes are 40 min old`, of as many instances as it is true of."""
    name = _subject(sync, targets)
    ages = [target.freshness.age for target in targets if target.freshness.age is not None]
    if not ages:
        return f"{name.lower} {name.have} never been confirmed"
    up_to = "up to " if len(targets) > 1 else ""
    return f"{name.lower} {name.be} {up_to}{format_duration(max(ages))} old"


def _subject(sync: SyncStatus, targets: Sequence[TargetStatus]) -> Subject:
    count, of = len(targets), len(sync.targets)
    if count == of:
        return Subject.of(sync)
    where = targets[0].label if count == 1 else f"{count:,} of {of:,} {sync.noun}s"
    return Subject.of(sync, where)


@dataclass(frozen=True)
class Subject:
    """What a sentence is about: a sync's title, and the instances that it is true of.

    is_name: the title is a service's name, such as GitHub, whose case stays.
    """

    title: str
    where: str = ""
    is_name: bool = False

    @classmethod
    def of(cls, sync: SyncStatus, where: str = "") -> Subject:
        return cls(sync.title, where, is_name=not sync.has_schedule)

    @property
    def lower(self) -> str:
        name = self.title if self.is_name else self.title[:1].lower() + self.title[1:]
        return f"{name} of {self.where}" if self.where else name

    @property
    def be(self) -> str:
        return "are" if self._is_many else "is"

    @property
    def have(self) -> str:
        return "have" if self._is_many else "has"

    @property
    def _is_many(self) -> bool:
        return self.title.endswith("s")
