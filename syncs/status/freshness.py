"""How old is what readers see, and why. Pure: the caller hands in the facts and the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from common.text import format_duration
from syncs.schedules.pause import UNTIL, Pause


class State(StrEnum):
    ON_TIME = "on_time"
    LATE = "late"
    STALE = "stale"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        return self.value.replace("_", " ")

    @property
    def is_bad(self) -> bool:
        return self is not State.ON_TIME


class Cause(StrEnum):
    """What keeps a sync from confirming, outermost first: an outer cause hides inner ones."""

    PAUSED = "paused"
    WORKER_SILENT = "worker silent"
    INSTANCE_DOWN = "instance down"
    HELD = "held"
    DISCARDED = "discarded"
    FAILING = "failing"
    RUNNING_LONG = "running long"
    NEVER_CONFIRMED = "never confirmed"
    OVERDUE = "overdue"


GRAVE = (Cause.INSTANCE_DOWN, Cause.HELD, Cause.FAILING)


@dataclass(frozen=True)
class Freshness:
    state: State
    age: timedelta | None = None
    late_at: datetime | None = None
    stale_at: datetime | None = None


@dataclass(frozen=True)
class Reason:
    """Why something is not on time, or will soon not be.

    run: the one that said so. weight: removals and moves that wait for a person. error_kind: what
    kind of error keeps failing, as RunTarget has it.
    """

    cause: Cause
    words: str
    run: int | None = None
    weight: int = 0
    error_kind: str = ""

    def __str__(self) -> str:
        if self.words.startswith(UNTIL):  # the sentence goes on: paused until …
            return f"{self.cause} {self.words}"
        return f"{self.cause}: {self.words}" if self.words else str(self.cause)


@dataclass(frozen=True)
class Failure:
    """What the last run that took this target says against it.

    weight, error_kind: as of a Reason.
    """

    cause: Cause
    words: str
    run: int | None = None
    weight: int = 0
    error_kind: str = ""

    @property
    def is_settled(self) -> bool:
        """A person decided about it: it explains what is late, and asks nobody any more."""
        return self.cause is Cause.DISCARDED


@dataclass(frozen=True)
class Facts:
    """What is known around a confirmation.

    scheduled: a schedule is there. off: it is there and switched off. pause: it rests until a
    time. heartbeat: the last sign of life of any worker. awaited: the last time at which one
    should have come. running: how long the present run has been under way.
    """

    scheduled: bool = False
    off: bool = False
    pause: Pause | None = None
    heartbeat: datetime | None = None
    awaited: datetime | None = None
    failure: Failure | None = None
    running: timedelta | None = None


def grace(period: timedelta, seconds: float, percent: float) -> timedelta:
    """How much later than usual a run may end before it counts: the larger of the two."""
    return max(timedelta(seconds=seconds), period * (percent / 100))


def judge(
    confirmed_at: datetime | None,
    slots: tuple[datetime, datetime] | None,
    usual_seconds: float,
    grace: timedelta,
    now: datetime,
) -> Freshness:
    """Late after the first planned slot since the confirmation, stale after the second.

    Both plus the usual duration of a run and the grace. Unknown: never confirmed.
    """
    if confirmed_at is None or slots is None:
        return Freshness(State.UNKNOWN)
    late_at, stale_at = (slot + timedelta(seconds=usual_seconds) + grace for slot in slots)
    state = State.STALE if now > stale_at else State.LATE if now > late_at else State.ON_TIME
    return Freshness(state, max(now - confirmed_at, timedelta()), late_at, stale_at)


def explain(
    judged: Freshness, facts: Facts, usual_seconds: float, grace: timedelta, now: datetime
) -> Reason | None:
    """Why this is not on time, or will soon not be; None when nothing is wrong."""
    if facts.off:
        return Reason(Cause.PAUSED, "its schedule is switched off")
    if facts.pause is not None:
        return Reason(Cause.PAUSED, facts.pause.in_words(now))
    if facts.scheduled and is_silent(facts.heartbeat, facts.awaited):
        return Reason(Cause.WORKER_SILENT, _silence(facts.heartbeat, now))
    if facts.failure is not None and (judged.state.is_bad or not facts.failure.is_settled):
        failure = facts.failure
        return Reason(failure.cause, failure.words, failure.run, failure.weight, failure.error_kind)
    if facts.running is not None and facts.running > timedelta(seconds=usual_seconds) + grace:
        usual = format_duration(timedelta(seconds=usual_seconds))
        words = f"under way for {format_duration(facts.running)}, usually {usual}"
        return Reason(Cause.RUNNING_LONG, words)
    if judged.state is State.UNKNOWN:
        return Reason(Cause.NEVER_CONFIRMED, "no run has confirmed it yet")
    if judged.state.is_bad:
        return Reason(Cause.OVERDUE, "no run has confirmed it since its planned time")
    return None


def is_silent(heartbeat: datetime | None, awaited: datetime | None) -> bool:
    """Whether a sign of life that was due did not come; none is due while all is paused."""
    return awaited is not None and (heartbeat is None or heartbeat < awaited)


def worst(states: Iterable[State]) -> State:
    """The worst of them; unknown when there are none."""
    return max(states, key=list(State).index, default=State.UNKNOWN)


def _silence(heartbeat: datetime | None, now: datetime) -> str:
    if heartbeat is None:
        return "no worker has ever reported"
    return f"the last sign of life came {format_duration(now - heartbeat)} ago"
