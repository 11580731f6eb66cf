"""A database that was lost: a new one takes over its ghost users, if nobody else has them."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from activity.models import Activity
from common.errors import UsageError
from syncs.models import RunState
from tenants.ghosts import adoption
from tenants.ghosts.adoption import AdoptionRefused
from tenants.models import GhostUser, Installation
from tenants.models.installation import installation_id
from tests.caches import everything, run_sync
from tests.instances import Instance, InstanceFleet

REASON = "the database was lost"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adoption, "WATCH", 0.2)


def admin(name: str) -> User:
    return get_user_model().objects.create_superuser(name)


def states(instance: Instance) -> dict[str, str]:
    return dict(instance.execute("SELECT rainbo_admin_id, status FROM users WHERE is_ghost_admin"))


@pytest.fixture
def lost(registered: InstanceFleet) -> str:
    """The id of an installation that had ann and bob, and whose database is gone."""
    ann, bob = admin("ann"), admin("bob")
    run_sync("ghost_users")
    former = installation_id()
    GhostUser.objects.all().delete()
    Installation.objects.all().delete()
    User.objects.filter(pk__in=(ann.pk, bob.pk)).delete()
    assert installation_id() != former
    return former


def test_export_and_adopt_bring_leavers_ghosts_back(
    registered: InstanceFleet, lost: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without it, nothing ever deactivates them."""
    new = admin("zoe")
    run_sync("ghost_users")
    assert set(states(registered[2]).values()) == {"Active"}, "the others' are left alone"
    User.objects.filter(pk=new.pk).update(is_active=False)
    run_sync("ghost_users")
    own = installation_id()
    exported = json.dumps({"installation": lost, "exported_at": "2026-11-30T12:00:00+00:00"})
    call_command("installation", "adopt", exported, reason=REASON)
    said = capsys.readouterr()
    assert f"This is installation {lost} now: 6 ghost users on 3 instances" in said.out
    assert installation_id() == lost
    entry = Activity.objects.get(action="installation.adopted")
    assert (entry.actor, entry.before) == ("command line", {"installation": own})
    assert entry.after == {"installation": lost, "ghost users": 6, "reason": REASON}
    run = run_sync("ghost_users")
    assert run.state == RunState.SUCCEEDED, everything(run)
    assert set(states(registered[2]).values()) == {"Inactive"}
    call_command("installation", "export")
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["installation"] == lost


def test_a_person_of_the_same_number_is_named_first(
    registered: InstanceFleet, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a ghost user that was bob's would be eve's. Said before anybody waits for minutes."""
    number = max(map(int, states(registered[1])))
    eve = get_user_model().objects.create_user("eve", id=number)
    monkeypatch.setattr(adoption, "WATCH", 3600.0)
    refused = rf"the numbers of {number} \(eve\) here.*--take-over {number}$"
    with pytest.raises(AdoptionRefused, match=refused):
        adoption.adopt(lost, REASON)
    assert installation_id() != lost
    monkeypatch.setattr(adoption, "WATCH", 0.2)
    adoption.adopt(lost, REASON, [eve.pk])
    assert installation_id() == lost


def test_people_who_are_added_later_get_other_numbers(registered: InstanceFleet, lost: str) -> None:
    numbers = {int(key) for key in states(registered[1])}
    User.objects.all().delete()
    from django.db import connection

    with connection.cursor() as cursor:  # as in a new database
        cursor.execute("ALTER SEQUENCE auth_user_id_seq RESTART")
    adoption.adopt(lost, REASON)
    assert admin("zoe").pk > max(numbers)


def test_while_a_rainbo_works_there_nothing_is_adopted(
    registered: InstanceFleet, lost: str
) -> None:
    session = {"application_name": "rainbo/instance_health/7"}
    with (
        registered[2].connect_as_rainbo(**session),
        pytest.raises(AdoptionRefused, match=r"rainbo/instance_health/7 from 127\S+ on instance 2"),
    ):
        adoption.adopt(lost, REASON)
    assert installation_id() != lost


def test_own_ghost_users_are_not_left_behind(registered: InstanceFleet, lost: str) -> None:
    admin("zoe")
    run_sync("ghost_users")
    with pytest.raises(AdoptionRefused, match="3 ghost users of its own"):
        adoption.adopt(lost, REASON)
    assert installation_id() != lost


def test_an_id_that_no_ghost_user_carries_is_refused(registered: InstanceFleet, lost: str) -> None:
    with pytest.raises(AdoptionRefused, match="no ghost user with that id"):
        adoption.adopt("0" * 32, REASON)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (("adopt", "x"), "32 characters"),
        (("adopt", "0" * 32), "give a reason"),
        (("adopt", "{}", "--reason=r"), "not what export printed"),
        (("separate",), "give a reason"),
        (("separate", "--reason=r", "--first-number=0"), "is not a number"),
    ],
)
@pytest.mark.django_db
def test_what_is_missing_is_said(given: tuple[str, ...], error: str) -> None:
    with pytest.raises((UsageError, CommandError), match=error):
        call_command("installation", *given)
    with pytest.raises(UsageError, match="already"):
        adoption.adopt(installation_id(), "r")


def test_a_copy_becomes_an_installation_of_its_own(registered: InstanceFleet) -> None:
    """Staging that was restored from production's backup leaves production's ghost users alone."""
    admin("ann")
    run_sync("ghost_users")
    production = installation_id()
    before = registered[1].execute("SELECT xmin::text, * FROM users ORDER BY id")
    call_command("installation", "separate", reason="staging", first_number=1_000_001)
    assert installation_id() != production
    assert not GhostUser.objects.exists()
    assert admin("new").pk == 1_000_001
    User.objects.exclude(username="new").update(is_active=False)
    run_sync("ghost_users")
    there = registered[1].execute("SELECT xmin::text, * FROM users ORDER BY id")
    assert there[: len(before)] == before
    assert len(there) == len(before) + 1
    entry = Activity.objects.get(action="installation.separated")
    assert entry.before == {"installation": production}
