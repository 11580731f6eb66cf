"""The standard schema of the fleet's instances, and RAINBO's role on them."""

from __future__ import annotations

from pathlib import Path

from psycopg import sql

from localfleet.servers import databases
from localfleet.servers.server import Server

SQL_FOLDER = Path(__file__).parent / "sql"
DATABASE = "app"
ROLE = "rainbo"


def create_instance(
    server: Server,
    *,
    master: bool,
    role_password: str,
    database: str = DATABASE,
    encoding: str = "UTF8",
) -> None:
    """A database with the standard schema, and the limited role that RAINBO reads it by."""
    databases.set_role(server, ROLE, role_password)
    databases.create(server, database, encoding=encoding)
    allow_entry(server, database)
    load(server, database, master=master)


def load(server: Server, database: str, *, master: bool) -> None:
    files = ["instance.sql", *(["master.sql"] if master else [])]
    with server.connect(database, autocommit=False) as connection:
        for file in files:
            connection.execute((SQL_FOLDER / file).read_bytes())


def allow_entry(server: Server, database: str, role: str = ROLE) -> None:
    """Let a role connect; CREATE DATABASE … TEMPLATE doesn't copy this grant."""
    statement = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
    with server.connect() as connection:
        connection.execute(statement.format(sql.Identifier(database), sql.Identifier(role)))
