"""An account in the cache, on the master and on its instance: what differs is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from syncs.status.freshness import State
from syncs.status.queries import Status
from syncs.status.workers import WorkerState
from tenants.find import comparison
from tenants.find.comparison import Account, Blank, Sameness
from tenants.find.live_answers import LiveLookup, LiveRoute, LiveUser, ServerAnswer
from tenants.find.lookup import Cache, Lookup
from tenants.routes.queries import Route

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CACHED = Route(
    "1", "a@b.c", "2", "7", "70", "Ann", "Active", NOW, None, "rds2", True, "healthy", None, None,
    None,
)  # fmt: skip
LISTED = LiveRoute("1", "a@b.c", "7", "2", "70", "Ann", "Active", NOW)
USER = LiveUser("70", "a@b.c", "7", "Ann", "Active", NOW)
NAME = "row 1, tenant 7 on instance 2 (rds2)"
PLACE = ServerAnswer("instance 2 (rds2)", (USER,))


def compared(
    cached: tuple[Route, ...] = (CACHED,),
    listed: tuple[LiveRoute, ...] = (LISTED,),
    place: ServerAnswer[LiveUser] = PLACE,
    problem: str = "",
) -> tuple[Account, ...]:
    cache = Cache(State.ON_TIME, NOW, None, None)
    found = Lookup(
        "a@b.c",
        "a@b.c",
        cache,
        cached,
        (),
        (),
        (),
        Status(NOW, WorkerState(None, None, None, ""), ()),
    )
    return comparison.accounts(
        found, LiveLookup(NOW, ServerAnswer("rds1", listed, problem), {"2": place})
    )


def said(account: Account) -> list[str]:
    return [*comparison.on_master(account), *comparison.on_instance(account)]


def sides(account: Account, label: str) -> tuple[Any, ...]:
    line = next(line for line in account.lines if line.label == label)
    return line.cached, line.master, line.there


def test_the_same_everywhere() -> None:
    (account,) = compared()
    assert account.sameness is Sameness.SAME
    assert said(account) == []
    assert sides(account, "instance") == ("2", "2", "2")
    assert sides(account, "last sign-in") == (Blank.NOT_KEPT, Blank.NOT_KEPT, NOW)


def test_a_field_that_no_side_knows_is_unknown() -> None:
    (account,) = compared(
        (replace(CACHED, user_name=None),),
        (replace(LISTED, user_name=None),),
        replace(PLACE, rows=(replace(USER, user_name=None),)),
    )
    assert {line.label for line in account.lines if line.is_unknown} == {"name"}


def test_of_who_did_not_answer_every_field_is_unknown() -> None:
    place = ServerAnswer[LiveUser]("instance 2 (rds2)", problem="down")
    (account,) = compared(place=place)
    assert {line.label for line in account.lines if not line.is_unknown} == set()
    assert not any(line.differs for line in account.lines)


def test_an_account_is_titled_by_its_tenant_and_instance() -> None:
    named = replace(CACHED, tenant_name="Acme")
    moved = replace(LISTED, tenant_id="8")
    for cached, listed, user, title in (
        ((named,), (LISTED,), USER, "tenant 7 “Acme” on instance 2 (rds2)"),
        ((named,), (moved,), USER, "tenant 8 on instance 2 (rds2)"),
        ((), (), USER, "tenant 7 on instance 2 (rds2)"),
        ((), (), replace(USER, tenant_id=None), "an account without tenant on instance 2 (rds2)"),
    ):
        (account,) = compared(cached, listed, replace(PLACE, rows=(user,)))
        assert account.title == title


def test_a_field_that_differs_is_said_for_each_side() -> None:
    (account,) = compared(
        listed=(replace(LISTED, user_name="Anna"),),
        place=replace(PLACE, rows=(replace(USER, user_name=None),)),
    )
    assert sides(account, "name") == ("Ann", "Anna", None)
    assert account.sameness is Sameness.DIFFERS
    assert said(account) == [
        f"{NAME}: name is Ann in the cache and Anna on the master",
        f"{NAME}: name is Anna on the master and unknown on instance 2 (rds2)",
    ]


def test_one_that_is_missing_on_a_side() -> None:
    (account,) = compared(listed=(), place=replace(PLACE, rows=()))
    assert sides(account, "e-mail") == ("a@b.c", Blank.MISSING, Blank.MISSING)
    assert said(account) == [
        f"{NAME} is in the cache only",
        f"{NAME}: user 70 is not on instance 2 (rds2)",
    ]


def test_who_did_not_answer_says_nothing_against_it() -> None:
    (account,) = compared(
        listed=(), place=ServerAnswer("instance 2 (rds2)", problem="down"), problem="x"
    )
    assert account.sameness is Sameness.UNKNOWN
    assert account.unanswered == "the master and instance 2 (rds2) did not answer"
    assert said(account) == []
    assert sides(account, "e-mail") == ("a@b.c", Blank.NO_ANSWER, Blank.NO_ANSWER)


@pytest.mark.parametrize(
    ("problem", "of_instance", "unanswered"),
    [
        ("x", "", "the master did not answer"),
        ("", "it is not active", "instance 2 (rds2) did not answer"),
    ],
)
def test_an_account_is_never_the_same_as_far_as_it_is_known(
    problem: str, of_instance: str, unanswered: str
) -> None:
    place = replace(PLACE, rows=() if of_instance else (USER,), problem=of_instance)
    (account,) = compared(listed=() if problem else (LISTED,), place=place, problem=problem)
    assert account.sameness is Sameness.UNKNOWN
    assert account.unanswered == unanswered


def test_a_difference_is_one_though_a_server_did_not_answer() -> None:
    down = ServerAnswer[LiveUser]("instance 2 (rds2)", problem="x")
    (account,) = compared(listed=(replace(LISTED, user_name="Anna"),), place=down)
    assert account.sameness is Sameness.DIFFERS


def test_a_user_that_the_directory_does_not_know() -> None:
    other = replace(USER, user_id="71")
    accounts = compared(place=replace(PLACE, rows=(USER, other)))
    assert said(accounts[1]) == ["user 71 has this e-mail and is not in the directory"]
    assert accounts[1].sameness is Sameness.DIFFERS


def test_an_account_that_moved_is_looked_for_where_the_master_has_it() -> None:
    (account,) = compared(cached=(replace(CACHED, instance_id="1"),))
    assert account.at == "instance 2 (rds2)"
    assert said(account) == [f"{NAME}: instance is 1 in the cache and 2 on the master"]
