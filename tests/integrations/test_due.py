"""The due rules and states as a table: the clock stands still at NOW."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integrations.due import Facts, State, after_failure, judge

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PERIOD = timedelta(minutes=15)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def facts(**fields: object) -> Facts:
    return Facts(PERIOD, **fields)  # type: ignore[arg-type]


CASES = {
    "never fetched": (facts(), State.DUE, True),
    "fetched within its period": (
        facts(last_successful_update_at=ago(14)),
        State.CONNECTED,
        False,
    ),
    "its period ends now": (facts(last_successful_update_at=ago(15)), State.DUE, True),
    "triggered, and its run is alive": (
        facts(last_triggered_at=ago(1), last_successful_update_at=ago(16), is_run_live=True),
        State.PROCESSING,
        False,
    ),
    "triggered for the first time, and its run is alive": (
        facts(last_triggered_at=ago(1), is_run_live=True),
        State.PROCESSING,
        False,
    ),
    "triggered, and its run died": (
        facts(last_triggered_at=ago(1), last_successful_update_at=ago(16)),
        State.DUE,
        True,
    ),
    "published before its run ended": (
        facts(last_triggered_at=ago(2), last_successful_update_at=ago(1), is_run_live=True),
        State.CONNECTED,
        False,
    ),
    "failed once, its retry is to come": (
        facts(attempt=1, not_before=ago(-0.5)),
        State.RETRYING,
        False,
    ),
    "failed once, its retry is due": (facts(attempt=1, not_before=NOW), State.RETRYING, True),
    "failed after all retries": (facts(attempt=4, not_before=ago(-9)), State.FAILED, False),
    "failed, and its next period begins": (facts(attempt=4, not_before=NOW), State.FAILED, True),
    "asked to wait": (
        facts(last_successful_update_at=ago(20), not_before=ago(-3)),
        State.WAITING,
        False,
    ),
    "asked to wait, and it has": (
        facts(last_successful_update_at=ago(20), not_before=NOW),
        State.DUE,
        True,
    ),
    "asked to wait for less than its period": (
        facts(last_successful_update_at=ago(5), not_before=ago(-3)),
        State.CONNECTED,
        False,
    ),
    "asked to wait after a failure": (
        facts(attempt=1, not_before=ago(-3), is_told_to_wait=True),
        State.WAITING,
        False,
    ),
    "asked to wait after a failure, and it has": (
        facts(attempt=1, not_before=NOW, is_told_to_wait=True),
        State.RETRYING,
        True,
    ),
    "held": (
        facts(last_successful_update_at=ago(20), not_before=ago(-3), is_held=True),
        State.HELD,
        False,
    ),
    "paused": (facts(paused_until=ago(-60)), State.PAUSED, False),
    "its pause is over": (facts(paused_until=NOW), State.DUE, True),
    "of a person who left": (facts(owner_active=False), State.PAUSED, False),
    "disabled": (facts(enabled=False), State.DISABLED, False),
    "needs to be connected again": (facts(reconnect_since=ago(1)), State.RECONNECT, False),
    "needs to be connected again, and failed": (
        facts(reconnect_since=ago(1), attempt=1, not_before=ago(1)),
        State.RECONNECT,
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_state_and_due(name: str) -> None:
    given, state, is_due = CASES[name]
    judged = judge(given, NOW)
    assert (judged.state, judged.is_due(NOW)) == (state, is_due)


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_due_says_when_it_will_be_or_needs_a_person(name: str) -> None:
    given, _, is_due = CASES[name]
    judged = judge(given, NOW)
    assert judged.why
    if judged.next_at is not None:
        assert (judged.next_at <= NOW) is is_due
    else:
        assert judged.state in (State.RECONNECT, State.DISABLED, State.PAUSED, State.PROCESSING)


@pytest.mark.parametrize(
    ("attempt", "failures", "seconds"),
    [(0, 1, 60), (1, 2, 300), (2, 3, 600), (3, 4, 900), (4, 1, 60)],
)
def test_retries_follow_after_60_300_600_seconds_and_then_the_next_period(
    attempt: int, failures: int, seconds: int
) -> None:
    assert after_failure(attempt, PERIOD, NOW) == (failures, NOW + timedelta(seconds=seconds))
