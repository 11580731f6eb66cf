"""SQL that makes a role read the views of the schema `reporting`, and nothing else.

RAINBO's own role can't create roles: a superuser of the server runs what this module writes.
"""

from __future__ import annotations

from django.db import connection
from psycopg import sql

from common.errors import UsageError

MARK = "reads RAINBO's views: manage.py sql_reader"
LONGEST_NAME = 63

_MADE = """\
BEGIN;
DO $body$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {text}) THEN
        CREATE ROLE {role};
        COMMENT ON ROLE {role} IS {mark};
    ELSIF (SELECT pg_catalog.shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles
            WHERE rolname = {text}) IS DISTINCT FROM {mark} THEN
        RAISE 'The role % is there, and not as a reader: choose another name.', {text};
    END IF;
END
$body$;
ALTER ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT 5;
ALTER ROLE {role} IN DATABASE {database} SET search_path = reporting, public;
ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = on;
ALTER ROLE {role} IN DATABASE {database} SET statement_timeout = '60s';
ALTER ROLE {role} IN DATABASE {database} SET idle_in_transaction_session_timeout = '60s';
-- Every role may create tables in "public" up to PostgreSQL 14, and temporary ones: RAINBO's alone.
GRANT CREATE, USAGE ON SCHEMA public TO {owner};
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {owner};
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA reporting TO {role};
GRANT SELECT ON ALL TABLES IN SCHEMA reporting TO {role};
-- Views that a later version adds
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA reporting GRANT SELECT ON TABLES TO {role};
COMMIT;
"""
_REMOVED = """\
BEGIN;
DO $body$
BEGIN
    IF (SELECT pg_catalog.shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles
         WHERE rolname = {text}) IS DISTINCT FROM {mark} THEN
        RAISE 'There is no reader %.', {text};
    END IF;
END
$body$;
DROP OWNED BY {role};
DROP ROLE {role};
COMMIT;
"""


def statements(name: str, *, remove: bool = False) -> str:
    """Return the SQL that creates the reader, or repairs it, or removes it.

    To be run in RAINBO's own database by a superuser. Raises UsageError if no role can have the
    name, or if it is RAINBO's own.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database(), current_user")
        database, owner = cursor.fetchall()[0]
        if not name or name == owner or len(name.encode()) > LONGEST_NAME or not name.isprintable():
            raise UsageError(f"{name!r} can't be the name of a reader")
        written = sql.SQL(_REMOVED if remove else _MADE).format(
            role=sql.Identifier(name),
            text=sql.Literal(name),
            mark=sql.Literal(MARK),
            database=sql.Identifier(database),
            owner=sql.Identifier(owner),
        )
        return written.as_string(cursor.cursor)
