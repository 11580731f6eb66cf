from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from syncs.models import SyncRun
from tenants.models import GhostUser
from tests.rows import instance_row, staff

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ann() -> User:
    """An admin by her group, with a ghost."""
    user = staff()
    group = Group.objects.create(name="support")
    group.permissions.add(Permission.objects.get(codename="impersonate"))
    user.groups.add(group)
    at = instance_row()
    GhostUser.objects.create(admin_id=user.pk, instance=at, wanted="active", confirmed="active")
    return user


def deactivate(user: User) -> None:
    user.is_active = False
    user.save()


def take_from_staff(user: User) -> None:
    user.is_staff = False
    user.save(update_fields=["is_staff"])


def leave_the_group(user: User) -> None:
    user.groups.clear()


def be_put_out_of_the_group(user: User) -> None:
    Group.objects.get(name="support").user_set.remove(user)


def lose_the_groups_permission(user: User) -> None:
    Group.objects.get(name="support").permissions.set([])


WAYS: list[Callable[[User], object]] = [
    deactivate,
    take_from_staff,
    leave_the_group,
    be_put_out_of_the_group,
    lose_the_groups_permission,
    lambda user: user.delete(),
    lambda user: User.objects.all().delete(),
    lambda user: Group.objects.get(name="support").delete(),
    lambda user: Permission.objects.get(codename="impersonate").delete(),
]


@pytest.mark.parametrize("leave", WAYS)
def test_each_way_to_leave_queues_a_run_at_once(ann: User, leave: Callable[[User], object]) -> None:
    pk = ann.pk
    leave(ann)
    assert SyncRun.objects.get().options == {"only": [str(pk)]}
    assert GhostUser.objects.get().wanted == "inactive"


def test_a_superuser_who_is_one_no_more_leaves(ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_superuser=True)
    ann.groups.clear()
    assert not SyncRun.objects.exists()
    ann.is_superuser = False
    ann.save()
    assert SyncRun.objects.count() == 1


def test_what_takes_no_right_away_queues_nothing(ann: User) -> None:
    ann.first_name = "Ann"
    ann.save()
    get_user_model().objects.create_user("bob").delete()
    ann.groups.add(Group.objects.create(name="more"))
    assert not SyncRun.objects.exists()


def test_a_login_costs_no_check(ann: User) -> None:
    ann.last_login = timezone.now()
    with CaptureQueriesContext(connection) as queries:
        ann.save(update_fields=["last_login"])
    assert len(queries) == 1


def test_a_change_that_is_rolled_back_queues_nothing(ann: User) -> None:
    with transaction.atomic():
        deactivate(ann)
        transaction.set_rollback(True)
    assert not SyncRun.objects.exists()
    assert GhostUser.objects.get().wanted == "active"


def test_a_broken_queue_does_not_break_the_change(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("the queue is away")

    monkeypatch.setattr("syncs.tasks.async_task", broken)
    deactivate(ann)
    assert not User.objects.get(pk=ann.pk).is_active
    assert GhostUser.objects.get().wanted == "active"
