"""Looking after users and groups: what only superusers may, what is offered, what is recorded."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from activity.models import Activity
from tests.pages import text_of
from tests.rainbo.permissions import USER
from tests.rows import staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def keeper(client: Client) -> User:
    """Signed in: a system admin, who is no superuser."""
    user = staff("keeper")
    user.groups.set(Group.objects.filter(name="system_admin"))
    client.force_login(user)
    return user


def page(user: User, way: str = "change") -> str:
    return f"/admin/auth/user/{user.pk}/{way}/"


def save(client: Client, user: User, **fields: Any) -> Any:
    known = {"username": user.username, "is_staff": "on", "is_active": "on"}
    dates = {name: value for name, value in USER.items() if name.startswith("date_joined")}
    return client.post(page(user), known | dates | fields)


def test_a_system_admin_makes_no_superuser(client: Client, keeper: User) -> None:
    ann = staff("ann")
    assert save(client, ann, is_superuser="on", first_name="Ann").status_code == 302
    ann.refresh_from_db()
    assert (ann.first_name, ann.is_superuser) == ("Ann", False)


@pytest.mark.parametrize("way", ["change", "password", "delete"])
def test_a_superusers_account_is_a_superusers_business(
    client: Client, keeper: User, way: str
) -> None:
    root = staff("root", is_superuser=True)
    given = {"password1": "another one 1", "password2": "another one 1", "post": "yes"}
    assert client.post(page(root, way), USER | given).status_code == 403
    assert User.objects.get(username="root").password == root.password


def test_superusers_are_not_deleted_in_bulk_either(client: Client, keeper: User) -> None:
    root = staff("root", is_superuser=True)
    chosen = {"action": "delete_selected", "_selected_action": str(root.pk), "post": "yes"}
    assert client.post("/admin/auth/user/", chosen).status_code == 403
    assert User.objects.filter(username="root").exists()


def test_a_change_is_recorded_with_what_was_and_what_is(client: Client, keeper: User) -> None:
    ann, group = staff("ann"), Group.objects.get(name="read_only")
    save(client, ann, groups=[group.pk])
    entry = Activity.objects.get(action="user.changed")
    assert (entry.actor, entry.subject) == ("keeper", "ann")
    assert (entry.before, entry.after) == ({"groups": []}, {"groups": ["read_only"]})


@pytest.mark.parametrize("mine", [True, False])
def test_a_new_password_is_recorded_and_it_alone_is_not(
    client: Client, keeper: User, mine: bool
) -> None:
    ann = staff("ann", password="a first one 1")
    given = {"password1": "another one 1", "password2": "another one 1"}
    url = page(ann, "password")
    if mine:
        client.force_login(ann)
        url, given = "/admin/password_change/", {"old_password": "a first one 1"}
        given |= {"new_password1": "another one 1", "new_password2": "another one 1"}
    assert client.post(url, given | {"usable_password": "true"}).status_code == 302
    entry = Activity.objects.get(action="user.password_changed")
    assert (entry.actor, entry.subject) == ("ann" if mine else "keeper", "ann")
    assert "another one" not in f"{entry.before}{entry.after}"


def test_offered_is_what_the_console_asks_for(client: Client, keeper: User) -> None:
    shown = text_of(client.get("/admin/auth/group/add/"))
    assert "Can run and cancel syncs" in shown
    assert "log entry" not in shown
    assert "Can add session" not in shown


@pytest.mark.parametrize("where", ["user/", "user/add/", "group/"])
def test_pages_are_below_what_the_menu_calls_people(
    client: Client, keeper: User, where: str
) -> None:
    content = client.get(f"/admin/auth/{where}").content.decode()
    assert "People" in content
    assert "uthentication and" not in content


def test_saving_takes_nothing_away_that_was_given_elsewhere(client: Client, keeper: User) -> None:
    ann, rare = staff("ann"), Permission.objects.get(codename="view_logentry")
    ann.user_permissions.add(rare)
    assert "log entry" in text_of(client.get(page(ann)))
    save(client, ann, user_permissions=[rare.pk])
    assert list(ann.user_permissions.all()) == [rare]


def test_a_role_lets_its_people_sign_in(client: Client, keeper: User) -> None:
    """The form says what each role may, and single permissions come last."""
    ann = User.objects.create_user("ann", password="a first one 1")
    sign_in = {"username": "ann", "password": "a first one 1"}
    outside = Client()
    assert "your account has no role in RAINBO yet" in text_of(
        outside.post("/admin/login/", sign_in)
    )
    wrong = text_of(outside.post("/admin/login/", sign_in | {"password": "wrong"}))
    assert "no role" not in wrong
    shown = text_of(client.get(page(ann)))
    seen = "see tenants, routes and runs; find e-mails"
    assert f"read_only may {seen}; see instances, ghost users, schedules" in shown
    assert "support_admin may what read_only may; run, repeat and cancel syncs;" in shown
    assert f"billing_admin may {seen}; export tenants with their contacts" in shown
    assert shown.index("Access") < shown.index("Single permissions")
    assert "Staff status" not in shown
    role = Group.objects.get(name="read_only")
    assert save(client, ann, groups=[role.pk]).status_code == 302
    ann.refresh_from_db()
    assert (ann.is_staff, ann.is_superuser) == (True, False)
    entry = Activity.objects.get(action="user.changed")
    assert entry.after == {"groups": ["read_only"], "is_staff": True}
    assert outside.post("/admin/login/", sign_in).status_code == 302


def test_a_name_alone_lets_nobody_in(client: Client, keeper: User) -> None:
    ann = User.objects.create_user("ann")
    save(client, ann, first_name="Ann", is_staff="on")
    ann.refresh_from_db()
    assert (ann.first_name, ann.is_staff) == ("Ann", False)


def test_everyone_finds_their_own_second_factor_and_password(client: Client) -> None:
    client.force_login(staff("ann"))
    links = client.get("/admin/password_change/done/").content.decode()
    assert 'href="/admin/second-factor/"' in links
    assert 'href="/admin/password_change/"' in links
