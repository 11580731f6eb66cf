"""Believable data for an empty fleet; see sql/seed.sql for what is in it."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from localfleet.data.schema import DATABASE, SQL_FOLDER
from localfleet.servers.server import Server

MASTER = 1
ANALYZE = "ANALYZE tenants, users, locations"
DIRECTORY = (
    "COPY user_email_routing"
    " (id, email, tenant_id, rds_instance_id, user_id, user_name, status, updated_at)"
    " FROM STDIN"
)
# The directory calls the master's own users' instance NULL.
ENTRIES = (
    "COPY (SELECT id * 10 + {number}, email, tenant_id, nullif({number}, {master}),"
    " id, name, status, updated_at FROM users WHERE NOT is_ghost_admin ORDER BY id) TO STDOUT"
)
SHARED_EMAIL = """
    SELECT lower(email) FROM user_email_routing WHERE status = 'Active'
    GROUP BY 1 HAVING count(*) = %s AND count(DISTINCT coalesce(rds_instance_id, %s)) = %s
    ORDER BY 1 LIMIT 1
"""


def seed(instances: Mapping[int, Server]) -> bool:
    """Fill an empty fleet, given by instance id; False when it already had data.

    The master comes last, in one transaction with the directory: an interrupted seed is
    finished by the next one.
    """
    with instances[MASTER].connect(DATABASE, autocommit=False) as master:
        if _has_rows(master):
            return False
        for number, server in instances.items():
            if number != MASTER:
                with server.connect(DATABASE, autocommit=False) as connection:
                    _fill(connection, number)
                    _enter(connection, number, master)
        _fill(master, MASTER)
        _enter(master, MASTER, master)
        master.execute("ANALYZE user_email_routing")
    return True


def shared_email(instances: Mapping[int, Server]) -> str:
    """The e-mail of a person who has an account on every instance."""
    with instances[MASTER].connect(DATABASE) as master:
        count = len(instances)
        row = master.execute(SHARED_EMAIL, [count, MASTER, count]).fetchone()
    return str(row[0]) if row else "nobody@example.com"


def _has_rows(connection: psycopg.Connection) -> bool:
    query = "SELECT FROM tenants UNION ALL SELECT FROM users LIMIT 1"
    return connection.execute(query).rowcount == 1


def _fill(connection: psycopg.Connection, number: int) -> None:
    if not _has_rows(connection):
        # Ids start at 1 even after an attempt that was rolled back: sequences are not.
        connection.execute("TRUNCATE tenants, users, locations RESTART IDENTITY")
        connection.execute((SQL_FOLDER / "believable.sql").read_bytes())
        text = (SQL_FOLDER / "seed.sql").read_bytes()
        psycopg.ClientCursor(connection).execute(text, {"id": number})
        connection.execute(ANALYZE)


def _enter(source: psycopg.Connection, number: int, master: psycopg.Connection) -> None:
    """Enter the users of an instance into the master's directory."""
    entries = sql.SQL(ENTRIES).format(number=sql.Literal(number), master=sql.Literal(MASTER))
    with source.cursor().copy(entries) as reading:
        blocks = list(reading)
    with master.cursor().copy(DIRECTORY) as writing:
        for block in blocks:
            writing.write(block)
