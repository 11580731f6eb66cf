"""The first page and `rainbo_status` name the same problems in the same order."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from common import clock, text
from rainbo.dashboard import views
from syncs.models import Confirmation, Heartbeat, RunState, SyncSchedule, TargetState
from syncs.status import problems, queries
from tenants.ghosts import problems as ghost_problems
from tenants.models import GhostUser, RdsInstance
from tenants.models.ghost import GhostState
from tenants.models.instance import Health
from tests.pages import text_of
from tests.rainbo import fleets
from tests.rows import ended_run, run_part, staff
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three instances, well; both are asked at the same time."""
    fleets.write(3, 120)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=timezone.now())
    now = clock.database_now()
    monkeypatch.setattr(clock, "database_now", lambda: now)
    monkeypatch.setattr(queries, "version", lambda *_: ((), now))


def dead_workers() -> None:
    Heartbeat.objects.update(at=timezone.now() - timedelta(days=2))


def lost(number: int, kind: str = "connection", health: Health = Health.DOWN) -> None:
    RdsInstance.objects.filter(pk=number).update(health=health)
    run = ended_run("instance_health", RunState.PARTIAL, ago=timedelta())
    run_part(run, str(number), state=TargetState.FAILED, error="it failed", error_kind=kind)
    for sync in ("tenant_summaries", "ghost_users"):
        run = ended_run(sync, RunState.PARTIAL, ago=timedelta())
        run_part(run, str(number), state=TargetState.FAILED, error="it failed", error_kind=kind)


def down() -> None:
    lost(2)


def refused() -> None:
    lost(3, "login", Health.REFUSED)


def held() -> None:
    run = ended_run("user_routing", RunState.HELD, ago=timedelta())
    run_part(run, state=TargetState.HELD, note="25 of 100 rows would be removed")


def stale() -> None:
    Confirmation.objects.filter(sync="tenant_summaries", target="1").update(
        at=timezone.now() - 9 * HOUR
    )


def paused() -> None:
    SyncSchedule.objects.filter(sync="ghost_users").update(
        paused_until=timezone.now() + HOUR, pause_reason="moving"
    )


def degraded() -> None:
    RdsInstance.objects.filter(pk=1).update(health=Health.DEGRADED, last_error="it is slow")


def ghost(admin: int, instance: int = 3, **fields: Any) -> GhostUser:
    known = {"wanted": GhostState.INACTIVE, "confirmed": GhostState.ACTIVE}
    return GhostUser.objects.create(admin_id=admin, instance_id=instance, **known | fields)


def leaver() -> None:
    ghost(990)


def empty() -> None:
    RdsInstance.objects.update(is_active=False, is_master=False)


def on_the_page(client: Client) -> tuple[str, list[str]]:
    """The headline and the keys of the other problems."""
    shown = client.get("/admin/").context["verdict"]
    return shown.sentence, [problem.sentence for problem in shown.others]


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    call_command("rainbo_status", "--json")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["problems"]
    return found


@pytest.mark.parametrize(
    ("states", "severities"),
    [
        ([], []),
        ([dead_workers], ["workers dead"]),
        ([down], ["instance down"]),
        ([refused], ["instance down"]),
        ([held], ["held"]),
        ([stale], ["stale"]),
        ([paused], ["paused"]),
        ([leaver], ["leaver can enter"]),
        ([empty], ["unknown"]),
        ([empty, leaver], ["leaver can enter", "unknown"]),
        (
            [paused, degraded, stale, held, down, dead_workers, leaver],
            [
                *("leaver can enter", "workers dead", "instance down"),
                *("held", "degraded", "paused"),
            ],
        ),
        (
            [paused, degraded, stale, held, down, leaver],
            ["leaver can enter", "instance down", "held", "stale", "degraded", "paused"],
        ),
    ],
)
def test_page_and_command_name_the_same(
    admin_client: Client,
    capsys: pytest.CaptureFixture[str],
    states: list[Callable[[], None]],
    severities: list[str],
) -> None:
    for state in states:
        state()
    headline, others = on_the_page(admin_client)
    found = listed(capsys)
    assert [problem["severity"] for problem in found] == severities
    sentences = [text.sentence(problem["text"]) for problem in found]
    if found:
        assert headline.lower().endswith(sentences[0].lower())
    assert others == sentences[1:]


def test_the_lines_name_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    leaver()
    down()
    call_command("rainbo_status")
    said = capsys.readouterr().out
    assert "2 problems, the most severe first:" in said
    assert said.index("  leaver can enter: 1 ghost user of people who left") < said.index(
        "  instance down: instance 2 (rds2) has been down"
    )


def test_the_check_fails_for_all_that_is_as_severe_as_late(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is degraded or paused, and dead workers before anything is late, is no alarm."""

    def code() -> int:
        try:
            call_command("rainbo_status", "--check")
        except SystemExit as end:
            return int(str(end.code))
        return 0

    paused()
    degraded()
    assert code() == 0
    RdsInstance.objects.filter(pk=1).update(health=Health.DOWN)  # no run says so
    assert code() == 1
    RdsInstance.objects.filter(pk=1).update(health=Health.REFUSED)
    assert code() == 1
    RdsInstance.objects.filter(pk=1).update(health=Health.HEALTHY)
    dead_workers()
    assert code() == 0
    capsys.readouterr()


def test_dead_workers_hide_neither_the_down_instance_nor_the_failing_sync(
    admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    dead_workers()
    down()
    run = ended_run("user_routing", RunState.PARTIAL, ago=timedelta())
    run_part(run, state=TargetState.FAILED, error="a privilege is missing", error_kind="privilege")
    with pytest.raises(SystemExit) as end:
        call_command("rainbo_status", "--check")
    out = capsys.readouterr().out
    assert end.value.code == 1
    assert "  workers dead: " in out
    assert "  instance down: instance 2 (rds2) has been down" in out
    headline, others = on_the_page(admin_client)
    assert headline.startswith("No heartbeat of a worker")
    assert others[0].startswith("Instance 2 (rds2) has been down")


def test_refused_credentials_are_a_state_of_their_own(
    admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    refused()
    headline, _ = on_the_page(admin_client)
    assert headline.startswith("Instance 3 (rds3) is up and refuses RAINBO's credentials, nothing")
    call_command("rainbo_status")
    out = capsys.readouterr().out
    assert "  credentials refused: instance 3 (rds3) is up and refuses RAINBO's credentials" in out
    assert "has been down" not in out
    assert "refused" in text_of(admin_client.get("/admin/tenants/rdsinstance/"))


def test_nothing_is_on_time_but_while_an_instance_is_down(
    admin_client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    down()
    call_command("rainbo_status")
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == on_the_page(admin_client)[0]
    assert said.startswith("Instance 2 (rds2) has been down")


def test_more_problems_than_are_named_lead_to_all(admin_client: Client) -> None:
    for state in (paused, stale, held, down, dead_workers, leaver, refused):
        state()
    degraded()
    few, shown = admin_client.get("/admin/"), views.NAMED
    verdict = few.context["verdict"]
    more = len(verdict.others) - shown
    assert more > 0
    link = f'href="/admin/?problems=all">and {more} more</a>'
    assert link in few.content.decode()
    everything = admin_client.get("/admin/?problems=all")
    text_of_all = text_of(everything)
    assert all(problem.sentence in text_of_all for problem in verdict.others)
    assert "problems=all" not in everything.content.decode()


def test_only_leavers_who_can_still_enter_are_a_problem() -> None:
    ann = User.objects.create_superuser("ann")
    ghost(ann.pk, wanted=GhostState.ACTIVE)
    ghost(990, confirmed=GhostState.ABSENT)
    ghost(991, confirmed=GhostState.INACTIVE)
    assert problems.judge(problems.read(clock.database_now())) == ()
    RdsInstance.objects.filter(pk=2).update(is_active=False)  # it may still be there
    ghost(staff("bob").pk, 2)
    ghost(ann.pk, 2)
    ann.is_active = False
    ann.save()
    (found,) = problems.judge(problems.read(clock.database_now()))
    bob = User.objects.get(username="bob")
    assert found.text == (
        "3 ghost users of people who left can still enter 2 instances: "
        f"ann ({ann.pk}) on rds2, ann ({ann.pk}) on rds3, bob ({bob.pk}) on rds2"
    )
    assert found.affected == ("2", "3")


def test_leavers_are_counted_in_one_query_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ghost_problems, "COUNTED", 2)
    for admin in range(990, 995):
        ghost(admin)
    with CaptureQueriesContext(connection) as asked:
        facts = ghost_problems.GHOSTS.read_alone(clock.database_now())
    assert len(asked) == 1
    assert facts.leavers.ghosts == 3
    (found,) = ghost_problems.judge(facts)
    assert "more than 2 ghost users" in found.text


def test_a_problem_is_shown_to_those_who_may_see_its_source(client: Client) -> None:
    leaver()
    down()
    shown: dict[str, tuple[str, ...]] = {
        "view_ghostuser": ("leaver can enter",),
        "view_rdsinstance": ("instance down",),
        "view_tenant": (),
    }
    for codename, severities in shown.items():
        may = f"tenants.{codename}".__eq__
        found = problems.judge(problems.read(clock.database_now(), may))
        assert tuple(problem.severity.label for problem in found) == severities
