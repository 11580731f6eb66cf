from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django_q.models import OrmQ

from syncs.models import RunState, SyncRun, Trigger
from tenants.ghosts import owed, policy
from tenants.ghosts.policy import Ghost, GhostOutcome
from tenants.models import GhostUser, RdsInstance
from tenants.models.ghost import GhostState
from tests.rows import instance_row, staff

pytestmark = pytest.mark.django_db


def permission() -> Permission:
    return Permission.objects.get(codename="impersonate")


def ghost(admin_id: int, at: RdsInstance, confirmed: str = "active") -> GhostUser:
    return GhostUser.objects.create(
        admin_id=admin_id, instance=at, wanted="active", confirmed=confirmed
    )


def test_staff_with_the_permission_are_wanted_by_user_or_group_and_superusers_count() -> None:
    direct, member = staff("direct", first_name="Di", last_name="Rect"), staff("member")
    direct.user_permissions.add(permission())
    group = Group.objects.create(name="support")
    group.permissions.add(permission())
    member.groups.add(group)
    root = staff("root", is_superuser=True)
    staff("without")
    wanted = policy.wanted_admins()
    assert set(wanted) == {direct.pk, member.pk, root.pk}
    assert (wanted[direct.pk].name, wanted[root.pk].name) == ("Di Rect", "root")
    assert wanted[root.pk].email == f"rainbo-admin-{root.pk}@system.internal"


def test_who_is_inactive_or_no_staff_is_not_wanted() -> None:
    staff("gone", is_superuser=True, is_active=False)
    outsider = get_user_model().objects.create_user("outsider")
    outsider.user_permissions.add(permission())
    assert not policy.wanted_admins()


def test_owed_are_the_ghosts_of_those_without_a_right_until_they_are_confirmed_gone() -> None:
    at, other = instance_row(), instance_row(2)
    ghost(staff("root", is_superuser=True).pk, at)
    for number, confirmed in enumerate(GhostState.values, 4711):
        ghost(number, at, confirmed)
    GhostUser.objects.create(admin_id=4711, instance=other, wanted="inactive", confirmed="active")
    kept = owed.find().values_list("admin_id", "instance_id", "confirmed")
    assert set(kept) == {
        *((4711, 1, "active"), (4714, 1, "refused"), (4715, 1, "unknown"), (4711, 2, "active")),
    }


def test_leavers_are_retired_at_once_by_one_queued_run() -> None:
    ghost(4711, instance_row())
    record = owed.retire_leavers()
    assert record is not None
    stored = SyncRun.objects.get()
    assert (stored.sync, stored.state, stored.trigger) == (
        "ghost_users",
        RunState.QUEUED,
        Trigger.SIGNAL,
    )
    assert stored.options == {"only": ["4711"]}
    assert GhostUser.objects.get().wanted == "inactive"
    assert OrmQ.objects.count() == 1
    assert owed.retire_leavers() == record
    assert SyncRun.objects.count() == 1


def test_instances_out_of_use_matter_while_a_leavers_ghost_may_be_there() -> None:
    old, away, clean, used = (instance_row(n, is_active=n == 4) for n in (1, 2, 3, 4))
    ghost(4711, old)
    ghost(4711, away, "unknown")
    ghost(4711, clean, "inactive")
    ghost(4711, used)
    assert owed.instances_without([]) == [old, away]
    assert owed.instances_without([4711]) == []
    assert owed.instances_without([], {1}) == []


def test_an_id_is_known_by_its_user_or_its_ghost() -> None:
    ghost(4711, instance_row())
    root = staff("root")
    assert policy.parse_only([str(root.pk), "4711"]) == {root.pk, 4711}
    assert policy.parse_only([]) == set()


@pytest.mark.parametrize(
    ("going", "active", "lately", "held"),
    [
        (0, 0, 0, False),
        (3, 3, 0, False),
        (4, 5, 0, True),
        (30, 100, 0, False),
        (31, 100, 0, True),
        (1, 97, 4, False),
        (1, 70, 30, True),
        (0, 10, 90, False),
    ],
)
def test_the_guard_judges_what_goes_now_and_went_in_a_day(
    going: int, active: int, lately: int, held: bool
) -> None:
    assert bool(policy.why_held(going, active, lately)) is held


def test_a_ghost_in_words() -> None:
    assert str(Ghost("7", "12", GhostOutcome.UNKNOWN, "it belongs to a tenant")) == (
        "ghost of admin 7 (user 12 there): unknown: it belongs to a tenant"
    )
    assert str(Ghost(None, None, GhostOutcome.MISSED)) == "a ghost user: missed"
