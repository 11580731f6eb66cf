"""Which connections are due, and the state of each. Pure: facts and a time in, a judgement out.

A connection is due if it is enabled, not paused, not processing, not asked to wait, and was never
fetched or last successfully so long ago as its frequency says. A failure is retried after 60, 300
and 600 seconds; then it has failed until its next period.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from common.text import format_clock

RETRIES = tuple(timedelta(seconds=seconds) for seconds in (60, 300, 600))


class State(StrEnum):
    """The most pressing first: what needs a hand, then what goes on, then what rests."""

    RECONNECT = "needs to be connected again"
    HELD = "held for review"
    FAILED = "failed"
    RETRYING = "failed, will be retried"
    WAITING = "asked to wait"
    PROCESSING = "processing"
    DUE = "due"
    CONNECTED = "connected"
    PAUSED = "paused"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Facts:
    """What is stored of a connection, and what is known of the run that took it last.

    owner_active: the person may sign in. is_run_live: that run is queued, or it runs and holds its
    lease. is_held: what the last one would have removed waits for a person. is_told_to_wait: it is
    its service that `not_before` is from. is_automatic: it is fetched without being asked to.
    """

    frequency: timedelta
    enabled: bool = True
    owner_active: bool = True
    paused_until: datetime | None = None
    pause_reason: str = ""
    reconnect_since: datetime | None = None
    last_triggered_at: datetime | None = None
    last_successful_update_at: datetime | None = None
    is_run_live: bool = False
    is_held: bool = False
    is_told_to_wait: bool = False
    attempt: int = 0
    is_automatic: bool = True
    not_before: datetime | None = None

    @property
    def is_processing(self) -> bool:
        """Whether a run has it now: the mark of one that died counts no longer."""
        triggered, succeeded = self.last_triggered_at, self.last_successful_update_at
        is_marked = triggered is not None and (succeeded is None or triggered > succeeded)
        return is_marked and self.is_run_live


@dataclass(frozen=True)
class Judgement:
    """next_at: when it is due next; None if that is up to a person. why: a sentence's middle."""

    state: State
    next_at: datetime | None
    why: str

    def is_due(self, now: datetime) -> bool:
        failed = self.state in (State.RETRYING, State.FAILED)
        return self.state is State.DUE or bool(failed and self.next_at and self.next_at <= now)


def judge(facts: Facts, now: datetime) -> Judgement:
    """Return the state of a connection, when it is due next, and why then."""
    if (waits := _up_to_a_person(facts)) is not None:
        return waits
    if facts.is_processing:
        return Judgement(State.PROCESSING, None, "a run is fetching it")
    if facts.paused_until is not None and facts.paused_until > now:
        until = format_clock(facts.paused_until, now)
        why = f"it is paused until {until}: {facts.pause_reason}"
        return Judgement(State.PAUSED, max(facts.paused_until, _period_end(facts, now)), why)
    if not facts.is_automatic:
        return Judgement(
            State.CONNECTED, None, "it is fetched on request: PRICING_SYNC_ENABLED is off"
        )
    is_to_come = facts.not_before is not None and facts.not_before > now
    if facts.attempt and not (facts.is_told_to_wait and is_to_come):
        return _after_failure(facts, now)
    end = now if facts.attempt else _period_end(facts, now)
    if facts.is_held and is_to_come:
        why = "its last run waits for a person, and it is fetched again in its next period"
        return Judgement(State.HELD, facts.not_before, why)
    if facts.not_before is not None and is_to_come and facts.not_before >= end:
        until = format_clock(facts.not_before, now)
        why = f"the service asked to wait until {until}"
        return Judgement(State.WAITING, facts.not_before, why)
    if end > now:
        minutes = facts.frequency // timedelta(minutes=1)
        return Judgement(State.CONNECTED, end, f"it is fetched every {minutes} min")
    is_first = facts.last_successful_update_at is None
    return Judgement(State.DUE, now, "it was never fetched" if is_first else "its period is over")


def _up_to_a_person(facts: Facts) -> Judgement | None:
    if not facts.enabled:
        return Judgement(State.DISABLED, None, "it is disabled")
    if not facts.owner_active:
        return Judgement(State.PAUSED, None, "its owner is deactivated")
    if facts.reconnect_since is not None:
        return Judgement(State.RECONNECT, None, "the service no longer accepts its credentials")
    return None


def after_failure(attempt: int, frequency: timedelta, now: datetime) -> tuple[int, datetime]:
    """Return the attempts so far and the time of the next, after one more failure.

    attempt: the failures before it. The one after the last retry fails until the next period,
    whose first failure counts as the first.
    """
    failures = 1 if attempt > len(RETRIES) else attempt + 1
    wait = RETRIES[failures - 1] if failures <= len(RETRIES) else frequency
    return failures, now + wait


def _after_failure(facts: Facts, now: datetime) -> Judgement:
    at = facts.not_before or now
    when = f"at {format_clock(at, now)}" if at > now else "now"
    if facts.attempt > len(RETRIES):
        why = f"it failed {facts.attempt} times; its next period begins {when}"
        return Judgement(State.FAILED, at, why)
    why = f"it failed; retry {facts.attempt} of {len(RETRIES)} follows {when}"
    return Judgement(State.RETRYING, at, why)


def _period_end(facts: Facts, now: datetime) -> datetime:
    last = facts.last_successful_update_at
    return now if last is None else last + facts.frequency
