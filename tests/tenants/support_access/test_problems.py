from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.utils import timezone
from pytest_django import Settings

from alerts import rules
from rainbo.env import Environment
from syncs.reports import problem_links
from syncs.status import problems
from syncs.status.problems import Problem, Severity
from tenants.models import ApplicationEvent, SupportSession
from tenants.support_access.problems import SUPPORT, judge
from tests.rows import support_session

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)  # a Monday
MINUTE = timedelta(minutes=1)
REDEEMED: dict[str, Any] = {
    "redeemed_at": NOW - 20 * MINUTE,
    "ends_at": NOW + 10 * MINUTE,
    "issued_at": NOW - 21 * MINUTE,
}
CLOSED: dict[str, Any] = {"closed_at": NOW, "ended_at": NOW, "ended_by": "zoe"}


def found(now: datetime = NOW) -> list[Problem]:
    return list(judge(SUPPORT.read_alone(now)))


def rule_of(problem: Problem) -> str:
    (one,) = rules.apply(rules.in_force([]), [problem], [])
    return one.rule.name


def test_sessions_as_they_should_be_are_no_problem() -> None:
    support_session(issued_at=NOW)
    support_session(tenant_id="1", **REDEEMED)
    support_session(tenant_id="2", **REDEEMED, **CLOSED)
    # Ended before it was redeemed: the attempt that is refused then is nobody's copy.
    support_session(tenant_id="3", issued_at=NOW, refused=1, refused_at=NOW, **CLOSED)
    assert found() == []


def test_a_second_redeem_is_the_second_most_severe_problem_for_a_day() -> None:
    row = support_session(**REDEEMED, refused=2, refused_at=NOW - MINUTE, **CLOSED)
    (problem,) = found()
    assert problem.severity is Severity.SUPPORT_SESSION_REUSED
    assert problem.key == f"support/{row.pk}/reused"
    assert "zoe in Acme (42) on instance 1 (rds1) was sent again and refused: 2" in problem.text
    assert rule_of(problem) == "support_reused"
    link = problem_links.path(problem.link.kind, problem.link.key)
    assert link == f"/admin/tenants/supportsession/{row.pk}/change/"
    assert found(NOW + timedelta(hours=23)) != []
    assert found(NOW + timedelta(hours=24)) == []


def test_a_session_that_was_opened_otherwise_is_as_severe() -> None:
    support_session(**REDEEMED, differs="tenant 43 instead of 42")
    (problem,) = found()
    assert problem.severity is Severity.SUPPORT_SESSION_REUSED
    assert rule_of(problem) == "support_reused"


@pytest.mark.parametrize(
    "fields",
    [
        {"end_requested_at": NOW - 3 * MINUTE, "error": "rds1 does not answer"},
        {"ends_at": NOW - 3 * MINUTE},
        {"redeemed_at": None, "ends_at": None},
    ],
    ids=["end requested", "time over", "not known to be redeemed"],
)
def test_a_session_that_has_not_ended(fields: dict[str, Any]) -> None:
    row = support_session(**REDEEMED | fields)
    (problem,) = found()
    assert "ended since" in problem.text
    assert rule_of(problem) == "support_not_ended"
    assert bool(row.error) is ("does not answer" in problem.text)
    SupportSession.objects.update(closed_at=NOW)
    assert found() == []


def test_outside_the_hours_of_support(settings: Settings) -> None:
    settings.RAINBO_TIME_ZONE = "Europe/Prague"
    settings.RAINBO_SUPPORT_HOURS = Environment({"H": "mon-fri 08:00-18:00"}).week_hours("H")
    for hour, tenant in ((7, "1"), (16, "2"), (17, "3"), (23, "4")):
        at = NOW.replace(day=27, hour=hour)  # a Friday, in UTC
        support_session(tenant_id=tenant, issued_at=at, **CLOSED)
    support_session(tenant_id="5", issued_at=NOW.replace(day=28, hour=10), **CLOSED)
    shown = found(NOW.replace(day=28, hour=11)) + found(NOW.replace(day=27, hour=12))
    late = {problem.text.partition(" (")[2].partition(")")[0] for problem in shown}
    assert late == {"3", "4", "5"}
    assert {rule_of(problem) for problem in shown} == {"support_outside_hours"}


def test_unusually_many_tenants_in_an_hour(settings: Settings) -> None:
    settings.RAINBO_SUPPORT_TENANTS_PER_HOUR = 3
    for number in range(4):
        support_session(tenant_id=str(number), issued_at=NOW - number * 15 * MINUTE, **CLOSED)
    support_session(tenant_id="0", issued_at=NOW - 2 * MINUTE, **CLOSED)
    (problem,) = found()
    assert problem.text == (
        "zoe opened support sessions in 4 tenants in the last hour, more than 3"
    )
    assert "zoe" not in problem.brief
    assert rule_of(problem) == "support_many_tenants"
    assert problem_links.path(problem.link.kind, "") == "/admin/tenants/supportsession/"
    assert found(NOW + 16 * MINUTE) == []
    settings.RAINBO_SUPPORT_TENANTS_PER_HOUR = 0
    assert found() == []


def test_the_list_of_problems_has_them_for_those_who_may_see_sessions() -> None:
    now = timezone.now()
    support_session(issued_at=now, redeemed_at=now, refused=1, refused_at=now)
    keys = [problem.key for problem in problems.judge(problems.read(now))]
    assert any(key.endswith("/reused") for key in keys)
    facts = problems.read(now, lambda permission: permission == "tenants.view_ghostuser")
    assert not any(problem.key.startswith("support/") for problem in problems.judge(facts))


@pytest.mark.parametrize("wrong", ["always", "mon-fri", "fri-mon 08:00-18:00", "mon 18:00-08:00"])
def test_hours_that_are_none_are_rejected(wrong: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="H must be days and hours"):
        Environment({"H": wrong}).week_hours("H")


def test_the_trail_has_a_retention_of_its_own(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.RAINBO_SUPPORT_RETENTION_DAYS = 30
    now = timezone.now()
    for number, days in enumerate((29, 31)):
        at = now - timedelta(days=days)
        support_session(tenant_id=str(number), issued_at=at, closed_at=at)
        ApplicationEvent.objects.create(
            instance_id=1, event_id=str(days), at=at, received_at=at, action="seen"
        )
    support_session(tenant_id="open", issued_at=now - timedelta(days=400))
    call_command("prune_runs", "--older-than=1")
    assert "support sessions 1" in capsys.readouterr().out
    assert [row.tenant_id for row in SupportSession.objects.all()] == ["0", "open"]
    assert ApplicationEvent.objects.get().event_id == "29"
    settings.RAINBO_SUPPORT_RETENTION_DAYS = 0
    call_command("prune_runs", "--older-than=1")
    assert SupportSession.objects.count() == 2
