"""Handles on the fleet's instances, to fill and to break them in tests."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from localfleet.data import schema
from localfleet.servers import databases
from localfleet.servers.server import Server

TEMPLATE = "app_template"
FOLDER = Path(__file__).parent
SIGNATURE = (FOLDER / "instance_signature.sql").read_text()
END_SESSIONS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid()"""
COUNTED = "SELECT bool_or(last_value IS NOT NULL) FROM pg_sequences"
RESTART = """
    SELECT setval(format('%I.%I', schemaname, sequencename), start_value, false)
      FROM pg_sequences WHERE last_value IS NOT NULL"""
# A table of a few pages is emptied in a tenth of the time that new files of its indexes take.
EMPTY = """
    DO $$
    DECLARE name text;
    BEGIN
        FOREACH name IN ARRAY {names}::text[] LOOP
            IF pg_relation_size(name::regclass) > 262144 THEN
                EXECUTE format('TRUNCATE %I', name);
            ELSE
                EXECUTE format('DELETE FROM %I', name);
            END IF;
        END LOOP;
    END $$"""
RESTORE_ROLE = (FOLDER / "role_restore.sql").read_text()


@dataclass
class Instance:
    id: int
    server: Server
    is_master: bool
    rainbo_password: str = field(repr=False)
    database: str = schema.DATABASE
    user: str = schema.ROLE
    _pristine: str | None = field(default=None, repr=False)

    @classmethod
    def create(
        cls, server: Server, number: int, *, master: bool = False, encoding: str = "UTF8"
    ) -> Self:
        password = secrets.token_urlsafe(16)
        schema.create_instance(
            server,
            master=master,
            role_password=password,
            database=TEMPLATE,
            encoding=encoding,
        )
        instance = cls(number, server, master, password)
        instance._rebuild()
        return instance

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    def connect(self, **parameters: object) -> psycopg.Connection:
        """As superuser, with autocommit by default."""
        return self.server.connect(self.database, **parameters)

    def connect_as_rainbo(self, **parameters: object) -> psycopg.Connection:
        return self.connect(user=self.user, password=self.rainbo_password, **parameters)

    def execute(
        self, query: str | sql.Composable, params: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> list[Any]:
        """Run it as superuser, committed; returns its rows."""
        with self.connect() as connection:
            cursor = connection.execute(query, params)  # type: ignore[arg-type]  # tests build SQL
            return cursor.fetchall() if cursor.description else []

    def add_tenant(self, row_id: int, name: str | None = None, **columns: object) -> None:
        self._insert("tenants", {"id": row_id, "name": name or f"Tenant {row_id}"} | columns)

    def add_user(self, row_id: int, tenant_id: int | None, email: str, **columns: object) -> None:
        self._insert("users", {"id": row_id, "tenant_id": tenant_id, "email": email} | columns)

    def add_location(self, row_id: int, tenant_id: int, name: str | None = None) -> None:
        row = {"id": row_id, "tenant_id": tenant_id, "name": name or f"Location {row_id}"}
        self._insert("locations", row)

    def add_route(
        self,
        row_id: int,
        email: str,
        tenant_id: int | None = 1,
        rds_instance_id: int | None = None,
        *,
        user_id: int | None = None,
        user_name: str | None = None,
        status: str | None = "Active",
        updated_at: datetime | None = None,
    ) -> None:
        row = {
            "id": row_id,
            "email": email,
            "tenant_id": tenant_id,
            "rds_instance_id": rds_instance_id,
            "user_id": row_id if user_id is None else user_id,
            "user_name": user_name,
            "status": status,
        }
        self._insert("user_email_routing", row | ({"updated_at": updated_at} if updated_at else {}))

    def reset(self) -> None:
        """Empty tables in a server as new, whatever was done to it."""
        self.server.start()
        if not self._emptied():
            self._rebuild()

    def offer_tls(self, certificate: str, key: str) -> None:
        """Let the server encrypt with this certificate (PEM) from the next connection on."""
        data = self.server.data
        for name, text in (("server.crt", certificate), ("server.key", key)):
            (data / name).write_text(text)
            (data / name).chmod(0o600)
            shutil.chown(data / name, (data / "PG_VERSION").stat().st_uid)
        ((before,),) = self.execute("SELECT pg_conf_load_time()")
        self.execute("ALTER SYSTEM SET ssl = on")
        self.execute("SELECT pg_reload_conf()")
        while self.execute("SELECT pg_conf_load_time()") == [(before,)]:
            time.sleep(0.01)

    def _insert(self, table: str, row: Mapping[str, Any]) -> None:
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(sql.Placeholder() * len(row)),
        )
        self.execute(statement, list(row.values()))

    def _rebuild(self) -> None:
        with self.server.connect() as connection:
            connection.execute("ALTER SYSTEM RESET ALL")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(RESTORE_ROLE.encode())
        databases.set_role(self.server, self.user, self.rainbo_password)
        databases.drop(self.server, self.database)
        databases.create(self.server, self.database, template=TEMPLATE)
        schema.allow_entry(self.server, self.database)
        with self.connect() as session:
            self._pristine = self._signature(session)

    def _emptied(self) -> bool:
        """Whether all else is as new, and the rows are gone; sessions of others are ended."""
        try:
            session = self.connect()
        except psycopg.OperationalError:  # dropped, or closed to all
            return False
        with session:
            session.execute(END_SESSIONS)
            if self._signature(session) != self._pristine:
                return False
            tables = ["tenants", "users", "locations", *["user_email_routing"] * self.is_master]
            filled = " OR ".join(f"EXISTS (SELECT FROM {table})" for table in tables)
            if session.execute(f"SELECT {filled} OR ({COUNTED})").fetchone() != (False,):
                session.execute(sql.SQL(EMPTY).format(names=sql.Literal(tables)))
                session.execute(RESTART)
        return True

    def _signature(self, session: psycopg.Connection) -> str:
        """Everything of the database and its role that a test may have changed, but the rows."""
        subject = {"database": self.database, "role": self.user}
        (found,) = session.execute(SIGNATURE.encode(), subject).fetchone() or ("",)
        return str(found)


class InstanceFleet:
    def __init__(self, instances: Iterable[Instance]) -> None:
        self.instances = list(instances)

    @property
    def master(self) -> Instance:
        return next(instance for instance in self.instances if instance.is_master)

    def __getitem__(self, number: int) -> Instance:
        return next(instance for instance in self.instances if instance.id == number)
