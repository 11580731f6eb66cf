"""The four roles: what they are given, and that nobody's changes are overruled."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client

from rainbo.auth.roles import CONSOLE, ROLES, after_migrate
from rainbo.models import RoleGrant
from tests.rows import staff

pytestmark = pytest.mark.django_db

SECRET_OR_PLAN = {
    "syncs.add_syncschedule",
    "syncs.change_syncschedule",
    "syncs.delete_syncschedule",
    "syncs.accept_held",
    "tenants.add_rdsinstance",
    "tenants.change_rdsinstance",
    "tenants.delete_rdsinstance",
}


def held(role: str) -> set[str]:
    rows = Group.objects.get(name=role).permissions.all()
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def verb(permission: str) -> str:
    return permission.partition(".")[2].partition("_")[0]


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_what_is_declared(role: str) -> None:
    assert held(role) == set(ROLES[role])


def test_support_runs_and_enters_but_leaves_credentials_plans_and_people_alone() -> None:
    support = held("support_admin")
    assert support >= {"syncs.run_sync", "tenants.check_instance", "tenants.impersonate"}
    assert not support & SECRET_OR_PLAN
    assert not {name for name in support if name.startswith("auth.")}


def test_who_may_read_only_may_look_and_no_more() -> None:
    assert {verb(name) for name in held("read_only")} == {"view"}


def test_billing_sees_no_ghost_no_server_and_no_colleague() -> None:
    assert held("billing_admin") == {
        "tenants.export_tenant",
        "tenants.view_tenant",
        "tenants.view_userroute",
        "syncs.view_syncrun",
    }


def test_the_system_admin_holds_every_permission_that_the_console_asks_for() -> None:
    assert held("system_admin") > held("support_admin") | SECRET_OR_PLAN
    assert {"auth.change_user", "auth.change_group"} <= held("system_admin")


def test_every_permission_of_our_own_is_given_to_some_role() -> None:
    own = Permission.objects.filter(content_type__app_label__in=CONSOLE).exclude(
        codename__regex="^(add|change|delete|view)_"
    )
    given = {name for names in ROLES.values() for name in names}
    assert {f"{row.content_type.app_label}.{row.codename}" for row in own} <= given


def test_a_second_migrate_changes_nothing() -> None:
    before = {role: held(role) for role in ROLES}
    call_command("migrate", verbosity=0)
    assert {role: held(role) for role in ROLES} == before


def test_what_people_change_of_a_group_stays() -> None:
    support = Group.objects.get(name="support_admin")
    support.permissions.remove(Permission.objects.get(codename="impersonate"))
    support.permissions.add(Permission.objects.get(codename="accept_held"))
    after_migrate("default")
    assert "tenants.impersonate" not in held("support_admin")
    assert "syncs.accept_held" in held("support_admin")


def test_a_group_that_people_renamed_or_deleted_does_not_come_back() -> None:
    Group.objects.filter(name="billing_admin").update(name="finance")
    Group.objects.filter(name="read_only").delete()
    after_migrate("default")
    assert not Group.objects.filter(name__in=["billing_admin", "read_only"]).exists()


def test_a_permission_that_arrives_later_is_given_once() -> None:
    RoleGrant.objects.filter(permission="syncs.accept_held").delete()
    group = Group.objects.get(name="system_admin")
    group.permissions.remove(Permission.objects.get(codename="accept_held"))
    after_migrate("default")
    assert "syncs.accept_held" in held("system_admin")


def test_a_member_sees_the_pages_of_the_role(client: Client) -> None:
    user = staff("bill")
    user.groups.add(Group.objects.get(name="billing_admin"))
    client.force_login(user)
    assert client.get("/admin/tenants/tenant/").status_code == 200
    assert client.get("/admin/tenants/rdsinstance/").status_code == 403
