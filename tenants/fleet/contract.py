"""The source contract: what RAINBO's queries must return on an instance."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from syncs.errors import ContractBroken
from syncs.transfer.copy_stream import Column, Query

SHIPPED = Path(__file__).parents[1] / "jobs"

TEXTS = frozenset({"text", "varchar", "bpchar", "citext", "name"})
IDS = frozenset({"int2", "int4", "int8", "numeric", "uuid", "text", "varchar", "bpchar"})
COUNTS = frozenset({"int2", "int4", "int8", "text"})  # text: NULL without a type is text
MOMENTS = frozenset({"timestamptz"})
NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8")
DOCUMENTS = ("json", "jsonb")

_ZONE = "with the zone that the source means: without one, the time is a guess"
_OFFSET = "if its text has an offset, else with ::timestamp AT TIME ZONE and the zone it means"
# Per type of the source: the expression that gives the contract's type, and what to know about it.
_AS_TEXT = {
    **dict.fromkeys(DOCUMENTS, ("{0} #>> '{{}}'", "")),
    "bytea": ("convert_from({0}, 'UTF8')", "with the encoding that it has"),
}
_AS_ID = {
    **_AS_TEXT,
    "bytea": ("encode({0}, 'hex')", ""),
    **dict.fromkeys(("float4", "float8"), ("{0}::bigint", "")),
}
_AS_COUNT = dict.fromkeys(DOCUMENTS, ("({0} #>> '{{}}')::bigint", ""))
_AS_MOMENT = {
    "timestamp": ("{0} AT TIME ZONE 'UTC'", _ZONE),
    "date": ("{0}::timestamp AT TIME ZONE 'UTC'", _ZONE),
    **dict.fromkeys(
        NUMBERS, ("to_timestamp({0})", "of seconds; of milliseconds, divide by 1000.0")
    ),
    **dict.fromkeys(
        ("text", "varchar", "bpchar"),
        ("{0}::timestamptz", f"{_OFFSET}; for an unknown time NULL::timestamptz"),
    ),
    **dict.fromkeys(DOCUMENTS, ("({0} #>> '{{}}')::timestamptz", _OFFSET)),
}


def _column(
    name: str, kind: str, accepts: frozenset[str], known: Mapping[str, tuple[str, str]]
) -> Column:
    def advice(expression: str, hint: str) -> str:
        written = f"write {expression.format(name)} AS {name} in the query"
        return f"{written}, {hint}" if hint else written

    by_kind = {source: advice(*how) for source, how in known.items()}
    return Column(name, kind, accepts, advice(f"{{0}}::{kind}", ""), by_kind)


def _id(name: str) -> Column:
    return _column(name, "text", IDS, _AS_ID)


def _text(name: str) -> Column:
    return _column(name, "text", TEXTS, _AS_TEXT)


def _moment(name: str) -> Column:
    return _column(name, "timestamptz", MOMENTS, _AS_MOMENT)


def _count(name: str) -> Column:
    return _column(name, "bigint", COUNTS, _AS_COUNT)


COLUMNS = {
    "sync_user_routing": (
        _id("id"),
        _text("email"),
        _id("tenant_id"),
        _id("rds_instance_id"),
        _id("user_id"),
        _text("user_name"),
        _text("status"),
        _moment("updated_at"),
    ),
    "sync_tenant_summaries": (
        _id("id"),
        _text("name"),
        _text("status"),
        _text("primary_contact_name"),
        _text("primary_contact_email"),
        _moment("trial_ends_at"),
        _moment("subscription_started_at"),
        _count("user_count"),
        _count("location_count"),
        _moment("last_activity_at"),
    ),
    "find_user": (
        _id("id"),
        _text("email"),
        _id("tenant_id"),
        _text("name"),
        _text("status"),
        _moment("last_login_at"),
    ),
    "support_sessions": (
        _id("id"),
        _id("ghost_id"),
        _id("tenant_id"),
        _moment("redeemed_at"),
        _moment("ends_at"),
        _moment("active_at"),
        _count("requests"),
        _count("blocked"),
        _moment("ended_at"),
        _text("ended_by"),
        _count("refused"),
        _moment("refused_at"),
    ),
}


# Of support access, which an instance may be without: what reads its sessions, and what ends one.
SUPPORT = ("support_sessions", "end_support_session")
WITH_PARAMETERS = ("sync_ghost_users", "end_support_session")
NAMES = (*COLUMNS, "sync_instance_health", "sync_ghost_users", "end_support_session")


def kinds(name: str) -> list[str]:
    """Return the types of a query's columns."""
    return [column.kind for column in COLUMNS[name]]


def query(name: str, group: str = "") -> Query:
    """Return a query with its contract. Raises ContractBroken for an unreadable file.

    group: the schema group of the instance that it is for.
    """
    return Query(name, text(name, group), COLUMNS[name])


def text(name: str, group: str = "") -> str:
    """Return a query's SQL: the group's own file, else this installation's, else the shipped one.

    Raises ContractBroken, also for a group without a folder.
    """
    path = _path(name, group)
    try:
        found = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ContractBroken(f"the query {path.name} can't be read: {why}") from error
    return _only_statement(path.name, found)


@lru_cache(maxsize=64)  # each instance of a run asks for it
def _only_statement(name: str, found: str) -> str:
    statement, *more = _statements(found)
    if not _is_code(statement):
        raise ContractBroken(f"the query {name} has no statement")
    if any(map(_is_code, more)):
        raise ContractBroken(
            f"the query {name} has several statements: write one, with CTEs (WITH) if needed"
        )
    return f"{statement}\n"  # so that a comment in the last line ends where it should


# What PostgreSQL reads as one word: a semicolon in it ends no statement.
_WORD = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*(?:[^*/]|\*(?!/)|/(?!\*)|/\*.*?\*/)*\*/ )
    | (?P<end> ; )
    | \b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
    | \$(?P<tag>[^\W\d]\w*)?\$ .*? \$(?(tag)(?P=tag))\$
    | \w+ | .
    """,
    re.DOTALL | re.VERBOSE,
)


def _statements(source: str) -> list[str]:
    """Split at the semicolons that end a statement."""
    ends = [word.start() for word in _WORD.finditer(source) if word["end"]]
    starts = [0, *(end + 1 for end in ends)]
    return [source[start:end] for start, end in zip(starts, [*ends, len(source)], strict=True)]


def _is_code(statement: str) -> bool:
    """Whether there is more than comments and spaces."""
    return any(not word["comment"] and word[0].strip() for word in _WORD.finditer(statement))


def fingerprint(name: str, group: str = "") -> str:
    """Return a short hash that changes with the SQL."""
    return hashlib.sha256(text(name, group).encode()).hexdigest()[:16]


def label(name: str, group: str = "") -> str:
    """Return the name of a query's file, as findings name it."""
    try:
        path = _path(name, group)
    except ContractBroken:  # the group has no folder
        return f"{name}.sql"
    folder: Path | None = settings.RAINBO_SOURCE_SQL
    if folder is None or path.parent == SHIPPED:
        return f"{name}.sql (shipped)"
    return str(path.relative_to(folder))


def is_shipped(name: str, group: str = "") -> bool:
    """Whether RAINBO's own file is used. Raises ContractBroken for a group without a folder."""
    return _path(name, group).parent == SHIPPED


def unknown_files(group: str = "") -> list[str]:
    """Return the SQL files for a group that are no query's."""
    folder: Path | None = settings.RAINBO_SOURCE_SQL
    if folder is None:
        return []
    found = [*folder.glob("*.sql"), *((folder / group).glob("*.sql") if group else ())]
    return sorted(str(path.relative_to(folder)) for path in found if path.stem not in NAMES)


def groups() -> list[str]:
    """Return the schema groups that have a folder."""
    folder = settings.RAINBO_SOURCE_SQL
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder else []


def _path(name: str, group: str) -> Path:
    if group and group not in groups():
        raise ContractBroken(f"schema group {group} has no folder in RAINBO_SOURCE_SQL")
    folder: Path | None = settings.RAINBO_SOURCE_SQL
    folders = [] if folder is None else [folder / group, folder] if group else [folder]
    own = (place / f"{name}.sql" for place in folders)
    return next((path for path in own if path.exists()), SHIPPED / f"{name}.sql")
