from datetime import UTC, datetime, timedelta

import pytest

from common.text import format_duration
from syncs.schedules.pause import Pause
from syncs.status.freshness import (
    Cause,
    Facts,
    Failure,
    Freshness,
    State,
    explain,
    grace,
    judge,
    worst,
)

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
GRACE = timedelta(minutes=2)
ALIVE = Facts(scheduled=True, heartbeat=NOON)
ON_TIME = Freshness(State.ON_TIME)
LATE = Freshness(State.LATE)
UNKNOWN = Freshness(State.UNKNOWN)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def judged(after: timedelta, usual_seconds: float = 0) -> State:
    slots = (NOON + minutes(15), NOON + minutes(30))
    return judge(NOON, slots, usual_seconds, GRACE, NOON + after).state


@pytest.mark.parametrize(
    ("after", "state"),
    [
        (0, State.ON_TIME),
        (17, State.ON_TIME),
        (17.1, State.LATE),
        (32, State.LATE),
        (32.1, State.STALE),
    ],
)
def test_late_after_the_first_slot_and_stale_after_the_second(after: float, state: State) -> None:
    assert judged(minutes(after)) is state


def test_the_usual_duration_is_waited_for() -> None:
    assert judged(minutes(20), usual_seconds=300) is State.ON_TIME
    assert judged(minutes(23), usual_seconds=300) is State.LATE


def test_never_confirmed_is_unknown() -> None:
    assert judge(None, None, 0, GRACE, NOON) == Freshness(State.UNKNOWN)


def test_limits_and_age_are_told() -> None:
    told = judge(NOON, (NOON + minutes(15), NOON + minutes(30)), 60, GRACE, NOON + minutes(5))
    assert told.age == minutes(5)
    assert (told.late_at, told.stale_at) == (NOON + minutes(18), NOON + minutes(33))


def test_a_confirmation_of_a_moment_later_has_no_negative_age() -> None:
    slots = (NOON + minutes(15), NOON + minutes(30))
    assert judge(NOON, slots, 0, GRACE, NOON - timedelta(seconds=1)).age == timedelta()


def test_grace_is_the_larger_of_seconds_and_share() -> None:
    assert grace(minutes(15), 120, 10) == minutes(2)
    assert grace(minutes(60), 120, 10) == minutes(6)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        (Facts(scheduled=True, off=True), Cause.PAUSED),
        (Facts(scheduled=True, unresponsive=True), Cause.NO_HEARTBEAT),
        (Facts(scheduled=True, unresponsive=True, heartbeat=NOON - minutes(4)), Cause.NO_HEARTBEAT),
        (Facts(scheduled=True), Cause.OVERDUE),
        (Facts(failure=Failure(Cause.INSTANCE_DOWN, "")), Cause.INSTANCE_DOWN),
        (Facts(failure=Failure(Cause.HELD, "")), Cause.HELD),
        (Facts(failure=Failure(Cause.FAILING, "")), Cause.FAILING),
        (Facts(running=minutes(9)), Cause.RUNNING_LONG),
        (ALIVE, Cause.OVERDUE),
    ],
)
def test_each_cause_is_named(facts: Facts, cause: Cause) -> None:
    reason = explain(LATE, facts, 60, GRACE, NOON)
    assert reason is not None
    assert reason.cause is cause


def test_an_outer_cause_hides_an_inner_one() -> None:
    facts = Facts(scheduled=True, off=True, failure=Failure(Cause.HELD, "run 7"))
    assert str(explain(LATE, facts, 60, GRACE, NOON)).startswith("paused")


def test_never_confirmed_is_a_reason() -> None:
    reason = explain(UNKNOWN, ALIVE, 60, GRACE, NOON)
    assert reason is not None
    assert reason.cause is Cause.NEVER_CONFIRMED


def test_on_time_without_trouble_needs_no_reason() -> None:
    assert explain(ON_TIME, ALIVE, 60, GRACE, NOON) is None


def test_without_a_schedule_no_worker_is_missed() -> None:
    assert explain(ON_TIME, Facts(unresponsive=True), 60, GRACE, NOON) is None


def test_trouble_ahead_is_told_while_on_time() -> None:
    reason = explain(ON_TIME, Facts(scheduled=True, off=True), 60, GRACE, NOON)
    assert str(reason) == "paused: its schedule is switched off"


@pytest.mark.parametrize(
    ("hours", "words"),
    [(2, "paused until 14:00 UTC: moving rds3"), (26, "paused until 2026-11-23 14:00 UTC: moving")],
)
def test_a_pause_says_until_when_and_why(hours: int, words: str) -> None:
    facts = Facts(scheduled=True, pause=Pause(NOON + timedelta(hours=hours), "moving rds3"))
    assert str(explain(LATE, facts, 60, GRACE, NOON)).startswith(words)


def test_worst() -> None:
    assert worst([State.ON_TIME, State.STALE, State.LATE]) is State.STALE
    assert worst([State.STALE, State.UNKNOWN]) is State.UNKNOWN
    assert worst([]) is State.UNKNOWN


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (61, "1 min"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_in_words(seconds: int, words: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == words


def test_a_confirmation_from_the_future_counts_for_nothing() -> None:
    slots = (NOON + timedelta(minutes=15), NOON + timedelta(minutes=30))
    judged = judge(NOON + timedelta(seconds=2), slots, 60, GRACE, NOON)
    assert (judged.state, judged.age) == (State.UNKNOWN, None)
    reason = explain(judged, ALIVE, 60, GRACE, NOON)
    assert reason is not None
    assert reason.cause is Cause.FROM_THE_FUTURE
    assert "ahead, and was set back" in reason.words
    assert judge(NOON + timedelta(seconds=1), slots, 60, GRACE, NOON).state is State.ON_TIME
