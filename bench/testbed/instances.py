"""A hundred instances: databases with tenants, users and locations on the two servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from bench.testbed.servers import Testbed
from localfleet.data import schema
from localfleet.servers import databases
from localfleet.servers.server import HOST, Server

TEMPLATE = "app_template"
PASSWORD = "bench"  # noqa: S105 (of servers that live for this benchmark, on loopback)

FILL = """
    INSERT INTO tenants (id, name, status)
    SELECT n, 'Tenant ' || n, 'active' FROM generate_series(1, %(tenants)s) AS n;
    INSERT INTO users (tenant_id, email, name, status, last_login_at)
    SELECT 1 + n %% %(tenants)s, 'user' || n || '@example.com', 'User ' || n,
           CASE WHEN n %% 10 = 0 THEN 'Inactive' ELSE 'Active' END, now() - n * interval '1 minute'
      FROM generate_series(1, %(tenants)s * %(users)s) AS n;
    INSERT INTO locations (tenant_id, name)
    SELECT 1 + n %% %(tenants)s, 'Location ' || n FROM generate_series(1, %(tenants)s * 2) AS n"""


@dataclass(frozen=True)
class Size:
    instances: int = 100
    tenants: int = 100
    users: int = 50


@dataclass(frozen=True)
class Place:
    """One instance: a database on one of the servers, entered by `port`."""

    id: int
    server: Server
    database: str
    port: int

    def connect(self, **parameters: object) -> psycopg.Connection:
        """As RAINBO's limited role."""
        who = {"port": self.port, "user": schema.ROLE, "password": PASSWORD}
        return self.server.connect(self.database, **who | parameters)

    def through(self, port: int) -> Place:
        return Place(self.id, self.server, self.database, port)


def build(testbed: Testbed, size: Size) -> list[Place]:
    """Make the databases, alike but each with an identity of its own."""
    places = []
    for server in (testbed.master, testbed.second):
        schema.create_instance(server, master=False, role_password=PASSWORD, database=TEMPLATE)
        with server.connect(TEMPLATE) as connection:
            facts = {"tenants": size.tenants, "users": size.users}
            psycopg.ClientCursor(connection).execute(FILL.encode(), facts)
            connection.execute("VACUUM ANALYZE")
    for number in range(1, size.instances + 1):
        server = testbed.second if number % 2 else testbed.master
        database = f"app{number}"
        databases.create(server, database, template=TEMPLATE)
        schema.allow_entry(server, database)
        places.append(Place(number, server, database, server.port))
    return places


def register(testbed: Testbed, places: Sequence[Place], master: int | None = None) -> None:
    """Let RAINBO know these instances and no others."""
    testbed.do("register", {"instances": [_fields(place, master) for place in places]})


def _fields(place: Place, master: int | None) -> dict[str, Any]:
    return {
        "id": place.id,
        "name": f"bench{place.id}",
        "host": HOST,
        "port": place.port,
        "database": place.database,
        "user": schema.ROLE,
        "password": PASSWORD,
        "ssl_mode": "disable",
        "is_master": place.id == master,
    }
