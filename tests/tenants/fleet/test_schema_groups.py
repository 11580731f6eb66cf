"""Instances of several schemas in one fleet, each read by the SQL files of its group."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from pytest_django import Settings

from common.errors import UsageError
from syncs.errors import WrongIdentity
from syncs.models import RunState, TargetState
from tenants.find import live_lookup, lookup
from tenants.fleet import targets
from tenants.models import RdsInstance, Tenant
from tenants.summaries import live_tenant
from tests.caches import part, run_sync
from tests.instances import InstanceFleet

SUMMARIES = """
    SELECT n AS id, title AS name, 'active' AS status, NULL::text AS primary_contact_name,
           NULL::text AS primary_contact_email, NULL::timestamptz AS trial_ends_at,
           NULL::timestamptz AS subscription_started_at, people AS user_count,
           NULL::bigint AS location_count, NULL::timestamptz AS last_activity_at
      FROM {}.customers"""
USERS = """
    SELECT n AS id, title || '@example.com' AS email, n AS tenant_id, title AS name,
           'Active' AS status, NULL::timestamptz AS last_login_at
      FROM {}.customers"""


@pytest.fixture
def files(settings: Settings, tmp_path: Path) -> Path:
    settings.RAINBO_SOURCE_SQL = tmp_path
    return tmp_path


def add_group(files: Path, name: str, schema: str) -> None:
    (files / name).mkdir()
    (files / name / "sync_tenant_summaries.sql").write_text(SUMMARIES.format(schema))
    (files / name / "find_user.sql").write_text(USERS.format(schema))


def make_schema(fleet: InstanceFleet, number: int, schema: str, *titles: str) -> None:
    fleet[number].execute(
        f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.customers (n bigint, title text, "
        f"people bigint); GRANT USAGE ON SCHEMA {schema} TO rainbo; "
        f"GRANT SELECT ON {schema}.customers TO rainbo"
    )
    for n, title in enumerate(titles, 1):
        fleet[number].execute(f"INSERT INTO {schema}.customers VALUES (%s, %s, 7)", [n, title])


def names(instance: int) -> list[str]:
    rows = Tenant.objects.filter(instance_id=instance, vanished_at=None)
    return sorted(rows.values_list("name", flat=True))


def test_each_instance_is_read_by_the_files_of_its_group(
    registered: InstanceFleet, files: Path
) -> None:
    add_group(files, "v2", "v2")
    make_schema(registered, 2, "v2", "acme", "globex")
    registered[3].add_tenant(1, "old")
    call_command("add_instance", "--update", "--id=2", "--schema-group=v2")
    assert run_sync("tenant_summaries").state == RunState.SUCCEEDED
    assert (names(2), names(3)) == (["acme", "globex"], ["old"])
    live = live_tenant.read(Tenant.objects.get(instance_id=2, name="acme"))
    assert live.row is not None
    assert live.row["user_count"] == 7


def test_a_live_look_up_uses_them_too(registered: InstanceFleet, files: Path) -> None:
    add_group(files, "v2", "v2")
    make_schema(registered, 2, "v2", "acme")
    registered.master.add_route(1, "acme@example.com", 1, 2, user_id=1)
    run_sync("user_routing")
    RdsInstance.objects.filter(pk=2).update(schema_group="v2")
    found = live_lookup.ask(lookup.find("acme@example.com"))
    assert [user.user_name for user in found.instances["2"].rows] == ["acme"]


def test_a_new_group_is_read_in_full(registered: InstanceFleet, files: Path) -> None:
    registered.master.add_route(1, "a@example.com")
    run_sync("user_routing")
    (files / "directory").mkdir()
    (files / "directory" / "sync_user_routing.sql").write_text(
        "SELECT id, 'new-' || email AS email, tenant_id, rds_instance_id, user_id, user_name, "
        "status, updated_at FROM user_email_routing"
    )
    RdsInstance.objects.filter(pk=1).update(schema_group="directory")
    run = run_sync("user_routing")
    assert run.state == RunState.SUCCEEDED
    assert "sync_user_routing.sql changed" in " ".join(line.message for line in run.log.all())
    assert lookup.find("new-a@example.com").shown


def test_a_group_whose_folder_is_gone_fails_its_instances_alone(
    registered: InstanceFleet, files: Path
) -> None:
    add_group(files, "v2", "v2")
    RdsInstance.objects.filter(pk=2).update(schema_group="v2")
    shutil.rmtree(files / "v2")
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert "schema group v2 has no folder" in part(run, 2).error
    assert part(run, 3).state == TargetState.SUCCEEDED


def test_an_unknown_group_is_refused(registered: InstanceFleet, files: Path) -> None:
    for name in ("v3", "../v2", "."):
        with pytest.raises(UsageError, match="has no folder in RAINBO_SOURCE_SQL"):
            call_command("add_instance", "--update", "--id=2", f"--schema-group={name}")
    assert RdsInstance.objects.get(pk=2).schema_group == ""


def test_two_schemas_of_one_database_are_two_instances(
    registered: InstanceFleet, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for schema, title in (("east", "acme"), ("west", "globex")):
        add_group(files, schema, schema)
        make_schema(registered, 2, schema, title)
    monkeypatch.setenv("SECRET", registered[2].rainbo_password)
    call_command("add_instance", "--update", "--id=2", "--schema-group=east")
    settings = ("--host=127.0.0.1", "--database=app", "--user=rainbo", "--ssl-mode=disable")
    port = f"--port={registered[2].port}"
    with pytest.raises(WrongIdentity, match="give them schema groups"):
        call_command(
            *("add_instance", "--id=5", "--name=twin", *settings, port, "--password-env=SECRET"),
            "--schema-group=east",
        )
    call_command(
        *("add_instance", "--id=5", "--name=west", *settings, port, "--password-env=SECRET"),
        "--schema-group=west",
    )
    run = run_sync("tenant_summaries", targets=("2", "5"))
    assert run.state == RunState.SUCCEEDED
    assert (names(2), names(5)) == (["acme"], ["globex"])


def test_a_master_may_have_no_tenants(registered: InstanceFleet) -> None:
    registered.master.execute("DROP TABLE tenants, locations")
    call_command("add_instance", "--update", "--id=1", "--no-tenants")
    run = run_sync("tenant_summaries")
    assert run.state == RunState.SUCCEEDED
    assert [target.key for target in targets.tenant_targets()] == ["2", "3"]
    assert sorted(run.targets.values_list("target", flat=True)) == ["2", "3"]
    named = run_sync("tenant_summaries", targets=("1",))
    assert named.state == RunState.FAILED
    assert named.error == "instance 1 (rds1): no tenants there, by its settings"


def test_ghosts_are_written_by_the_statement_of_the_group(
    registered: InstanceFleet, files: Path
) -> None:
    User.objects.create_superuser("ann")
    (files / "other").mkdir()
    mine = "SELECT '9'::text, '7'::text, 'foreign'::text, NULL::text"
    (files / "other" / "sync_ghost_users.sql").write_text(mine)
    RdsInstance.objects.filter(pk=2).update(schema_group="other")
    assert run_sync("ghost_users").state == RunState.SUCCEEDED
    made = [at.execute("SELECT count(*) FROM users")[0][0] for at in registered.instances]
    assert made == [1, 0, 1]
