"""The one partition of user_routes, which a first fill makes, fills and attaches.

A partition can be attached while people read the table, and a new table is filled first and indexed
then, which takes half as long. So user_routes has no partition until it has a row, and keeps its
one from then on, even when it is emptied.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from django.conf import settings
from psycopg import sql

from common.errors import RainboError

Connection = psycopg.Connection[Any]

NAME = "user_routes_all"

_IS_THERE = "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'user_routes'::regclass)"
# Its rows are vacuumed early: see migration 0007. A partitioned table has no such parameters.
_CREATE = f"""
    CREATE TABLE {NAME} (LIKE user_routes INCLUDING ALL EXCLUDING INDEXES)
      WITH (autovacuum_vacuum_scale_factor = 0.05)"""
# It waits for who vacuums or alters user_routes; no reader waits for it, and it for none.
_ATTACH = f"""
    ALTER TABLE user_routes ATTACH PARTITION {NAME} FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"""
# PostgreSQL makes up the names of the indexes that it builds.
_INDEXES = f"""
    SELECT its.relname, whole.relname || '_all'
      FROM pg_index JOIN pg_inherits ON inhrelid = indexrelid
      JOIN pg_class AS its ON its.oid = indexrelid
      JOIN pg_class AS whole ON whole.oid = inhparent
     WHERE indrelid = '{NAME}'::regclass AND its.relname <> whole.relname || '_all'
    """  # noqa: S608 (constants)
# Autovacuum never analyzes a partitioned table, only its partitions. It returns a row, or none.
HAS_OLD_STATISTICS = f"""
    SELECT FROM pg_class
     WHERE oid = 'user_routes'::regclass
       AND pg_stat_get_last_autoanalyze_time(to_regclass('{NAME}'))
           > coalesce(pg_stat_get_last_analyze_time(oid), '-infinity')"""
# FOR ALL TABLES, or FOR TABLE user_routes
_PUBLICATIONS = """
    SELECT quote_ident(pubname), listed, pubviaroot
      FROM pg_publication AS p, LATERAL (
           SELECT coalesce(string_agg(prrelid::regclass::text, ', ' ORDER BY prrelid), '')
             FROM pg_publication_rel
            WHERE prpubid = p.oid AND prrelid IN ('user_routes'::regclass,
                                                  to_regclass('user_routes_all'))) AS by (listed)
     WHERE puballtables OR listed <> ''"""
# FOR TABLES IN SCHEMA, from PostgreSQL 15
_OF_SCHEMAS = """
        OR EXISTS (SELECT FROM pg_publication_namespace JOIN pg_class ON relnamespace = pnnspid
                    WHERE pnpubid = p.oid AND pg_class.oid = 'user_routes'::regclass)"""
_PRIVILEGES = """
    SELECT quote_ident(current_user), relnamespace::regnamespace::text,
           has_schema_privilege(relnamespace, 'CREATE'), pg_has_role(relowner, 'USAGE')
      FROM pg_class WHERE oid = to_regclass('user_routes')"""


class Publication(NamedTuple):
    """What replicates user_routes to another database."""

    name: str  # quoted
    listed: str  # user_routes or its partition where it names them; else it has all tables
    of_root: bool  # rows of partitions are published as rows of what is partitioned


class NotAllowed(RainboError):
    """RAINBO's role has no privilege to make the partition."""

    kind = "own database"


def is_there(session: Connection) -> bool:
    return session.execute(_IS_THERE).fetchone() == (True,)


def publications(session: Connection) -> list[Publication]:
    """Return those that have user_routes, by name."""
    of_schemas = _OF_SCHEMAS if session.info.server_version >= 150000 else ""
    found = session.execute(f"{_PUBLICATIONS}{of_schemas} ORDER BY 1").fetchall()
    return [Publication(*row) for row in found]


def why_not_attach(session: Connection) -> str:
    """Return why a first fill goes row by row into the indexed table; empty if it needn't."""
    if is_there(session):
        return f"user_routes had routes before, and keeps its partition {NAME}"
    if published := publications(session):  # which have no rows from before a table is attached
        names = ", ".join(publication.name for publication in published)
        return f"user_routes is replicated by {names}"
    return "" if settings.RAINBO_ROUTES_ATTACH else "RAINBO_ROUTES_ATTACH is off"


def require_privileges(session: Connection) -> None:
    """Raise NotAllowed if the partition is not there, and RAINBO's role can't make it."""
    found = session.execute(_PRIVILEGES).fetchone()
    if found is None or is_there(session):
        return
    role, schema, creates, owns = found
    if not creates:
        raise NotAllowed(
            f"RAINBO's role may not create the table {NAME}, which the first routes need. Have the "
            f"owner of RAINBO's own database run there: GRANT CREATE ON SCHEMA {schema} TO {role}"
        )
    if not owns:
        raise NotAllowed(
            f"RAINBO's role may not attach the table {NAME}, which the first routes need, since "
            f"user_routes has another owner. Have that owner run: ALTER TABLE user_routes OWNER TO "
            f"{role}"
        )


def create(session: Connection) -> None:
    """Create the partition, without its indexes, which nobody sees yet. Raises NotAllowed."""
    require_privileges(session)
    session.execute(_CREATE)


def attach(session: Connection) -> None:
    """Build the partition's indexes and let it be seen, with the transaction's end."""
    session.execute(_ATTACH)
    for index, name in session.execute(_INDEXES).fetchall():
        session.execute(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(
                sql.Identifier(index), sql.Identifier(name)
            )
        )


def ensure(session: Connection) -> None:
    """Have the partition there, empty if it was not, for rows that come one by one."""
    if not is_there(session):
        create(session)
        attach(session)
