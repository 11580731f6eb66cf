"""The optional index of routes by any part of an e-mail or a name; it needs pg_trgm.

It is there if that of tenants is, which no sync drops (see tenants/find/part_search.py).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from psycopg import errors

from syncs.transfer.session import Session

if TYPE_CHECKING:
    from tenants.routes.merge import RouteChanges

NAME, OF_TENANTS = "routes_by_part", "tenants_by_part"
TEXT = "(email_key || ' ' || coalesce(rainbo_name_key(user_name), ''))"
# A merge appends to its list of pending entries, and a sync cleans that after publishing.
CREATE = (
    f"CREATE INDEX {NAME} ON user_routes USING gin ({TEXT} gin_trgm_ops) "
    "WITH (gin_pending_list_limit = 65536)"
)
_CLEAN = f"""
    SELECT gin_clean_pending_list(relid) FROM pg_partition_tree(to_regclass('{NAME}'))
     WHERE isleaf AND relid <> to_regclass('{NAME}')"""  # noqa: S608 (constants)
FEW = 10_000  # rows that it takes in as they come
# Who asks for a table's strongest lock makes all wait that read it after: hardly longer than this.
_BRIEFLY = "SET LOCAL lock_timeout = '100ms'"

logger = logging.getLogger("rainbo.run")


def drop(session: Session, index: str) -> bool:
    """Drop one of both; False if somebody is reading its table and goes on with that."""
    try:
        with session.transaction():
            session.execute(_BRIEFLY)
            session.execute(f"DROP INDEX IF EXISTS {index}")
    except errors.LockNotAvailable:
        return False
    return True


def drop_for_fill(session: Session, changes: RouteChanges) -> None:
    """Drop it before a first fill: a million rows take 12 s to index, and 95 s one by one.

    The fill takes that longer where somebody is reading the routes.
    """
    if FEW < changes.added == changes.total and not drop(session, NAME):
        logger.info("%s stays during the fill: the routes are being read", NAME)


def keep(session: Session, changes: RouteChanges) -> None:
    """Take in what was published; create it if it is wanted and missing.

    Readers go on meanwhile. Where it can't be created now, the next sync tries again.
    """
    if changes.added + changes.changed:
        session.execute(_CLEAN)
    wanted = f"SELECT to_regclass('{OF_TENANTS}') IS NOT NULL AND to_regclass('{NAME}') IS NULL"
    if session.execute(wanted).fetchone() == (True,):
        try:
            session.execute(CREATE)
        except (errors.LockNotAvailable, errors.UndefinedObject) as error:
            logger.warning("%s was not created: %s", NAME, str(error).partition("\n")[0])
