"""Keys of e-mails and names, made by functions of RAINBO's own database.

They normalize text by PostgreSQL's Unicode tables, which grow with its major versions: after
pg_upgrade, an index over such a function may miss what it should find; after dump and restore, a
stored key may differ from the function's. PostgreSQL notices neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from common import manage_command
from common.clock import database_now
from common.joint_query import Answers, Questions, Statement
from syncs.status.problems import Link, Problem, Severity, Source
from syncs.transfer.session import Session, open_session
from tenants.models import SearchKeys

PER_MAJOR = 10_000  # in PostgreSQL's numeric server version
HAS_COLLATION_VERSIONS = 15

_VERSION = """
    SELECT (SELECT server_major FROM search_keys) AS made_by, %(server)s AS server,
           {} AS other_collation"""
_COLLATION = """(
    SELECT datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid)
      FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"""
_REMOVALS = """
    UPDATE user_route_removals SET email_key = rainbo_email_key(email)
     WHERE email_key IS DISTINCT FROM rainbo_email_key(email)"""


@dataclass(frozen=True)
class Version:
    """made_by: the major version of PostgreSQL that made the keys; None if unknown.

    server: that of RAINBO's own database now. other_collation: the operating system sorts text
    otherwise than when the database was created.
    """

    made_by: int | None
    server: int
    other_collation: bool = False

    @property
    def is_outdated(self) -> bool:
        return self.made_by not in (None, self.server) or self.other_collation

    def __str__(self) -> str:
        if self.made_by not in (None, self.server):
            return (
                f"made by PostgreSQL {self.made_by}, and RAINBO's own database runs {self.server}"
            )
        return "sorted by another version of the operating system's collation"


def read() -> Version:
    return KEYS.read_alone(database_now())


def _ask(_: datetime) -> Questions:
    with connection.cursor():  # an ended session is replaced here
        server = connection.connection.info.server_version // PER_MAJOR
    differs = _COLLATION if server >= HAS_COLLATION_VERSIONS else "false"
    return {"version": Statement(_VERSION.format(differs), {"server": server})}


def _version(answers: Answers, _: datetime) -> Version:
    (row,) = answers["version"]
    return Version(**row)


def judge(version: Version, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    if version.is_outdated:
        yield Problem(
            key="search-keys/outdated",
            severity=Severity.FAILING,
            cause="search keys outdated",
            text=f"e-mails and names may not be found: their keys were {version}; run "
            f"{manage_command.line('rebuild_search_keys')}",
            link=Link("sync", "user_routing"),
            about_all="instance",
        )


KEYS = Source(
    name="search keys",
    ask=_ask,
    read=_version,
    judge=judge,
    permissions=("tenants.view_userroute",),
)


def remember_first(**_: object) -> None:
    """Record, after migrations, the version of a new installation."""
    SearchKeys.objects.get_or_create(
        pk=1, defaults={"server_major": read().server, "made_at": database_now()}
    )


def rebuild_indexes() -> None:
    """Rebuild every index of RAINBO's own database, without locking readers or syncs out."""
    with open_session("rebuild_search_keys") as session:
        database = connection.ops.quote_name(connection.settings_dict["NAME"])
        session.execute("SET lock_timeout = 0")
        session.execute(f"REINDEX DATABASE CONCURRENTLY {database}")
        session.execute(_REMOVALS)
        if _major(session) >= HAS_COLLATION_VERSIONS:
            session.execute(f"ALTER DATABASE {database} REFRESH COLLATION VERSION")


def remember_rebuilt() -> None:
    SearchKeys.objects.update_or_create(
        pk=1, defaults={"server_major": read().server, "made_at": database_now()}
    )


def _major(session: Session) -> int:
    return session.info.server_version // PER_MAJOR
