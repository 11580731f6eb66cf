from __future__ import annotations

import psycopg
import pytest

from tests.instances import Instance, InstanceFleet


def _pristine(instance: Instance) -> None:
    assert instance.execute("SELECT count(*) FROM users") == [(0,)]
    with instance.connect_as_rainbo() as connection:
        connection.execute("SELECT id, email, status FROM users").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT password FROM users")


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO users (email) VALUES ('ann@example.com')",
        "ALTER TABLE users DROP COLUMN last_login_at",
        "ALTER TABLE users ALTER status TYPE varchar(20)",
        "DROP TABLE locations",
        "REVOKE SELECT ON tenants FROM rainbo",
        "GRANT SELECT ON users TO rainbo",
        "GRANT pg_read_all_data TO rainbo",
        "ALTER ROLE rainbo PASSWORD 'another'",
        "ALTER ROLE rainbo NOLOGIN",
        "ALTER ROLE rainbo SET statement_timeout = '1ms'",
        "ALTER ROLE rainbo IN DATABASE app SET default_transaction_read_only = on",
        "ALTER DATABASE app CONNECTION LIMIT 0",
        "ALTER SYSTEM SET log_min_duration_statement = 0",
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_reset_undoes_damage(fleet: InstanceFleet, damage: str) -> None:
    fleet[2].execute(damage)
    fleet[2].reset()
    _pristine(fleet[2])


def test_reset_brings_back_a_missing_database(fleet: InstanceFleet) -> None:
    with fleet[3].server.connect() as connection:
        connection.execute("ALTER DATABASE app RENAME TO elsewhere")
    fleet[3].reset()
    _pristine(fleet[3])
    with fleet[3].server.connect() as connection:
        connection.execute("DROP DATABASE elsewhere")


def test_reset_ends_sessions_that_hold_locks(fleet: InstanceFleet) -> None:
    with fleet.master.connect(autocommit=False) as holder:
        holder.execute("LOCK TABLE users")
        fleet.master.reset()
        _pristine(fleet.master)
        with pytest.raises(psycopg.OperationalError):
            holder.execute("SELECT 1")


def test_reset_starts_a_killed_server_on_its_port(fleet: InstanceFleet) -> None:
    port = fleet[2].port
    fleet[2].server.kill()
    fleet[2].reset()
    assert fleet[2].port == port
    _pristine(fleet[2])


def test_rows_are_added_by_keyword(fleet: InstanceFleet) -> None:
    fleet.master.add_tenant(7, status="trial")
    fleet.master.add_user(8, 7, "ann@example.com", name="Ann")
    fleet.master.add_location(9, 7)
    fleet.master.add_route(10, "ann@example.com", 7, user_id=8)
    assert fleet.master.execute("SELECT name, status FROM tenants") == [("Tenant 7", "trial")]
    assert fleet.master.execute("SELECT user_id, tenant_id FROM user_email_routing") == [(8, 7)]
