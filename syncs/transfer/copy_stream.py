"""Moves rows between servers: COPY to COPY in binary, over raw libpq buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import psycopg
from psycopg import pq, sql

from syncs.errors import ContractBroken
from syncs.transfer import libpq_io, snapshot_check
from syncs.transfer.digest import EVERY, NO_ID, Hashing, row_hash
from syncs.transfer.peer import PeerConnection
from syncs.transfer.session import on_own_database

Connection = psycopg.Connection[Any]
Write = Callable[[bytes], object]

BATCH = 256 * 1024  # bytes collected before they are passed on
# Of a text, more than any that is used: the longest that is not withheld has 1,000 characters. In
# bytes where a source's text has no encoding: a character has four at most.
LONGEST = 1001
LONGEST_IN_BYTES = 4 * LONGEST
LONGEST_ERROR = 4096  # bytes of a server's message that are read
_BOUNDED = frozenset({"int2", "int4", "int8", "uuid", "name"})  # types of short texts

# Until a transaction ends. The source's own users come first: two of its processors at most, or
# one if it says so.
LIMIT_LOAD = """
    SELECT set_config('jit', 'off', true), set_config('work_mem', '64MB', true),
           set_config(name, least(setting::int, 1)::text, true)
      FROM pg_settings WHERE name = 'max_parallel_workers_per_gather'"""


@dataclass(frozen=True)
class Column:
    """A column of a contract: its name, the type it is cast to, the source types it accepts.

    advice: what to do about another type; advice_by_kind: about these types.
    """

    name: str
    kind: str
    accepts: frozenset[str]
    advice: str = ""
    advice_by_kind: Mapping[str, str] = field(default_factory=dict, hash=False)

    def advice_for(self, kind: str) -> str:
        return self.advice_by_kind.get(kind, self.advice)


@dataclass(frozen=True)
class Query:
    """A contract's query. The first column is the source id."""

    name: str
    sql: str
    columns: tuple[Column, ...]

    @property
    def kinds(self) -> list[str]:
        return [column.kind for column in self.columns]


def server_encoding(source: Connection) -> str:
    return source.info.parameter_status("server_encoding") or ""


@dataclass(frozen=True)
class Probed:
    """What a query reads there. kinds: the source's type of each column. tables: as SQL writes
    them, each with its kind. origins: which column of which table each column is."""

    kinds: dict[str, str]
    tables: tuple[str, ...]
    origins: dict[str, snapshot_check.Origin]


def probe(source: Connection, query: Query) -> Probed:
    """Check the query's columns and types, and lock its tables, without reading rows.

    Call it inside the transaction that reads. Raises ContractBroken, and TablesReplaced if the
    transaction's snapshot is older than a table.
    """
    nothing = sql.SQL("SELECT * FROM ({}) AS source LIMIT 0").format(verbatim(query.sql))
    columns, origins, tables = snapshot_check.columns_checked(source, nothing)
    found = {column.name: column.type_code for column in columns}
    names = _names(source, {*found.values()})
    kinds = {name: names.get(code, "unknown") for name, code in found.items()}
    wrong = []
    for column in query.columns:
        if column.name not in kinds:
            wrong.append(f"column {column.name} is missing")
        elif (kind := kinds[column.name]) not in column.accepts:
            advice = f" ({text})" if (text := column.advice_for(kind)) else ""
            wrong.append(f"column {column.name} is {kind}, not {_or(column.accepts)}{advice}")
    if wrong:
        raise ContractBroken(f"{query.name}.sql: {'; '.join(wrong)}")
    named = zip((column.name for column in columns), origins, strict=True)
    return Probed(kinds, tables, dict(named))


def _names(source: Connection, types: set[int]) -> dict[int, str]:
    """Return type names by oid; a server is only asked for its own types."""
    names = {kind: psycopg.postgres.types.get(kind) for kind in types}
    known = {kind: info.name for kind, info in names.items() if info and info.oid == kind}
    if own := types - known.keys():
        known |= source.execute(
            "SELECT oid::bigint, typname FROM pg_type WHERE oid = ANY(%s)", [[*own]]
        ).fetchall()
    return known


def rows(
    query: Query,
    hashing: Hashing,
    where: sql.Composable = EVERY,
    kinds: Mapping[str, str] = MappingProxyType({}),
) -> sql.Composed:
    """Return the SQL that asks a source for the query's rows, each with its hash.

    Of a text that is too long to be used comes the beginning: enough to withhold it. The hash is of
    the whole. kinds: the source's types, as `probe` returns them.
    """
    values = [_cast(column) for column in query.columns]
    short = [
        shortened(value, hashing) if _is_long(column, kinds) else value
        for column, value in zip(query.columns, values, strict=True)
    ]
    return sql.SQL("SELECT {}, {} FROM ({}) AS source WHERE {}").format(
        sql.SQL(", ").join(short),
        row_hash(values, query.kinds, hashing),
        verbatim(query.sql),
        where,
    )


def all_rows(query: Query, hashing: Hashing, kinds: Mapping[str, str]) -> sql.SQL:
    """Like `rows`; put together once for all sources whose columns have the same types."""
    return _all_rows(query, hashing, tuple(kinds.items()))


@lru_cache(maxsize=64)
def _all_rows(query: Query, hashing: Hashing, kinds: tuple[tuple[str, str], ...]) -> sql.SQL:
    return sql.SQL(rows(query, hashing, kinds=dict(kinds)).as_string())


def hashed(
    query: Query, hashing: Hashing, kinds: Mapping[str, str] = MappingProxyType({})
) -> sql.Composed:
    """Return the SQL that asks a source for id and hash of the query's rows: see `rows`."""
    values = [_cast(column) for column in query.columns]
    return sql.SQL("SELECT {}, {} FROM ({}) AS source").format(
        key(query.columns[0], hashing, kinds),
        row_hash(values, query.kinds, hashing),
        verbatim(query.sql),
    )


def key(column: Column, hashing: Hashing, kinds: Mapping[str, str]) -> sql.Composed:
    """Return the id of a row, of a query or table named source, as text."""
    value = _cast(column)
    short = shortened(value, hashing) if _is_long(column, kinds) else value
    return sql.SQL("coalesce({}, {})").format(short, NO_ID)


def _is_long(column: Column, kinds: Mapping[str, str]) -> bool:
    return column.kind == "text" and kinds.get(column.name) not in _BOUNDED


def shortened(value: sql.Composable, hashing: Hashing) -> sql.Composed:
    """The beginning of a long text; its length alone is read to see that one is short.

    Of bytes in no encoding, up to the end of a character in UTF-8: to be decoded as far as it goes.
    """
    if hashing is not Hashing.MD5_BYTES:
        return sql.SQL("CASE WHEN octet_length({0}) > {1} THEN left({0}, {1}) ELSE {0} END").format(
            value, sql.Literal(LONGEST)
        )
    ends = sql.SQL(", ").join(map(sql.Literal, range(LONGEST_IN_BYTES - 3, LONGEST_IN_BYTES + 1)))
    return sql.SQL(
        "CASE WHEN octet_length({0}) > {1} THEN left({0}, coalesce((SELECT max(place) "
        "FROM unnest(ARRAY[{2}]) AS place WHERE ascii(substr({0}, place + 1, 1)) & 192 <> 128), "
        "{1})) ELSE {0} END"
    ).format(value, sql.Literal(LONGEST_IN_BYTES), ends)


def live_values(query: Query, source: Connection) -> sql.Composed:
    """Return the query's columns for a SELECT that a person waits for, long texts shortened."""
    hashing = Hashing.of(server_encoding(source))
    values = [
        shortened(_cast(column), hashing) if column.kind == "text" else _cast(column)
        for column in query.columns
    ]
    return sql.SQL(", ").join(values)


def copy_out(source: Connection, selected: sql.Composable, write: Write) -> int:
    """Send a query's rows to `write`, as a binary COPY stream.

    Returns the number of rows that the source says it sent. Raises psycopg errors as they are.
    """
    ask(source, selected)
    return take(source, write)


def ask(source: Connection, selected: sql.Composable) -> None:
    """Send a query to the source without waiting; `take` receives its rows."""
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(selected)
    if isinstance(source, PeerConnection):
        source.budget.start(source.pgconn.socket)
    source.pgconn.send_query(statement.as_string(source).encode())


def take(source: Connection, write: Write) -> int:
    """Pass the rows of the query sent by `ask` to `write`: see `copy_out`."""
    result = libpq_io.get_result(source)
    if result is None or result.status != pq.ExecStatus.COPY_OUT:
        raise error_of(result)
    gathered, size = [], 0
    while (data := libpq_io.get_data(source)) is not None:
        gathered.append(bytes(data))
        size += len(data)
        if size >= BATCH:
            write(b"".join(gathered))
            gathered, size = [], 0
    write(b"".join(gathered))
    return _finish(source)


def _cast(column: Column) -> sql.Composed:
    value = sql.SQL("(source.{})").format(sql.Identifier(column.name))
    if column.kind == "text":
        return sql.SQL('{}::text COLLATE "C"').format(value)
    return sql.SQL("{}::{}").format(value, verbatim(column.kind))


def verbatim(query: str) -> sql.SQL:
    """Return the contract's SQL unchanged: it comes from files of this installation."""
    return sql.SQL(query)


@contextmanager
def copying_in(
    session: Connection,
    table: sql.Identifier,
    columns: Iterable[str],
    first: sql.Composable | None = None,
) -> Iterator[Write]:
    """Write a binary COPY stream into the columns; rolled back if the block raises.

    first: a statement that goes before, in the same round trip and transaction.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, names)
    statement = sql.SQL("{}; {}").format(first, copy) if first else copy
    with on_own_database():
        result = session.pgconn.exec_(statement.as_string(session).encode())
        if result.status != pq.ExecStatus.COPY_IN:
            raise error_of(result)
    session.pgconn.nonblocking = 1

    def write(block: bytes) -> None:
        with on_own_database():
            if block:
                libpq_io.put_data(session, block)

    try:
        yield write
        with on_own_database():
            libpq_io.end_data(session)
            _finish(session)
    except BaseException:
        _abort(session)
        raise
    finally:
        session.pgconn.nonblocking = 0


def _abort(session: Connection) -> None:
    """Abort a COPY that was not ended; one on a lost connection is aborted already."""
    with suppress(psycopg.Error):
        if session.info.transaction_status == pq.TransactionStatus.ACTIVE:
            libpq_io.end_data(session, b"the source was not read to its end")
            while libpq_io.get_result(session):
                pass


def _finish(connection: Connection) -> int:
    """Read a COPY's closing result and return its row count."""
    rows, failed = 0, None
    while result := libpq_io.get_result(connection):
        if result.status == pq.ExecStatus.COMMAND_OK:
            rows = result.command_tuples or 0
        elif failed is None:
            failed = result
    if failed is not None:
        raise error_of(failed)
    return rows


def error_of(result: pq.abc.PGresult | None) -> psycopg.Error:
    """Return the error of a statement that did not return what it should."""
    if result is None:
        return psycopg.OperationalError("the connection was lost")
    state, message = (
        result.error_field(field)
        for field in (pq.DiagnosticField.SQLSTATE, pq.DiagnosticField.MESSAGE_PRIMARY)
    )
    text = (message or result.error_message)[:LONGEST_ERROR].decode(errors="replace").strip()
    with suppress(KeyError):
        return psycopg.errors.lookup((state or b"").decode(errors="replace"))(text)
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return psycopg.OperationalError(text or "the connection was lost")
    return psycopg.InterfaceError(f"answered with {pq.ExecStatus(result.status).name}")


def _or(names: frozenset[str]) -> str:
    return " or ".join(sorted(names))
