"""Is anything wrong, and why? One sentence for the worst cause. Pure: it is handed the facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum

from common import text
from common.markup import Tone
from common.text import format_duration, listed
from syncs.status.freshness import Cause, Reason, State
from syncs.status.queries import Status, SyncStatus, TargetStatus
from syncs.status.workers import WorkerState
from tenants.health.overview import Down, Fleet

SILENCE = timedelta(minutes=3)
WORST = (State.STALE, State.UNKNOWN, State.LATE, State.ON_TIME)


class Rank(IntEnum):
    """What is named first. What readers already see comes before what they soon will."""

    WORKER = 0
    MASTER_DOWN = 1
    DOWN = 2
    BAD = 3
    SOON = 4
    DEGRADED = 5
    PAUSED = 6


CAUSES = (
    *(Cause.WORKER_SILENT, Cause.INSTANCE_DOWN, Cause.HELD, Cause.FAILING, Cause.RUNNING_LONG),
    *(Cause.DISCARDED, Cause.OVERDUE, Cause.PAUSED, Cause.NEVER_CONFIRMED),
)
EXPLAINED = (Cause.INSTANCE_DOWN, Cause.OVERDUE, Cause.NEVER_CONFIRMED)  # by an instance down
TONES = {State.STALE: Tone.BAD, State.LATE: Tone.WARNING, State.UNKNOWN: Tone.WARNING}


@dataclass(frozen=True)
class Link:
    """Where to look: a run, an instance, a sync's row or the workers."""

    kind: str
    key: str = ""


@dataclass(frozen=True)
class Trouble:
    """words: a sentence without capital and stop. is_felt: readers are already shown less.

    weight: of two held ones, the one that would take more from readers is named first.
    """

    rank: Rank
    tone: Tone
    words: str
    link: Link
    cause: int = 0
    state: int = 0
    weight: int = 0

    @property
    def order(self) -> tuple[int, int, int, int]:
        return self.rank, self.state, self.cause, -self.weight

    @property
    def is_felt(self) -> bool:
        return self.rank <= Rank.BAD

    @property
    def sentence(self) -> str:
        return text.sentence(self.words)


@dataclass(frozen=True)
class DashboardFacts:
    """What the reader may know: None is what they may not see."""

    now: datetime
    status: Status | None = None
    worker: WorkerState | None = None
    fleet: Fleet | None = None
    silence: timedelta = SILENCE


@dataclass(frozen=True)
class Verdict:
    tone: Tone
    word: str
    sentence: str
    link: Link | None = None
    others: tuple[Trouble, ...] = field(default=())


def judge(facts: DashboardFacts) -> Verdict:
    """The worst cause in a sentence, and the others after it, worst first."""
    if facts.fleet is not None and not facts.fleet.active:
        return _nothing_to_read(facts.fleet)
    found = sorted(_troubles(facts), key=lambda trouble: trouble.order)
    if not found:
        return Verdict(Tone.GOOD, "all is well", text.sentence(_all_well(facts)))
    worst, *others = found
    words = worst.words if worst.is_felt else f"{_calm(facts)}, but {worst.words}"
    word = "wrong" if worst.tone is Tone.BAD else "look here"
    return Verdict(worst.tone, word, text.sentence(words), worst.link, tuple(others))


def _nothing_to_read(fleet: Fleet) -> Verdict:
    words = "No instance is registered yet: there is nothing to read."
    if count := len(fleet.instances):
        which = f"None of the {count:,} instances is" if count > 1 else "The one instance is not"
        words = f"{which} active: nothing is read."
    return Verdict(Tone.QUIET, "nothing yet", words)


def _troubles(facts: DashboardFacts) -> Iterator[Trouble]:
    silent = _worker(facts)
    if silent:
        yield silent
    if facts.fleet is not None:
        yield from _down(facts.fleet, facts.now)
        yield from _degraded(facts.fleet)
    for sync in facts.status.syncs if facts.status else ():
        yield from _of_sync(sync, facts, worker_named=silent is not None)


def _worker(facts: DashboardFacts) -> Trouble | None:
    status, worker = facts.status, facts.worker
    if status is None or worker is None or worker.busy_with is not None:
        return None
    if worker.by_crontab and not status.worker_silent:
        return None
    if not worker.trouble and not status.worker_silent:
        return None
    heartbeat = worker.heartbeat
    if heartbeat is None:
        why = "no worker has ever reported"
    elif status.worker_silent or facts.now - heartbeat > facts.silence:
        why = f"the worker has been silent{text.since(heartbeat, facts.now)}"
    else:
        why = worker.trouble
    return Trouble(Rank.WORKER, Tone.BAD, _with_the_worst(status, why), Link("worker"))


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
    name = Subject(first.title)
    return (
        f"{why}: nothing is late yet, {name.lower} will be at {text.format_clock(at, status.now)}"
    )


def _down(fleet: Fleet, now: datetime) -> Iterator[Trouble]:
    """The master by itself, since all routes wait for it; several others together."""
    if len(fleet.down) > 1 and len(fleet.down) == len(fleet.active):
        words = f"none of the {len(fleet.down):,} instances answers{_last_answer(fleet, now)}"
        waits = _waits(fleet, all_routes=True)
        yield Trouble(Rank.MASTER_DOWN, Tone.BAD, f"{words}: {waits}", Link("fleet"))
        return
    others = tuple(down for down in fleet.down if not down.is_master)
    alone = others if len(others) == 1 else ()
    for down in (*(down for down in fleet.down if down.is_master), *alone):
        yield _one_down(fleet, down, now)
    if len(others) > 1:
        yield _several_down(fleet, others, now)


def _one_down(fleet: Fleet, down: Down, now: datetime) -> Trouble:
    since = f"has been down{text.since(down.since, now)}" if down.since else ""
    role = ", the master," if down.is_master else ""
    words = f"{down.label}{role} {since or 'is down and has never answered'}"
    waits = _waits(replace(fleet, down=(down,)), all_routes=down.is_master)
    rank = Rank.MASTER_DOWN if down.is_master else Rank.DOWN
    return Trouble(rank, Tone.BAD, f"{words}: {waits}", Link("instance", str(down.pk)))


def _several_down(fleet: Fleet, down: tuple[Down, ...], now: datetime) -> Trouble:
    first = min((one.since for one in down if one.since), default=None)
    of = f"{len(down):,} of {len(fleet.active):,} instances are down"
    since = f", the first{text.since(first, now)}" if first else ""
    waits = _waits(replace(fleet, down=down), all_routes=False)
    names = listed([one.label for one in down])
    return Trouble(Rank.DOWN, Tone.BAD, f"{of}{since}: {waits} ({names})", Link("fleet"))


def _last_answer(fleet: Fleet, now: datetime) -> str:
    last = max((down.since for down in fleet.down if down.since), default=None)
    return f", the last went silent at {text.format_clock(last, now)}" if last else ""


def _waits(fleet: Fleet, *, all_routes: bool) -> str:
    """`14 tenants and 3,120 routes wait for it`: all routes, when it is the directory's."""
    held = fleet.waiting.in_words(fleet.all_routes if all_routes else None)
    return f"{held} for {'it' if len(fleet.down) == 1 else 'them'}"


def _degraded(fleet: Fleet) -> Iterator[Trouble]:
    for instance in fleet.degraded:
        why = f": {text.truncate(instance.last_error)}" if instance.last_error else ""
        link = Link("instance", str(instance.pk))
        yield Trouble(Rank.DEGRADED, Tone.WARNING, f"{instance} is degraded{why}", link)


def _of_sync(sync: SyncStatus, facts: DashboardFacts, *, worker_named: bool) -> Iterator[Trouble]:
    """One trouble for each cause that keeps some of its instances from being on time."""
    if not sync.targets and sync.reason:
        words = f"{Subject(sync.title).lower} can't be read: no active instance takes part"
        yield Trouble(Rank.BAD, Tone.WARNING, words, Link("sync", sync.name))
    named = {str(down.pk) for down in facts.fleet.down} if facts.fleet else set()
    groups: dict[Cause, list[tuple[TargetStatus, Reason]]] = {}
    for target in sync.targets:
        if (reason := target.reason) is None:
            continue
        is_named = reason.cause in EXPLAINED and target.key in named
        if not is_named and not (worker_named and reason.cause is Cause.WORKER_SILENT):
            groups.setdefault(reason.cause, []).append((target, reason))
    for cause, pairs in groups.items():
        yield _group(sync, cause, pairs, facts.now)


def _group(
    sync: SyncStatus, cause: Cause, pairs: Sequence[tuple[TargetStatus, Reason]], now: datetime
) -> Trouble:
    targets = [target for target, _ in pairs]
    state = min((t.freshness.state for t in targets), key=WORST.index)
    reason = next(why for t, why in pairs if t.freshness.state is state)
    calm = Rank.PAUSED if cause is Cause.PAUSED else Rank.SOON
    return Trouble(
        rank=Rank.BAD if state.is_bad else calm,
        tone=TONES.get(state, Tone.WARNING),
        words=_words(sync, targets, state, reason, now),
        link=Link("run", str(reason.run)) if reason.run else Link("sync", sync.name),
        cause=CAUSES.index(cause),
        state=WORST.index(state),
        weight=sum(reason.weight for _, reason in pairs),
    )


def _words(
    sync: SyncStatus, targets: Sequence[TargetStatus], state: State, reason: Reason, now: datetime
) -> str:
    name = _subject(sync, targets)
    if reason.cause is Cause.NEVER_CONFIRMED:
        next_time = (
            f"the next time is {text.format_clock(sync.next_slot, now)}" if sync.next_slot else ""
        )
        return f"{_how_old(sync, targets)}: {next_time or 'no time is planned'}"
    why = str(reason) if reason.cause is Cause.PAUSED else reason.words
    if state.is_bad:
        bad = [t for t in targets if t.freshness.state is state]
        return f"{_how_old(sync, bad)}: {text.truncate(why)}"
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
        return Subject(sync.title)
    where = targets[0].label if count == 1 else f"{count:,} of {of:,} instances"
    return Subject(sync.title, where)


def _calm(facts: DashboardFacts) -> str:
    return "all is on time" if facts.status else "all instances answer"


def _all_well(facts: DashboardFacts) -> str:
    if facts.status is None:
        count = len(facts.fleet.active) if facts.fleet else 0
        return f"all {count:,} instances answer" if count > 1 else "the instance answers"
    return f"all is on time: {', '.join(_ages(facts.status.syncs))} old"


def _ages(syncs: Iterable[SyncStatus]) -> Iterator[str]:
    for sync in syncs:
        ages = [t.freshness.age for t in sync.targets if t.freshness.age is not None]
        if ages:
            yield f"{Subject(sync.title).lower} {format_duration(max(ages))}"


@dataclass(frozen=True)
class Subject:
    """What a sentence is about: a sync's title, and the instances that it is true of."""

    title: str
    where: str = ""

    @property
    def lower(self) -> str:
        name = self.title[:1].lower() + self.title[1:]
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
