"""What the fleet reads are measured against: one small statement after the other.

As in the program that RAINBO replaces, each is sent and planned again: PHP's PDO prepares a
statement for one execution.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from bench.testbed.instances import Place
from bench.testbed.servers import Testbed

UNPREPARED: dict[str, Any] = {"prepare_threshold": None}
TABLE = """
    DROP TABLE IF EXISTS naive_tenants;
    CREATE TABLE naive_tenants (
        instance_id integer, remote_id bigint, name text, status text, users bigint,
        locations bigint, PRIMARY KEY (instance_id, remote_id))"""
USERS = (
    "SELECT count(*) FROM users WHERE tenant_id = %s AND status = 'Active' AND NOT is_ghost_admin"
)
LOCATIONS = "SELECT count(*) FROM locations WHERE tenant_id = %s"
UPSERT = """
    INSERT INTO naive_tenants VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (instance_id, remote_id) DO UPDATE
       SET name = excluded.name, status = excluded.status, users = excluded.users,
           locations = excluded.locations"""
FIND = "SELECT id, status FROM users WHERE rainbo_admin_id = %s"
WAKE = "UPDATE users SET status = 'Active' WHERE rainbo_admin_id = %s"
CREATE = """
    INSERT INTO users (email, name, status, is_ghost_admin, rainbo_admin_id, rainbo_installation)
    VALUES (%s, %s, 'Active', true, %s, 'naive')"""


def summaries(testbed: Testbed, places: Sequence[Place]) -> float:
    """Two counts and an upsert per tenant, in sequence; the seconds that it took."""
    with testbed.own_session(**UNPREPARED) as own:
        own.execute(TABLE.encode())
        started = time.monotonic()
        for place in places:
            with place.connect(**UNPREPARED) as remote:
                tenants = remote.execute("SELECT id, name, status FROM tenants").fetchall()
                for pk, name, status in tenants:
                    (users,) = remote.execute(USERS, [pk]).fetchone() or (None,)
                    (locations,) = remote.execute(LOCATIONS, [pk]).fetchone() or (None,)
                    own.execute(UPSERT, [place.id, pk, name, status, users, locations])
        return time.monotonic() - started


def ghosts(places: Sequence[Place], admins: Sequence[int]) -> float:
    """A select and a write per admin and instance, in sequence; the seconds that it took."""
    started = time.monotonic()
    for place in places:
        with place.connect(**UNPREPARED) as remote:
            for admin in admins:
                if remote.execute(FIND, [str(admin)]).fetchone():
                    remote.execute(WAKE, [str(admin)])
                else:
                    email = f"rainbo-admin-{admin}@system.internal"
                    remote.execute(CREATE, [email, f"admin {admin}", str(admin)])
    return time.monotonic() - started
