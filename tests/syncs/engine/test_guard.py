from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from psycopg import sql

from syncs.engine import held
from syncs.engine.guard import (
    CountChange,
    Decision,
    Limit,
    Limits,
    PlannedChange,
    decide,
    decide_reasons,
    judge,
    judge_whole,
)
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.engine.window import Window

LIMIT = Limit(20, 10)
LIMITS = Limits(
    removals=LIMIT,
    moves=Limit(20, 30),
    columns=Limit(20, 30),
    sums=Limit(20, 30),
    emptied=Limit(2, 10),
)
PLANNED = sql.SQL("TABLE planned")


def run_that(accepting: int | None) -> Run:
    """As much of a run as a decision asks for."""
    return cast("Run", SimpleNamespace(options=Options(accept_held=accepting), session=None))


def reasons(**facts: Any) -> list[str]:
    change = PlannedChange(**{"cached": 1000, "read": 1000, "removed": 0} | facts)
    return judge(change, LIMITS)


@pytest.mark.parametrize(
    ("whole", "part", "exceeded"),
    [(10, 20, False), (10, 21, True), (1000, 100, False), (1000, 101, True)],
)
def test_the_larger_of_floor_and_share_counts(whole: int, part: int, exceeded: bool) -> None:
    assert LIMIT.exceeded(part, whole) is exceeded


def test_a_plausible_change_passes() -> None:
    assert reasons(removed=100, moved=300, by_column={"email": 300}) == []


def test_a_first_reading_passes_whatever_it_brings() -> None:
    assert reasons(cached=0, read=10**7) == []
    assert reasons(cached=0, read=0) == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"read": 0, "removed": 1000}, "the source is empty and had 1,000 rows"),
        ({"removed": 333}, "333 of 1,000 rows (33%) would be removed"),
        ({"moved": 301}, "301 of 1,000 rows (30%) would change instance: is this the master?"),
        ({"by_column": {"status": 301}}, "301 of 1,000 rows (30%) would change status"),
    ],
)
def test_an_implausible_change_is_named(facts: dict[str, Any], reason: str) -> None:
    assert reasons(**facts) == [reason]


@pytest.mark.parametrize(
    ("facts", "before", "reason"),
    [
        (
            {"removed": 2},
            {"removed": 99},
            "101 of 1,000 rows (10%) would be removed within 24 h, 99 of them by earlier runs",
        ),
        (
            {"moved": 250},
            {"moved": 250},
            (
                "500 of 1,000 rows (50%) would change instance within 24 h, 250 of them by "
                "earlier runs: is this the master?"
            ),
        ),
        (
            {"by_column": {"status": 1}},
            {"status": 300},
            "301 of 1,000 rows (30%) would change status within 24 h, 300 of them by earlier runs",
        ),
    ],
)
def test_small_steps_are_seen_together(
    facts: dict[str, Any], before: dict[str, int], reason: str
) -> None:
    assert reasons(window=Window(1000, before), **facts) == [reason]


@pytest.mark.parametrize(
    "facts", [{}, {"removed": 1}, {"moved": 1}, {"by_column": {"email": 1}}, {"read": 2000}]
)
def test_a_run_is_not_held_for_what_others_changed(facts: dict[str, Any]) -> None:
    before = {"removed": 500, "moved": 500, "status": 500, "email": 500}
    mine = {*facts, *facts.get("by_column", {})}
    others = {name: count for name, count in before.items() if name not in mine}
    assert reasons(window=Window(1000, others), **facts) == []


def counted(before: int, after: int, *, had: int = 40, emptied: int = 0) -> CountChange:
    return CountChange("users", before, after, had, emptied)


@pytest.mark.parametrize(
    ("count", "lately", "reason"),
    [
        (counted(200, 0), {}, "users would fall from 200 to 0 (100% fewer)"),
        (counted(200, 140), {}, ""),
        (counted(200, 139), {}, "users would fall from 200 to 139 (31% fewer)"),
        (counted(20, 0), {}, ""),
        (counted(21, 0), {}, "users would fall from 21 to 0 (100% fewer)"),
        (counted(0, 0), {}, ""),
        (
            counted(160, 130),
            {"users": 40},
            "users would fall from 200 to 130 (35% fewer) within 24 h",
        ),
        (counted(100, 100), {"users": 100}, ""),
        (counted(100, 120), {"users": 100}, ""),
        (
            counted(200, 190, emptied=5),
            {},
            "5 of 40 rows (12%) would have no users, or an unknown number of them",
        ),
        (
            counted(200, 190, emptied=1),
            {"users emptied": 4},
            "5 of 44 rows (11%) would have no users, or an unknown number of them within 24 h",
        ),
        (counted(200, 200, emptied=0), {"users emptied": 30}, ""),
        (counted(200, 210, emptied=-3), {"users emptied": 30}, ""),
        (counted(10, 0, had=2, emptied=2), {}, ""),
    ],
)
def test_a_count_that_collapses_is_named(
    count: CountChange, lately: dict[str, int], reason: str
) -> None:
    assert reasons(counted=(count,), window=Window(1000, lately)) == [reason] * bool(reason)


def test_the_larger_of_now_and_a_day_ago_is_the_whole() -> None:
    assert reasons(removed=60, window=Window(100, {"removed": 40})) == []
    assert reasons(cached=900, read=850, removed=50, window=Window(1000, {"removed": 50})) == []


@pytest.mark.parametrize(
    ("held", "read", "trips"), [(1, 1, False), (1, 2, False), (2, 4, False), (2, 3, True)]
)
def test_too_many_implausible_instances_hold_all(held: int, read: int, trips: bool) -> None:
    assert bool(judge_whole(held, read)) is trips


@pytest.mark.parametrize(
    ("accepting", "beyond", "decision"),
    [
        (None, "", Decision(["it is odd"])),
        (7, "", Decision(accepted=True)),
        (7, "2 were not accepted", Decision(["it is odd", "2 were not accepted"])),
    ],
)
def test_a_persons_acceptance_lifts_what_it_covers(
    monkeypatch: pytest.MonkeyPatch, accepting: int | None, beyond: str, decision: Decision
) -> None:
    monkeypatch.setattr(held, "why_not_lifted", lambda *_, **__: beyond)
    assert decide_reasons(run_that(accepting), "1", ["it is odd"], PLANNED) == decision


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ({"removed": 100}, []),
        ({"removed": 333}, [False]),
        ({"removed": 333, "by_column": {"status": 301}}, [True]),
    ],
)
def test_an_acceptance_is_asked_for_its_columns_when_they_are_a_reason(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], asked: list[bool]
) -> None:
    found: list[bool] = []

    def why_not_lifted(*_: object, columns: bool) -> str:
        found.append(columns)
        return ""

    monkeypatch.setattr(held, "why_not_lifted", why_not_lifted)
    change = PlannedChange(**{"cached": 1000, "read": 1000} | facts)
    decision = decide(run_that(7), "1", change, LIMITS, PLANNED)
    assert (decision, found) == (Decision(accepted=bool(asked)), asked)
