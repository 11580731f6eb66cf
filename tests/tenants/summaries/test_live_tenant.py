"""A tenant read live from its instance, compared with what is cached of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from activity.models import Activity
from tenants.fleet import contract
from tenants.fleet.live_limit import live_slot
from tenants.models import RdsInstance, Tenant
from tenants.summaries import live_tenant
from tests.caches import register, run_sync
from tests.instances import Instance, InstanceFleet
from tests.pages import text_of

ENDS = datetime(2036, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def there(registered: InstanceFleet) -> Instance:
    """An instance whose tenant 17 has just been synced; others are next to it."""
    one = registered[2]
    contact = {"primary_contact_name": "Bob", "primary_contact_email": "bob@example.com"}
    one.add_tenant(17, "Acme", status="trial", trial_ends_at=ENDS, **contact)
    one.add_tenant(18, "Other")
    for number in range(3):
        one.add_user(number, 17, f"u{number}@example.com", status="Active")
    one.add_user(7, 18, "other@example.com", status="Active")
    one.add_location(1, 17)
    run_sync("tenant_summaries")
    return one


def cached(remote_id: str = "17") -> Tenant:
    return Tenant.objects.select_related("instance").get(instance=2, remote_id=remote_id)


def ask(client: Client) -> str:
    return text_of(client.post(f"/admin/tenants/tenant/{cached().pk}/live/"))


def found() -> str:
    after = Activity.objects.get(action="tenant.read_live").after
    return str((after or {}).get("found"))


def test_the_same_is_said_to_be_the_same(there: Instance, admin_client: Client) -> None:
    shown = ask(admin_client)
    assert "All 9 fields are as they are there" in shown
    assert "active users 3 3 same" in shown
    assert "differs" not in shown
    assert found() == "same"


def test_few_may_wait_for_servers_at_once(there: Instance, admin_client: Client) -> None:
    with live_slot(), live_slot():
        assert "nothing was queried, try again" in ask(admin_client)
        admin_client.post("/admin/tenants/rdsinstance/2/test-connection/")
        page = admin_client.get("/admin/tenants/rdsinstance/2/change/")
    assert "nothing was queried, try again" in text_of(page)
    assert not Activity.objects.filter(subject_kind__startswith="tenants").exists()
    assert "All 9 fields are as they are there" in ask(admin_client)


def test_each_field_that_differs_is_marked(there: Instance, admin_client: Client) -> None:
    there.execute("UPDATE tenants SET status = 'active', trial_ends_at = NULL WHERE id = 17")
    there.execute("DELETE FROM locations")
    shown = ask(admin_client)
    assert "3 of 9 fields differ: the next sync brings what is there" in shown
    assert "status trial active differs" in shown
    assert "no trial differs" in shown
    assert "locations 1 0 differs" in shown
    assert "name Acme Acme same" in shown
    assert found() == "differs in status, trial_ends_at, location_count"
    assert cached().status == "trial"


def test_what_is_gone_there_is_said(there: Instance, admin_client: Client) -> None:
    there.execute("DELETE FROM tenants WHERE id = 17")
    shown = ask(admin_client)
    assert "instance 2 (rds2) has no tenant 17 now: the next sync marks it as vanished" in shown
    assert "name Acme" in shown
    assert cached().vanished_at is None


def test_what_vanished_and_is_there_again_is_said(there: Instance, admin_client: Client) -> None:
    there.execute("DELETE FROM tenants WHERE id = 17")
    run_sync("tenant_summaries")
    assert "has no tenant 17 now, as the cache has it" in ask(admin_client)
    there.add_tenant(17, "Acme")
    assert "has it again: the next sync brings it back" in ask(admin_client)


def test_an_instance_that_is_down_leaves_the_cache(there: Instance, admin_client: Client) -> None:
    there.server.stop()
    shown = ask(admin_client)
    assert "no answer" in shown
    assert "refused the connection" in shown
    assert "The page shows the cache" in shown
    assert "name Acme" in shown
    assert there.rainbo_password not in shown
    assert "refused the connection" in found()


def test_a_missing_column_is_named(there: Instance, admin_client: Client) -> None:
    there.execute("ALTER TABLE tenants DROP COLUMN trial_ends_at")
    assert "trial_ends_at" in ask(admin_client)
    assert "trial_ends_at" in found()


def test_a_missing_right_is_named(there: Instance, admin_client: Client) -> None:
    there.execute("REVOKE SELECT ON locations FROM rainbo")
    assert "check_fleet --rds 2 prints the statements" in ask(admin_client)


def test_a_slow_instance_ends_at_its_deadline(
    there: Instance, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.execute("ALTER TABLE locations RENAME TO places")
    there.execute(
        "CREATE VIEW locations AS SELECT places.* FROM places, pg_sleep(30); "
        "GRANT SELECT ON locations TO rainbo"
    )
    monkeypatch.setattr(live_tenant, "LIMIT", 1.0)
    began = time.monotonic()
    assert "did not finish within 1 s and was stopped" in ask(admin_client)
    assert time.monotonic() - began < 5


def test_a_server_that_never_answers_ends_at_its_deadline(
    there: Instance, black_hole: tuple[str, int]
) -> None:
    host, port = black_hole
    RdsInstance.objects.filter(pk=2).update(host=host, port=port)
    row = RdsInstance.objects.get(pk=2)
    row.set_password("x")
    row.save()
    began = time.monotonic()
    live = live_tenant.read(cached(), limit=0.5)
    assert "did not finish within 0.5 s" in live.error
    assert time.monotonic() - began < 5


def test_another_server_under_its_address_is_refused(
    there: Instance, registered: InstanceFleet, admin_client: Client
) -> None:
    other = registered[3]
    row = RdsInstance.objects.get(pk=2)
    row.host, row.port = other.host, other.port
    row.set_password(other.rainbo_password)
    row.save()
    shown = ask(admin_client)
    assert "no answer" in shown
    assert "same" not in shown.partition("Cached")[2].partition("field cached")[0]


def test_one_tenant_is_looked_up_by_its_index(there: Instance) -> None:
    """What one look-up costs does not grow with the tenants and users of an instance."""
    there.execute(
        "INSERT INTO tenants (id, name, status) SELECT n, 'x', 'active' "
        "FROM generate_series(100, 20000) AS n"
    )
    there.execute(
        "INSERT INTO users (id, tenant_id, email) SELECT n, n % 19000 + 100, n || '@x.de' "
        "FROM generate_series(100, 60000) AS n"
    )
    there.execute("CREATE INDEX ON users (tenant_id); ANALYZE")
    before = rows_read(there)
    assert not live_tenant.read(cached()).error
    assert rows_read(there) - before < 2000


def rows_read(instance: Instance) -> int:
    time.sleep(1.2)  # sessions that are idle report their counters after a second
    count: int = instance.execute(
        "SELECT pg_stat_force_next_flush(), (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) "
        "FROM pg_stat_user_tables WHERE relname IN ('tenants', 'users'))::bigint"
    )[0][1]
    return count


def test_ids_of_any_type_are_found(
    there: Instance, tmp_path: Any, settings: Any, admin_client: Client
) -> None:
    """By the id as the cache has it: not by what the id's type takes for equal."""
    there.execute(
        "CREATE VIEW odd AS SELECT *, CASE WHEN id = 18 THEN '017' ELSE id::text END AS code "
        "FROM tenants; GRANT SELECT ON odd TO rainbo"
    )
    own = contract.text("sync_tenant_summaries")
    own = own.replace("tenants.id, tenants.name", "tenants.code AS id, tenants.name")
    own = own.replace("FROM tenants\n", "FROM odd AS tenants -- 100 %\n")
    (tmp_path / "sync_tenant_summaries.sql").write_text(own)
    settings.RAINBO_SOURCE_SQL = tmp_path
    assert "All 9 fields" in ask(admin_client)
    row = cached()
    row.pk, row.remote_id = None, "017"
    row.save()
    live = live_tenant.read(cached("017"))
    assert live.row is not None
    assert live.row["name"] == "Other"


def test_text_in_no_encoding_is_read(extra_instance: Any, transactional_db: None) -> None:
    ascii_server = extra_instance(4, encoding="SQL_ASCII")
    register(ascii_server)
    ascii_server.add_tenant(1, "Ümläut")
    run_sync("tenant_summaries")
    tenant = Tenant.objects.select_related("instance").get()
    assert live_tenant.read(tenant).in_words(tenant) == "same"
