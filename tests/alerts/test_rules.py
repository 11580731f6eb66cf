"""Each rule below, at and above its edge, and after it is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from alerts import rules
from alerts.models import Level
from alerts.models import Rule as StoredRule
from alerts.rules import BY_SEVERITY, RULES, RunFacts
from syncs.status.problems import Problem, Severity
from tests.alerts.rows import problem

OK, BAD, LOST, HELD, PARTIAL = "succeeded", "failed", "lost", "held", "partial"


def found(facts: RunFacts, *stored: StoredRule) -> set[str]:
    in_force = rules.in_force(stored)
    return {one.rule.name for one in rules.apply(in_force, [], [facts])}


def runs(*states: str, seconds: tuple[float, ...] = (), missed: int = 0) -> RunFacts:
    return RunFacts("user_routing", "E-mail routes", states, seconds, missed, last_run=9)


@pytest.mark.parametrize(
    ("states", "fires"),
    [
        ((BAD, BAD, OK), False),
        ((BAD, BAD), False),
        ((BAD, BAD, BAD), True),
        ((BAD, LOST, BAD, OK), True),
        ((BAD,) * 4, True),
        ((OK, BAD, BAD, BAD), False),  # after it is over
        ((BAD, BAD, HELD, BAD), False),  # a held run did not fail
        ((BAD, PARTIAL, BAD, BAD), False),
        ((), False),
    ],
)
def test_failures_in_a_row(states: tuple[str, ...], fires: bool) -> None:
    assert ("failures_in_a_row" in found(runs(*states))) is fires


@pytest.mark.parametrize(
    ("failed", "ended", "fires"),
    [
        (4, 4, False),  # fewer than five runs say nothing
        (2, 5, False),
        (3, 5, True),
        (5, 10, False),  # 50 % exactly
        (6, 11, True),
        (4, 9, False),
        (5, 9, True),
        (50, 101, False),
        (0, 0, False),
    ],
)
def test_failure_rate(failed: int, ended: int, fires: bool) -> None:
    states = (OK, *[BAD] * failed, *[OK] * (ended - failed - 1)) if ended > failed else (BAD,) * 4
    assert ("failure_rate" in found(runs(*states[:ended]))) is fires


@pytest.mark.parametrize(
    ("seconds", "fires"),
    [
        ((299.9,), False),
        ((300.0,), False),
        ((300.1,), True),
        ((1.0, 599.0), False),
        ((1.0, 599.2), True),
        ((), False),
    ],
)
def test_average_duration(seconds: tuple[float, ...], fires: bool) -> None:
    assert ("slow" in found(runs(OK, seconds=seconds))) is fires


@pytest.mark.parametrize(("missed", "fires"), [(0, False), (2, False), (3, True), (4, True)])
def test_missed_times(missed: int, fires: bool) -> None:
    assert ("missed" in found(runs(OK, missed=missed))) is fires


def test_a_changed_threshold_moves_the_edge() -> None:
    stored = StoredRule(name="failures_in_a_row", threshold=2)
    assert found(runs(BAD, BAD), stored) == {"failures_in_a_row"}
    assert found(runs(BAD), stored) == set()


def test_a_rule_that_is_off_finds_nothing() -> None:
    stored = StoredRule(name="failures_in_a_row", enabled=False)
    assert found(runs(BAD, BAD, BAD), stored) == set()


def test_level_and_hold_can_be_changed_and_zero_is_not_the_default() -> None:
    stored = StoredRule(name="instance_down", level=Level.NOTICE, hold_seconds=0)
    changed = rules.in_force([stored])["instance_down"]
    assert (changed.level, changed.hold) == (Level.NOTICE, timedelta())
    assert RULES["instance_down"].hold == timedelta(minutes=1)


@pytest.mark.parametrize("severity", Severity)
def test_every_severity_has_a_rule(severity: Severity) -> None:
    assert BY_SEVERITY[severity] in RULES
    one = problem(severity=severity)
    named = {f.rule.name for f in rules.apply(rules.in_force([]), [one], [])}
    assert named == ({BY_SEVERITY[severity]} if severity is not Severity.PAUSED else set())


def test_down_to_held_all_are_urgent() -> None:
    levels = {s: RULES[BY_SEVERITY[s]].level for s in Severity}
    assert {s for s, level in levels.items() if level is Level.URGENT} == {
        s for s in Severity if s <= Severity.HELD
    }


@pytest.mark.parametrize(
    ("cause", "name"),
    [
        ("stalled queue", "queue_stalled"),
        ("credentials refused", "credentials_refused"),
        ("no master", "no_master"),
        ("instance down", "instance_down"),
    ],
)
def test_a_cause_may_have_a_rule_of_its_own(cause: str, name: str) -> None:
    severity = Severity.WORKERS_DEAD if "queue" in cause else Severity.INSTANCE_DOWN
    one = problem(severity=severity, cause=cause)
    assert [f.rule.name for f in rules.apply(rules.in_force([]), [one], [])] == [name]


def test_what_sums_up_several_is_taken_apart() -> None:
    parts = tuple(problem(f"instance/{n}/down", affected=(str(n),)) for n in (1, 2, 3))
    whole = problem("instances/down", affected=("1", "2", "3"), parts=parts)
    keys = {f.key for f in rules.apply(rules.in_force([]), [whole], [])}
    assert keys == {"instance/1/down", "instance/2/down", "instance/3/down"}


WORKERS = problem("workers", Severity.WORKERS_DEAD, ())
DOWN = problem("instance/2/down", affected=("2",))
MASTER = problem("instance/1/down", affected=("1",))
STALE = problem("sync/user_routing/overdue", Severity.STALE, ("1", "2"))
ROW = problem("sync/user_routing/failures in a row", Severity.FAILING, ())


@pytest.mark.parametrize(
    ("one", "others", "cause"),
    [
        (STALE, [WORKERS], WORKERS),
        (STALE, [DOWN, MASTER], DOWN),
        (STALE, [DOWN], None),  # instance 1 is stale as well
        (STALE, [], None),
        (DOWN, [WORKERS], None),
        (DOWN, [MASTER], None),
        (ROW, [STALE], STALE),
        (ROW, [problem("sync/ghost_users/overdue", Severity.STALE, ())], None),
        (ROW, [WORKERS, STALE], WORKERS),
        (problem("ghosts/leavers", Severity.LEAVER_CAN_ENTER, ("2",)), [DOWN], None),
        (problem("instance/2/degraded", Severity.DEGRADED, ("2",)), [DOWN], DOWN),
    ],
)
def test_a_cause_explains_its_symptoms(
    one: Problem, others: list[Problem], cause: Problem | None
) -> None:
    assert rules.cause_of(one, others) == cause
