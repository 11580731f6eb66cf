"""Who can enter which instance: the matrix, and syncing one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import DjangoAssertNumQueries

from activity.models import Activity
from syncs.models import SyncRun, Trigger
from tenants.admin.ghost.badges import COVERAGE_TONES
from tenants.ghosts import coverage
from tenants.ghosts.coverage import MEANINGS, Coverage, judge
from tenants.models import GhostUser, RdsInstance
from tenants.models.ghost import GhostState
from tenants.models.instance import Health
from tests.caches import query
from tests.pages import said, text_of
from tests.rows import instance_row, staff

PAGE = "/admin/tenants/ghostuser/"
SYNC = f"{PAGE}sync/"
ON, OFF, GONE, REFUSED, UNKNOWN = (
    GhostState.ACTIVE,
    GhostState.INACTIVE,
    GhostState.ABSENT,
    GhostState.REFUSED,
    GhostState.UNKNOWN,
)

pytestmark = pytest.mark.django_db


def ghost(instance: RdsInstance, admin: int, confirmed: GhostState, **fields: Any) -> GhostUser:
    known = {"wanted": ON, "confirmed_at": timezone.now()}
    return GhostUser.objects.create(
        instance=instance, admin_id=admin, confirmed=confirmed, **known | fields
    )


@pytest.fixture
def ann() -> User:
    """An admin who should have a ghost user everywhere."""
    user = staff("ann")
    user.user_permissions.set(Permission.objects.filter(codename="impersonate"))
    return user


@pytest.fixture
def looker(client: Client, person: Callable[..., User]) -> Client:
    person("view_ghostuser", "run_sync", "view_syncrun", name="looker")
    return client


def shown(client: Client, **asked: str | int) -> Any:
    answer = client.get(PAGE, asked)
    text_of(answer)
    return answer.context["matrix"]


def test_every_state_has_a_tone_and_a_meaning() -> None:
    assert set(COVERAGE_TONES) == set(MEANINGS) == set(Coverage)


@pytest.mark.parametrize(
    ("confirmed", "wanted", "active", "expected"),
    [
        (ON, True, True, Coverage.CONFIRMED),
        (ON, True, False, Coverage.CONFIRMED),
        (ON, False, True, Coverage.ORPHAN),
        (ON, False, False, Coverage.ORPHAN),
        (None, True, True, Coverage.WANTED),
        (None, True, False, Coverage.UNUSED),
        (None, False, True, Coverage.GONE),
        (OFF, True, True, Coverage.MISSING),
        (GONE, True, True, Coverage.MISSING),
        (GONE, True, False, Coverage.UNUSED),
        (OFF, False, True, Coverage.GONE),
        (REFUSED, True, True, Coverage.REFUSED),
        (REFUSED, False, True, Coverage.GONE),
        (UNKNOWN, True, True, Coverage.UNKNOWN),
        (UNKNOWN, False, False, Coverage.UNKNOWN),
    ],
)
def test_a_cell_is_judged(
    confirmed: GhostState | None, wanted: bool, active: bool, expected: Coverage
) -> None:
    assert judge(confirmed, wanted=wanted, kept=active) is expected


def test_the_matrix_shows_every_cell(looker: Client, ann: User) -> None:
    for number in (1, 2, 3):
        instance_row(number)
    ghost(RdsInstance.objects.get(pk=1), ann.pk, ON)
    ghost(RdsInstance.objects.get(pk=2), ann.pk, GONE)
    row = shown(looker).people[0]
    assert [label for label, _ in row.cells] == [f"instance {n} (rds{n})" for n in (1, 2, 3)]
    for (_, cell), word in zip(row.cells, ("confirmed", "missing", "wanted"), strict=True):
        assert word in cell
    assert re.search(r"\b\d s ago", row.cells[0][1])


def test_an_orphan_is_the_verdict(looker: Client, ann: User) -> None:
    ghost(instance_row(1), 990, ON)
    matrix = shown(looker)
    assert matrix.summary.endswith("1 ghost user of others can still enter.")
    assert [(p.name, p.wanted) for p in matrix.people] == [("deleted user", False), ("ann", True)]


def test_one_who_lost_the_permission_is_an_orphan(looker: Client, ann: User) -> None:
    ghost(instance_row(1), ann.pk, ON)
    ann.user_permissions.clear()
    assert "orphan" in shown(looker).people[0].cells[0][1]


def test_all_well_is_said(looker: Client, ann: User) -> None:
    ghost(instance_row(1), ann.pk, ON)
    assert shown(looker).summary == "1 admin should enter 1 active instance, and nobody else can."


@pytest.mark.parametrize(
    ("down", "said"),
    [
        ((2,), "3 active instances, and nobody else can, as far as is known: 1 instance is down."),
        (
            (2, 3),
            "3 active instances, and nobody else can, as far as is known: 2 instances are down.",
        ),
    ],
)
def test_an_instance_that_is_down_is_told(
    looker: Client, ann: User, down: tuple[int, ...], said: str
) -> None:
    for number in (1, 2, 3):
        health = Health.DOWN if number in down else Health.HEALTHY
        ghost(instance_row(number, health=health), ann.pk, ON)
    instance_row(4, health=Health.DOWN, is_active=False)
    matrix = shown(looker)
    assert matrix.summary == f"1 admin should enter {said}"
    for number, column, place in zip((1, 2, 3, 4), matrix.columns, matrix.places, strict=True):
        assert f"{number} rds{number}" in column
        assert ("down" in column) is (number in down)
        assert ("down" in place.health) is (number in down)
    labels = [label for label, _ in matrix.people[0].cells]
    assert labels[1] == "instance 2 (rds2), down"
    page = text_of(looker.get(PAGE))
    assert "2 rds2 down" in page
    assert "instance 2 (rds2) down" in page


def test_what_is_wrong_is_said_with_what_is_down(looker: Client, ann: User) -> None:
    ghost(instance_row(1, health=Health.DOWN), 990, ON)
    assert shown(looker).summary.endswith(
        "1 ghost user of others can still enter, as far as is known: 1 instance is down."
    )


def test_of_many_instances_those_that_are_down_are_listed(looker: Client, ann: User) -> None:
    for number in range(1, 14):
        health = Health.DOWN if number == 5 else Health.HEALTHY
        ghost(instance_row(number, health=health), ann.pk, REFUSED if number == 7 else ON)
    assert [place.instance.pk for place in shown(looker).places] == [7, 5]


def test_what_no_sync_tried_is_said(looker: Client, ann: User) -> None:
    instance_row(1)
    assert shown(looker).summary.endswith("1 ghost user waits for its first sync.")


def test_the_legend_counts_every_state(looker: Client, ann: User) -> None:
    for number, confirmed in enumerate((ON, GONE, REFUSED, UNKNOWN), 1):
        ghost(instance_row(number), ann.pk, confirmed)
    instance_row(5)
    page = text_of(looker.get(PAGE))
    for state in ("confirmed 1", "wanted 1", "missing 1", "refused 1", "unknown 1"):
        assert state in page


def test_both_ways_of_counting_agree(ann: User) -> None:
    bob = staff("bob", is_superuser=True)
    instances = [instance_row(n, is_active=n != 3) for n in range(1, 6)]
    for n, confirmed in enumerate((ON, OFF, REFUSED, UNKNOWN)):
        ghost(instances[n], ann.pk, confirmed)
        ghost(instances[n], 990, confirmed)
    ghost(instances[2], bob.pk, ON)
    wanted = coverage.wanted_ids()
    by_admin = coverage.by_admin(wanted, instances)
    by_instance = coverage.by_instance(wanted, instances)
    for state in Coverage:
        assert sum(t.counts[state] for t in by_admin.values()) == sum(
            t.counts[state] for t in by_instance.values()
        ), state


def test_what_is_named_as_trouble_is_what_is_counted(ann: User) -> None:
    states = (ON, OFF, GONE, REFUSED, UNKNOWN)
    instances = [instance_row(n, is_active=n % 2 == 0) for n in range(1, 11)]
    for n, instance in enumerate(instances):
        for admin in (ann.pk, 990):
            ghost(instance, admin, states[n // 2])
    wanted = coverage.wanted_ids()
    rows = coverage.find_problems([ann.pk, 990], wanted, each=99)
    counted = coverage.by_admin(wanted, instances)
    for admin in (ann.pk, 990):
        assert sum(row.admin_id == admin for row in rows) == counted[admin].problems


def test_many_instances_show_counts_and_what_is_wrong(looker: Client, ann: User) -> None:
    for number in range(1, 14):
        confirmed = REFUSED if number == 7 else ON
        ghost(instance_row(number), ann.pk, confirmed, last_error="in the way")
    matrix = shown(looker)
    assert not matrix.is_full
    row = matrix.people[0]
    assert row.cells == ()
    assert len(row.wrong) == 1
    assert "7 rds7" in row.wrong[0]
    assert [place.instance.pk for place in matrix.places] == [7]


def test_admins_are_searched(looker: Client, ann: User) -> None:
    instance_row(1)
    staff("bob", is_superuser=True)
    assert [p.name for p in shown(looker, q="AN").people] == ["ann"]
    assert [p.name for p in shown(looker, q=ann.pk).people] == ["ann"]
    assert "No admin matches" in text_of(looker.get(PAGE, {"q": "nobody"}))


def test_without_instances_the_next_step_is_named(looker: Client, ann: User) -> None:
    assert "No instance is registered yet" in text_of(looker.get(PAGE))


def test_without_admins_the_next_step_is_named(looker: Client) -> None:
    instance_row(1)
    assert "Can enter tenants as support" in text_of(looker.get(PAGE))


def test_a_filter_leads_to_all_rows(looker: Client) -> None:
    answer = looker.get(f"{PAGE}?confirmed__exact=refused")
    assert answer["Location"] == f"{PAGE}all/?confirmed__exact=refused"


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}all/"])
def test_the_pages_take_their_permission(
    client: Client, person: Callable[..., User], path: str
) -> None:
    person("view_rdsinstance", "run_sync")
    assert client.get(path).status_code == 403


@pytest.mark.parametrize("whose", ["admin", "instance", "both"])
def test_one_is_synced(looker: Client, ann: User, whose: str) -> None:
    instance_row(2)
    asked = {"admin": str(ann.pk), "instance": "2"}
    data = asked if whose == "both" else {whose: asked[whose]}
    answer = looker.post(SYNC, data)
    run = SyncRun.objects.get()
    wished = {"only": [str(ann.pk)], "targets": ["2"]}
    expected = {"admin": ["only"], "instance": ["targets"], "both": ["only", "targets"]}[whose]
    assert run.options == {name: wished[name] for name in expected}
    assert (run.sync, run.trigger, run.actor) == ("ghost_users", Trigger.BUTTON, "looker")
    assert answer["Location"] == f"/admin/syncs/syncrun/{run.pk}/change/"
    assert OrmQ.objects.count() == 1
    assert Activity.objects.get(action="run.requested").subject_id == str(run.pk)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ({}, "select an admin or an instance"),
        ({"admin": "4711"}, "knows no user 4711"),
        ({"admin": "x"}, "not an admin id: x"),
        ({"instance": "9"}, "no active instance has the id 9"),
        ({"instance": "3"}, "no active instance has the id 3"),
        ({"instance": "x"}, "invalid instance id: x"),
    ],
)
def test_what_no_run_could_take_is_refused(looker: Client, data: dict[str, str], part: str) -> None:
    instance_row(3, is_active=False)
    assert part in said(looker.post(SYNC, data, follow=True))
    assert not SyncRun.objects.exists()


def test_a_leaver_is_taken_off_an_inactive_instance(looker: Client) -> None:
    ghost(instance_row(3, is_active=False), 990, ON)
    matrix = shown(looker)
    assert [place.may_sync for place in matrix.places] == [True]
    assert [person.instances for person in matrix.people] == [1]
    looker.post(SYNC, {"admin": "990", "instance": "3"})
    assert SyncRun.objects.exists()


def test_syncing_takes_its_permission(client: Client, person: Callable[..., User]) -> None:
    person("view_ghostuser", "view_rdsinstance", "change_rdsinstance")
    instance_row(2)
    assert client.post(SYNC, {"instance": "2"}).status_code == 403
    assert "Sync" not in text_of(client.get(PAGE)).partition("Instances")[2].partition("same")[0]
    assert not SyncRun.objects.exists()


def test_syncing_takes_a_post(looker: Client) -> None:
    assert looker.get(SYNC).status_code == 405


def test_one_ghost_users_page_syncs_it(looker: Client, ann: User) -> None:
    row = ghost(instance_row(2), ann.pk, ON)
    page = text_of(looker.get(f"{PAGE}{row.pk}/change/"))
    assert "Sync this one ghost user" in page
    assert f"sync_ghost_users --rds 2 --admin {ann.pk}" in page


@pytest.mark.parametrize(("admins", "instances"), [(1, 1), (5, 12), (50, 200)])
def test_the_matrix_takes_a_bounded_number_of_queries(
    admin_client: Client,
    admins: int,
    instances: int,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    for number in range(1, instances + 1):
        instance_row(number)
    query(
        "INSERT INTO ghost_users (admin_id, instance_id, wanted, confirmed, confirmed_at, "
        "last_error) SELECT 900 + a, i.id, 'active', CASE WHEN mod(a + i.id, 7) = 0 THEN 'active' "
        "ELSE 'absent' END, now(), '' FROM generate_series(1, %s) AS a, rds_instances AS i",
        admins,
    )
    with django_assert_max_num_queries(14):
        matrix = shown(admin_client)
    assert len(matrix.people) == min(50, admins + 1)
