"""The optional search for parts of words: two indexes that need the extension pg_trgm."""

from __future__ import annotations

from psycopg import errors

from common import manage_command
from common.errors import RainboError
from syncs.transfer.session import Session, open_session
from tenants.routes import part_index
from tenants.routes.part_index import NAME, OF_TENANTS

OF_TENANT = """(rainbo_name_key(name) || ' ' || coalesce(rainbo_name_key(contact_email), ''))"""
# None is seen before it is complete: they are not created CONCURRENTLY.
INDEXES = {
    NAME: part_index.CREATE,
    OF_TENANTS: f"CREATE INDEX {OF_TENANTS} ON tenant_master USING gin ({OF_TENANT} gin_trgm_ops)",
}
IS_THERE = f"to_regclass('{NAME}') IS NOT NULL AND to_regclass('{OF_TENANTS}') IS NOT NULL"
EXTEND = "CREATE EXTENSION IF NOT EXISTS pg_trgm"
_SCHEMA = """
    SELECT quote_ident(nspname) FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace
     WHERE extname = 'pg_trgm'"""


def hint() -> str:
    """What to say where parts can't be found."""
    return (
        "Parts inside words, and words with more than one wrong letter, are found with the "
        f"extension pg_trgm: run {manage_command.line('setup_part_search')}"
    )


def create() -> None:
    """Create what is missing. Readers go on meanwhile; syncs wait. Raises RainboError."""
    with open_session("setup_part_search") as session:
        _extend(session)
        for index, statement in INDEXES.items():
            if session.execute("SELECT to_regclass(%s)", [index]).fetchone() == (None,):
                session.execute(statement)


def remove() -> None:
    """Drop the indexes; that of tenants first, which has syncs create the other one.

    Raises RainboError if somebody is reading a table.
    """
    with open_session("setup_part_search") as session:
        for index in reversed(INDEXES):
            if not part_index.drop(session, index):
                raise RainboError(f"the table of {index} is being read. Try again in a moment")


def _extend(session: Session) -> None:
    try:
        session.execute(EXTEND)
    except errors.InsufficientPrivilege as error:
        raise RainboError(
            "RAINBO's role may not create extensions in its own database. Have a superuser run "
            "there: CREATE EXTENSION pg_trgm"
        ) from error
    except (errors.UndefinedFile, errors.FeatureNotSupported) as error:
        raise RainboError(
            "the server of RAINBO's own database has no pg_trgm. Install PostgreSQL's contrib "
            "modules there (Debian has them in the package of the server), then try again"
        ) from error
    if session.execute("SELECT to_regtype('gtrgm')").fetchone() == (None,):
        (schema,) = session.execute(_SCHEMA).fetchone() or ("?",)
        raise RainboError(
            f"pg_trgm is in the schema {schema}, where RAINBO does not look. Have its owner run: "
            "ALTER EXTENSION pg_trgm SET SCHEMA public"
        )
