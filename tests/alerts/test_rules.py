"""Each rule below, at and above its edge, and after it is over."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from alerts import rules
from alerts.models import Level
from alerts.models import Rule as StoredRule
from alerts.rules import BY_SEVERITY, RULES, RunFacts
from syncs.status.problems import Problem, Severity
from syncs.status.statistics import Statistics
from tests.alerts.rows import problem

NONE = timedelta()


def found(facts: RunFacts, *stored: StoredRule) -> set[str]:
    in_force = rules.in_force(stored)
    return {one.rule.name for one in rules.apply(in_force, [], [facts])}


def runs(missed: int = 0, **known: Any) -> RunFacts:
    """executions, failures, failures_in_a_row, timed, total_seconds: none, unless given."""
    counts = {field.name: 0 for field in fields(Statistics)}
    unknown: dict[str, Any] = {"total_seconds": None, "p95_seconds": None, "last_run": 9}
    given = counts | unknown | {"last_state": None, "last_at": None, "sync": "user_routing"}
    return RunFacts("E-mail routes", Statistics(**given | known), missed)


@pytest.mark.parametrize(
    ("count", "fires"), [(0, False), (2, False), (3, True), (4, True), (100, True)]
)
def test_failures_in_a_row(count: int, fires: bool) -> None:
    """0: after it is over."""
    assert ("failures_in_a_row" in found(runs(failures_in_a_row=count))) is fires


@pytest.mark.parametrize(
    ("failed", "ended", "fires"),
    [
        (4, 4, False),  # fewer than five runs say nothing
        (2, 5, False),
        (3, 5, True),
        (5, 5, True),
        (5, 10, False),  # 50 % exactly
        (6, 11, True),
        (4, 9, False),
        (5, 9, True),
        (50, 101, False),
        (51, 101, True),
        (0, 0, False),
    ],
)
def test_failure_rate(failed: int, ended: int, fires: bool) -> None:
    assert ("failure_rate" in found(runs(executions=ended, failures=failed))) is fires


@pytest.mark.parametrize(
    ("seconds", "timed", "fires"),
    [
        (299.9, 1, False),
        (300.0, 1, False),
        (300.1, 1, True),
        (600.0, 2, False),
        (600.2, 2, True),
        (None, 0, False),
    ],
)
def test_average_duration(seconds: float | None, timed: int, fires: bool) -> None:
    assert ("slow" in found(runs(total_seconds=seconds, timed=timed))) is fires


@pytest.mark.parametrize(("missed", "fires"), [(0, False), (2, False), (3, True), (4, True)])
def test_missed_times(missed: int, fires: bool) -> None:
    assert ("missed" in found(runs(missed))) is fires


MEASURED = {
    "instance_down": Severity.INSTANCE_DOWN,
    "replica_lag": Severity.DEGRADED,
    "certificate_ends": Severity.DEGRADED,
    "token_ends": Severity.DEGRADED,
}


@pytest.mark.parametrize(
    ("name", "measure", "fires"),
    [
        ("instance_down", 1, False),
        ("instance_down", 2, True),
        ("instance_down", 3, True),
        ("instance_down", None, True),  # it is down, and its checks are no longer kept
        ("replica_lag", 0, False),
        ("replica_lag", 299.9, False),
        ("replica_lag", 300, False),
        ("replica_lag", 300.1, True),
        ("certificate_ends", 21.1, False),
        ("certificate_ends", 21, True),
        ("certificate_ends", 20.9, True),
        ("certificate_ends", -1, True),
        ("certificate_ends", 90, False),  # it was replaced
        ("token_ends", 14.1, False),
        ("token_ends", 14, True),
        ("token_ends", 13.9, True),
        ("token_ends", -1, True),
    ],
)
def test_what_is_measured(name: str, measure: float | None, fires: bool) -> None:
    one = problem(severity=MEASURED[name], cause=RULES[name].cause, measure=measure)
    applied = rules.apply(rules.in_force([]), [one], [])
    assert {f.rule.name for f in applied} == ({name} if fires else set())


@pytest.mark.parametrize("name", [name for name, r in RULES.items() if r.threshold is not None])
def test_a_default_threshold_can_be_met(name: str) -> None:
    rule = RULES[name]
    assert rule.unit
    assert 0 < (rule.threshold or 0) <= rule.most


def test_a_changed_threshold_moves_the_edge() -> None:
    stored = StoredRule(name="failures_in_a_row", threshold=2)
    assert found(runs(failures_in_a_row=2), stored) == {"failures_in_a_row"}
    assert found(runs(failures_in_a_row=1), stored) == set()


def test_a_rule_that_is_off_finds_nothing() -> None:
    stored = StoredRule(name="failures_in_a_row", enabled=False)
    assert found(runs(failures_in_a_row=3), stored) == set()


def test_level_and_hold_can_be_changed_and_zero_is_not_the_default() -> None:
    stored = StoredRule(name="instance_down", level=Level.NOTICE, hold_seconds=0)
    changed = rules.in_force([stored])["instance_down"]
    assert (changed.level, changed.hold) == (Level.NOTICE, timedelta())
    assert rules.in_force([StoredRule(name="degraded", hold_seconds=0)])["degraded"].hold == NONE
    assert RULES["degraded"].hold == timedelta(minutes=10)


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
DEGRADED = problem("instance/2/degraded", Severity.DEGRADED, ("2",))
LAG = problem("instance/2/replica lag", Severity.DEGRADED, ("2",), cause="replica lag")
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
        (DEGRADED, [DOWN], DOWN),
        (DEGRADED, [LAG], LAG),
        (problem("instance/3/degraded", Severity.DEGRADED, ("3",)), [LAG], None),
        (LAG, [DEGRADED], None),
    ],
)
def test_a_cause_explains_its_symptoms(
    one: Problem, others: list[Problem], cause: Problem | None
) -> None:
    assert rules.cause_of(one, others) == cause
