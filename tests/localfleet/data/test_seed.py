from __future__ import annotations

import pytest
from psycopg.errors import UndefinedTable

from localfleet.data.seed import seed, shared_email
from localfleet.servers.server import Server
from tests.instances import InstanceFleet


def _servers(fleet: InstanceFleet) -> dict[int, Server]:
    return {instance.id: instance.server for instance in fleet.instances}


@pytest.fixture(scope="module")
def seeded(_instances: InstanceFleet) -> InstanceFleet:
    """Seeded once for the tests that only look; those that change rows come after them."""
    for instance in _instances.instances:
        instance.reset()
    assert seed(_servers(_instances))
    return _instances


def _total(fleet: InstanceFleet, query: str) -> int:
    return sum(instance.execute(query)[0][0] for instance in fleet.instances)


def test_fleet_is_of_believable_size(seeded: InstanceFleet) -> None:
    assert _total(seeded, "SELECT count(*) FROM tenants") >= 60
    assert _total(seeded, "SELECT count(*) FROM users") >= 20_000
    assert _total(seeded, "SELECT count(*) FROM locations") >= 100


def test_directory_names_every_user(seeded: InstanceFleet) -> None:
    for instance in seeded.instances:
        users = instance.execute("SELECT id, tenant_id, email, name, status FROM users ORDER BY id")
        entries = seeded.master.execute(
            "SELECT user_id, tenant_id, email, user_name, status FROM user_email_routing "
            "WHERE rds_instance_id IS NOT DISTINCT FROM %s ORDER BY user_id",
            [None if instance.is_master else instance.id],
        )
        assert entries == users


def test_every_instance_has_each_kind_of_tenant(seeded: InstanceFleet) -> None:
    kinds = "SELECT array_agg(DISTINCT status ORDER BY status) FROM tenants"
    ending = (
        "SELECT count(*) FROM tenants WHERE status = 'trial'"
        " AND trial_ends_at BETWEEN now() AND now() + interval '3 days'"
    )
    for instance in seeded.instances:
        assert instance.execute(kinds) == [(["active", "cancelled", "suspended", "trial"],)]
        assert instance.execute(ending) == [(2,)]


def test_some_people_have_an_account_on_every_instance(seeded: InstanceFleet) -> None:
    email = shared_email(_servers(seeded))
    for instance in seeded.instances:
        found = instance.execute("SELECT count(*) FROM users WHERE lower(email) = %s", [email])
        assert found == [(1,)]


def test_addresses_are_plain_and_belong_to_example_domains(seeded: InstanceFleet) -> None:
    strange = (
        r"SELECT count(*) FROM users WHERE lower(email) !~ "
        r"'^[a-z0-9.]+@[a-z-]+\.example\.(com|org|net)$'"
    )
    names = "SELECT count(*) FROM users WHERE name ~ '[{},\n]' OR name !~ ' '"
    assert _total(seeded, strange) == 0
    assert _total(seeded, names) == 0


def test_people_differ_in_state_and_spelling(seeded: InstanceFleet) -> None:
    for instance in seeded.instances:
        for condition in ("status = 'Inactive'", "last_login_at IS NULL", "email <> lower(email)"):
            found = instance.execute(f"SELECT count(*) FROM users WHERE {condition}")[0][0]
            assert 100 < found < 3_000, condition


def test_nothing_happened_in_the_future_or_before_the_tenant(seeded: InstanceFleet) -> None:
    wrong = (
        "SELECT count(*) FROM users JOIN tenants ON tenants.id = tenant_id WHERE"
        " users.created_at < tenants.created_at"
        " OR greatest(last_login_at, users.updated_at) > now()"
        " OR last_login_at < users.created_at OR tenants.created_at > now()"
    )
    assert _total(seeded, wrong) == 0


def test_only_an_empty_fleet_is_seeded(seeded: InstanceFleet) -> None:
    seeded[2].execute("DELETE FROM users WHERE id = 7")
    assert not seed(_servers(seeded))
    assert seeded[2].execute("SELECT count(*) FROM users WHERE id = 7") == [(0,)]


@pytest.mark.parametrize(("number", "table"), [(1, "user_email_routing"), (3, "locations")])
def test_interrupted_seed_is_finished(fleet: InstanceFleet, number: int, table: str) -> None:
    fleet[number].execute(f"ALTER TABLE {table} RENAME TO away")
    with pytest.raises(UndefinedTable, match=table):
        seed(_servers(fleet))
    fleet[number].execute(f"ALTER TABLE away RENAME TO {table}")
    assert seed(_servers(fleet))
    users = [instance.execute("SELECT count(*) FROM users")[0][0] for instance in fleet.instances]
    assert min(users) > 7_000
    assert fleet.master.execute("SELECT count(*) FROM user_email_routing") == [(sum(users),)]
    assert shared_email(_servers(fleet)) != "nobody@example.com"


def test_same_fleet_appears_again(fleet: InstanceFleet) -> None:
    query = (
        "SELECT md5(string_agg(row(id, email, tenant_id, name)::text, '' ORDER BY id)) FROM users"
    )
    seed(_servers(fleet))
    first = [instance.execute(query) for instance in fleet.instances]
    for instance in fleet.instances:
        instance.reset()
    seed(_servers(fleet))
    assert [instance.execute(query) for instance in fleet.instances] == first
    assert first[0] != first[1]
