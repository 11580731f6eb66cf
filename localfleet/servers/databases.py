"""Databases and login roles on a local server."""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql

from localfleet.servers.data_folder import SUPERUSER
from localfleet.servers.server import Server


def create(
    server: Server,
    name: str,
    *,
    owner: str = SUPERUSER,
    encoding: str | None = None,
    template: str = "template0",
) -> None:
    """A new database that only its owner may enter; default encoding: the template's."""
    database = sql.Identifier(name)
    statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
        database, sql.Identifier(owner), sql.Identifier(template)
    )
    if encoding:
        statement += sql.SQL(" ENCODING {}").format(sql.Literal(encoding))
    with server.connect() as connection:
        connection.execute(statement)
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))


def drop(server: Server, name: str) -> None:
    """Drop it if it is there, ending its sessions."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with server.connect() as connection:
        connection.execute(statement)


def enterable(server: Server, name: str) -> bool:
    """Whether it is there and takes connections."""
    with server.connect() as connection:
        query = "SELECT FROM pg_database WHERE datname = %s AND datallowconn"
        return connection.execute(query, [name]).rowcount == 1


def set_role(server: Server, name: str, password: str, attributes: LiteralString = "") -> None:
    """Make the login role or give it this password; the server only gets to see the hash."""
    with server.connect() as connection:
        known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).rowcount
        hashed = connection.pgconn.encrypt_password(
            password.encode(), name.encode(), b"scram-sha-256"
        )
        statement = sql.SQL("{} ROLE {} LOGIN {} PASSWORD {}").format(
            sql.SQL("ALTER") if known else sql.SQL("CREATE"),
            sql.Identifier(name),
            sql.SQL(attributes),
            sql.Literal(hashed.decode()),
        )
        connection.execute(statement)
