"""What a run holds, by tenant: on its page, in its file and in the API."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.test import Client

from syncs.admin import held_tenants
from syncs.models import HeldChange, RunState, RunTarget, SyncRun, TargetState
from tenants.models import Tenant
from tests.api.clients import client as api_client
from tests.api.clients import token
from tests.caches import part, run_sync
from tests.instances import Instance, InstanceFleet
from tests.pages import text_of
from tests.rows import ended_run, run_part

Place = tuple[int | None, str]  # instance and tenant, as the directory names them
NONE: dict[str, Any] = {"largest": [], "others": 0, "changes": 0}


def hold_removal(master: Instance, places: Mapping[Place, int]) -> SyncRun:
    """A run that holds the removal of so many routes of each; one of tenant 1 stays."""
    add(master, {(None, "1"): 1} | dict(places))
    assert run_sync("user_routing").state == RunState.SUCCEEDED
    master.execute("DELETE FROM user_email_routing WHERE tenant_id <> 1")
    run = run_sync("user_routing")
    assert run.state == RunState.HELD, run.error
    return run


def add(master: Instance, places: Mapping[Place, int]) -> None:
    last = 0
    for (instance, tenant), routes in places.items():
        master.execute(
            "INSERT INTO user_email_routing (id, email, tenant_id, rds_instance_id, user_id) "
            "SELECT n, 'user' || n || '@example.com', %s, %s, n "
            "FROM generate_series(%s::int, %s) AS n",
            [tenant, instance, last + 1, last + routes],
        )
        last += routes


def page(client: Client, run: SyncRun) -> str:
    return text_of(client.get(f"/admin/syncs/syncrun/{run.pk}/change/"))


def file_of(client: Client, run: SyncRun) -> list[list[str]]:
    answer: Any = client.post(f"/admin/syncs/syncrun/{run.pk}/held/")
    return list(csv.reader(b"".join(answer).decode("utf-8-sig").splitlines()))


def by_tenant(client: Client, run: SyncRun) -> list[tuple[str, str]]:
    """Instance and tenant of each row of the table, from above."""
    shown = client.get(f"/admin/syncs/syncrun/{run.pk}/change/").content.decode()
    return re.findall(r'<tr data-key="([^"/]+)/([^"]+)">', shown)


def test_the_tenants_that_lose_most_come_first(master: Instance, admin_client: Client) -> None:
    places: dict[Place, int] = {(3, "9"): 12, (2, "10"): 12, (2, "9"): 12, (None, "7"): 30}
    run = hold_removal(master, places)
    assert part(run).held_tenants == NONE | {
        "largest": [
            ["1", "7", {"removed": 30}],
            ["2", "9", {"removed": 12}],
            ["2", "10", {"removed": 12}],
            ["3", "9", {"removed": 12}],
        ]
    }
    expected = [("1", "7"), ("2", "9"), ("2", "10"), ("3", "9")]
    assert by_tenant(admin_client, run) == expected
    counted = HeldChange.objects.filter(run=run, tenant_instance="2", tenant="10").count()
    assert counted == 12
    assert held_tenants.OF_MOVES not in page(admin_client, run)


def test_of_many_tenants_the_others_are_counted(master: Instance, admin_client: Client) -> None:
    run = hold_removal(master, {(2, str(100 + n)): n for n in range(1, 61)})
    shown = page(admin_client, run)
    assert len(by_tenant(admin_client, run)) == 50
    assert "tenant 160 instance 2 (" in shown
    assert "remove 60" in shown
    assert "… and 10 more tenants with 55 changes." in shown
    assert "I have checked what this does: remove 1,830" in shown


def test_a_move_counts_for_the_tenant_that_loses_it(master: Instance, admin_client: Client) -> None:
    add(master, {(None, "1"): 1, (2, "7"): 30})
    run_sync("user_routing")
    master.execute(
        "UPDATE user_email_routing SET tenant_id = 8, rds_instance_id = 3 WHERE tenant_id = 7"
    )
    run = run_sync("user_routing")
    kinds = {"moved": 30, "changed": 30}
    assert part(run).held_tenants == NONE | {"largest": [["2", "7", kinds]]}
    moved = HeldChange.objects.filter(run=run, kind="moved").first()
    assert moved
    assert (moved.tenant_instance, moved.tenant) == ("2", "7")
    assert moved.detail.endswith(": instance 2 tenant 7 → instance 3 tenant 8")
    assert held_tenants.OF_MOVES in page(admin_client, run)


def test_an_acceptance_covers_what_is_held_of_tenants(master: Instance) -> None:
    run = hold_removal(master, {(2, "7"): 30})
    assert run_sync("user_routing", accept_held=run.pk, reason="left").state == RunState.SUCCEEDED


def vanished(fleet: InstanceFleet) -> SyncRun:
    for instance in fleet.instances:
        for tenant in range(1, 13):
            instance.add_tenant(tenant)
    run_sync("tenant_summaries")
    for number in (2, 3):
        fleet[number].execute("DELETE FROM tenants WHERE id > 8")
    run = run_sync("tenant_summaries")
    assert {part(run, number).state for number in (2, 3)} == {TargetState.HELD}
    return run


def test_tenants_that_vanish_are_named_with_their_pages(
    registered: InstanceFleet, admin_client: Client
) -> None:
    run = vanished(registered)
    expected = [(instance, str(tenant)) for instance in "23" for tenant in range(9, 13)]
    assert by_tenant(admin_client, run) == expected
    tenant = Tenant.objects.get(instance_id=2, remote_id="10")
    shown = admin_client.get(f"/admin/syncs/syncrun/{run.pk}/change/").content.decode()
    name = f"<bdi>{tenant.name} (tenant 10)</bdi>"
    assert f'href="/admin/tenants/tenant/{tenant.pk}/change/">{name}</a>' in shown
    assert shown.count('href="/admin/tenants/rdsinstance/2/change/"') >= 4
    assert {(row[-2], row[-1]) for row in file_of(admin_client, run)[1:]} == {*expected}


def test_names_of_tenants_take_their_permission(
    registered: InstanceFleet, client: Client, person: Callable[..., User]
) -> None:
    run = vanished(registered)
    person("view_syncrun")
    assert ("2", "10") in by_tenant(client, run)
    shown = client.get(f"/admin/syncs/syncrun/{run.pk}/change/").content.decode()
    assert "<bdi>tenant 10</bdi>" in shown
    assert (
        "/admin/tenants/" not in shown.partition('id="run-held-tenants"')[2].partition("<form")[0]
    )
    person("view_syncrun", "view_tenant", name="bob")
    assert "(tenant 10)" in page(client, run)


def test_of_what_was_held_before_they_were_stored_the_tenants_are_unknown(
    master: Instance, admin_client: Client
) -> None:
    run = hold_removal(master, {(2, "7"): 30})
    RunTarget.objects.update(held_tenants=None)
    HeldChange.objects.update(tenant_instance=None, tenant=None)
    assert held_tenants.UNKNOWN in page(admin_client, run)
    header, first, *_ = file_of(admin_client, run)
    assert (header[-2:], first[-2:]) == (["instance of the tenant", "tenant"], ["unknown"] * 2)
    line = held_lines(run)[0]
    assert (line["tenant_instance"], line["tenant"]) == (None, None)


def test_what_is_about_no_tenant_has_none(db: None, admin_client: Client) -> None:
    """Such as another table behind a name of the query."""
    run = ended_run("user_routing", RunState.HELD)
    run_part(run, state=TargetState.HELD, held_counts={"moved": 1}, held_tenants=NONE)
    run.held_changes.create(target="1", kind="moved", source_id="tables", detail="public.a → b.a")
    assert "by tenant" not in page(admin_client, run)
    assert file_of(admin_client, run)[1][-2:] == ["", ""]
    RunTarget.objects.update(held_tenants=None)
    SyncRun.objects.update(sync="ghost_users")
    assert "by tenant" not in page(admin_client, run)
    assert file_of(admin_client, run)[1][-2:] == ["", ""]


def test_the_api_names_the_tenant_of_each_change(master: Instance) -> None:
    run = hold_removal(master, {(2, "7"): 30})
    lines = held_lines(run)
    assert {(line["tenant_instance"], line["tenant"]) for line in lines} == {("2", "7")}


def held_lines(run: SyncRun) -> list[dict[str, Any]]:
    asking = api_client(secret=token("people:find"))
    lines: list[dict[str, Any]] = asking.get(f"/api/v1/runs/{run.pk}/held").json()["changes"]
    return lines
