"""The master's directory of e-mails: made in one size, and changed a little."""

from __future__ import annotations

import psycopg

from bench.testbed.instances import PASSWORD, Place
from bench.testbed.servers import Testbed
from localfleet.data import schema

DATABASE = "app"
COLUMNS = "id, email, tenant_id, rds_instance_id, user_id, user_name, status, updated_at"
OUT = f"COPY (SELECT {COLUMNS} FROM user_email_routing) TO STDOUT (FORMAT binary)"  # noqa: S608

# Every tenth e-mail stays as it is for ever: readers look these up and must always find them.
FILL = """
    INSERT INTO user_email_routing
    SELECT n, 'user' || n || '@example' || n % 5000 || '.com', n % 5000,
           nullif(n % 20, 0), n, 'User Number ' || n, 'Active',
           timestamptz '2026-01-01' + n * interval '1 second'
      FROM generate_series(1, {last}) AS n"""

PICK = """
    CREATE TEMP TABLE picked AS
    SELECT id, row_number() OVER () AS place
      FROM (SELECT id FROM user_email_routing WHERE id % 10 <> 0
             ORDER BY hashint8extended(id, {seed}) LIMIT 3 * {each}) AS chosen"""
DELETE = """
    DELETE FROM user_email_routing USING picked
     WHERE picked.id = user_email_routing.id AND place <= {each}"""
UPDATE = """
    UPDATE user_email_routing SET user_name = 'Renamed ' || {seed}, updated_at = now()
      FROM picked
     WHERE picked.id = user_email_routing.id AND place BETWEEN {each} + 1 AND 2 * {each}"""
MOVE = """
    UPDATE user_email_routing
       SET rds_instance_id = 1 + (coalesce(rds_instance_id, 0) + 1) % 19, updated_at = now()
      FROM picked WHERE picked.id = user_email_routing.id AND place > 2 * {each}"""
INSERT = """
    INSERT INTO user_email_routing
    SELECT base + n * 10 + 1, 'new' || base + n || '@example.com', n % 5000, 1 + n % 19, base + n,
           'New ' || n, 'Active', now()
      FROM (SELECT max(id) / 10 * 10 AS base FROM user_email_routing) AS highest,
           generate_series(1, {each}) AS n"""


class Directory:
    """On the master; `rows` of them, also after changes: as many come as go."""

    def __init__(self, testbed: Testbed) -> None:
        self.server = testbed.master
        self.rows = 0
        self._seed = 0
        schema.create_instance(self.server, master=True, role_password=PASSWORD, database=DATABASE)
        with self.connect() as session:
            session.execute("DROP TABLE tenants, users, locations")  # a tool would copy them too
        self.place = Place(1, self.server, DATABASE, self.server.port)

    def connect(self) -> psycopg.Connection:
        return self.server.connect(DATABASE)

    def fill(self, rows: int) -> None:
        """These rows and no others: what changed before has taken ids beyond them."""
        with self.connect() as session:
            session.execute("TRUNCATE user_email_routing")
            session.execute(FILL.format(last=rows).encode())
            session.execute("VACUUM ANALYZE user_email_routing")
        self.rows = rows

    def change(self, share: float, *, deletes: bool = True) -> int:
        """Insert, update, delete and move, spread over all keys; how many rows that touched."""
        kinds = (DELETE, UPDATE, MOVE, INSERT) if deletes else (UPDATE, MOVE, INSERT)
        each = max(1, round(self.rows * share / len(kinds)))
        self._seed += 1
        with self.connect() as session:
            for statement in (PICK, *kinds):
                session.execute(statement.format(each=each, seed=self._seed).encode())
        return len(kinds) * each

    def commit(self) -> None:
        """Commit something, as others do on a master all the time: its log is on disk then."""
        with self.connect() as session:
            session.execute("SELECT pg_logical_emit_message(true, 'bench', '')")

    def size(self) -> int:
        """Bytes of all rows as a binary COPY sends them."""
        with (
            self.connect() as session,
            session.cursor() as cursor,
            cursor.copy(OUT.encode()) as copy,
        ):
            return sum(len(block) for block in copy)
