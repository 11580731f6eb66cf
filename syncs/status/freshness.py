"""How old the cached data is, and why. Pure: the caller passes in the facts and the time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

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
    NO_HEARTBEAT = "worker silent"
    INSTANCE_DOWN = "instance down"
    HELD = "held"
    DISCARDED = "discarded"
    FAILING = "failing"
    RUNNING_LONG = "running long"
    NEVER_CONFIRMED = "never confirmed"
    FROM_THE_FUTURE = "confirmed in the future"
    OVERDUE = "overdue"


EXACTNESS = timedelta(seconds=1)  # of two readings of the clock, one after the other
SEVERE = (Cause.INSTANCE_DOWN, Cause.HELD, Cause.FAILING)


class Freshness(NamedTuple):
    state: State
    age: timedelta | None = None
    late_at: datetime | None = None
    stale_at: datetime | None = None
    ahead: timedelta | None = None


@dataclass(frozen=True)
class Reason:
    """Why something is not on time, or will soon not be.

    run: the one that reported it. weight: removals and moves held for review. error_kind: what
    kind of error keeps failing, as RunTarget has it.
    """

    cause: Cause
    words: str
    run: int | None = None
    weight: int = 0
    error_kind: str = ""

    def __str__(self) -> str:
        if self.words.startswith(UNTIL):  # one sentence: paused until …
            return f"{self.cause} {self.words}"
        return f"{self.cause}: {self.words}" if self.words else str(self.cause)


@dataclass(frozen=True)
class Failure:
    """Why the last run of this target did not confirm it.

    weight, error_kind: as in Reason.
    """

    cause: Cause
    words: str
    run: int | None = None
    weight: int = 0
    error_kind: str = ""

    @property
    def reason(self) -> Reason:
        return Reason(self.cause, self.words, self.run, self.weight, self.error_kind)

    @property
    def is_settled(self) -> bool:
        """Whether a user decided about it: it explains what is late, and needs no review."""
        return self.cause is Cause.DISCARDED


@dataclass(frozen=True)
class Facts:
    """What is known around a confirmation.

    scheduled: there is a schedule. off: it is switched off. pause: its current pause.
    heartbeat: the last one of any worker. unresponsive: neither a worker nor schedule_run has
    reported for too long. running: how long the current run has been running.
    """

    scheduled: bool = False
    off: bool = False
    pause: Pause | None = None
    heartbeat: datetime | None = None
    unresponsive: bool = False
    failure: Failure | None = None
    running: timedelta | None = None


def grace(period: timedelta, seconds: float, percent: float) -> timedelta:
    """Return how much later than usual a run may end: the larger of the two."""
    return max(timedelta(seconds=seconds), period * (percent / 100))


def judge(
    confirmed_at: datetime | None,
    slots: tuple[datetime, datetime] | None,
    usual_seconds: float,
    grace: timedelta,
    now: datetime,
) -> Freshness:
    """Judge freshness: late after the first slot since the confirmation, stale after the second.

    Both plus the usual duration of a run and the grace. Unknown: never confirmed, or confirmed by
    a clock that was set back since, by `ahead` at least.
    """
    if confirmed_at is None or slots is None:
        return Freshness(State.UNKNOWN)
    if confirmed_at > now + EXACTNESS:
        return Freshness(State.UNKNOWN, ahead=confirmed_at - now)
    allowed = timedelta(seconds=usual_seconds) + grace
    late_at, stale_at = slots[0] + allowed, slots[1] + allowed
    state = State.STALE if now > stale_at else State.LATE if now > late_at else State.ON_TIME
    return Freshness(state, max(now - confirmed_at, timedelta()), late_at, stale_at)


def explain(
    judged: Freshness, facts: Facts, usual_seconds: float, grace: timedelta, now: datetime
) -> Reason | None:
    """Return why this is not on time, or soon will not be; None if nothing is wrong."""
    if facts.off:
        return Reason(Cause.PAUSED, "its schedule is switched off")
    if facts.pause is not None:
        return Reason(Cause.PAUSED, facts.pause.in_words(now))
    if facts.scheduled and facts.unresponsive:
        return Reason(Cause.NO_HEARTBEAT, _describe_heartbeat(facts.heartbeat, now))
    if facts.failure is not None and (judged.state.is_bad or not facts.failure.is_settled):
        return facts.failure.reason
    if facts.running is not None and facts.running > timedelta(seconds=usual_seconds) + grace:
        usual = format_duration(timedelta(seconds=usual_seconds))
        words = f"running for {format_duration(facts.running)}, usually {usual}"
        return Reason(Cause.RUNNING_LONG, words)
    if judged.ahead is not None:
        ahead = format_duration(judged.ahead)
        words = f"by a clock that was {ahead} ahead, and was set back; the next run confirms it"
        return Reason(Cause.FROM_THE_FUTURE, words)
    if judged.state is State.UNKNOWN:
        return Reason(Cause.NEVER_CONFIRMED, "")
    if judged.state.is_bad:
        return Reason(Cause.OVERDUE, "no run has confirmed it since its scheduled time")
    return None


def worst(states: Iterable[State]) -> State:
    """Return the worst state; unknown if there are none."""
    return max(states, key=list(State).index, default=State.UNKNOWN)


def _describe_heartbeat(heartbeat: datetime | None, now: datetime) -> str:
    if heartbeat is None:
        return "no worker has ever reported"
    return f"the last heartbeat was {format_duration(now - heartbeat)} ago"
