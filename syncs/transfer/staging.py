"""Staging tables: rows are read, proved and checked there before anything is published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from psycopg import sql

from syncs.errors import ContractBroken, NotEqual
from syncs.transfer.copy_stream import BATCH, Query, Write, copying_in, verbatim
from syncs.transfer.digest import NO_ID
from syncs.transfer.session import Session


class Stage:
    """A temporary table on the session that rows are read into, outside of any publishing.

    Its columns are `target`, the query's columns, and `row_hash`. Rows of SQL_ASCII sources
    arrive as bytes and are decoded one by one; what can't be decoded goes to `<name>_bad`
    (target, source_id, row_hash, reason).
    """

    def __init__(self, session: Session, name: str, query: Query) -> None:
        self.session = session
        self.name = name
        self.query = query
        self._create(name, {"text": sql.SQL('text COLLATE "C"')})
        session.execute(
            sql.SQL(
                "CREATE TEMP TABLE {} (target text, source_id text, row_hash bigint, reason text)"
            ).format(self.bad)
        )

    @property
    def table(self) -> sql.Identifier:
        return sql.Identifier(self.name)

    @property
    def bad(self) -> sql.Identifier:
        return sql.Identifier(f"{self.name}_bad")

    @contextmanager
    def receiving(self, target: str, encoding: str) -> Iterator[Write]:
        """Write one source's binary COPY stream; rolled back if the block raises.

        We set the target of the rows ourselves: nothing in the stream can change it.
        """
        name = f"{self.name}_bytes" if encoding == "SQL_ASCII" else self.name
        if encoding == "SQL_ASCII":
            self._create(name, {"text": sql.SQL("bytea")})
        self.session.execute(
            sql.SQL("ALTER TABLE {} ALTER target SET DEFAULT {}").format(
                sql.Identifier(name), sql.Literal(target)
            )
        )
        columns = [*(column.name for column in self.query.columns), "row_hash"]
        with copying_in(self.session, sql.Identifier(name), columns) as write:
            yield write
        if encoding == "SQL_ASCII":
            self._decode(name)

    def load(self, target: str, stream: IO[bytes], encoding: str) -> None:
        """Stage a stream that was read to its end."""
        with self.receiving(target, encoding) as write:
            while block := stream.read(BATCH):
                write(block)

    def prove(self, target: str, rows: int) -> None:
        """Compare the number of staged rows with those sent. Raises NotEqual.

        That each row is as sent, a publish proves by their hashes.
        """
        (count,) = self.session.execute(
            sql.SQL(
                "SELECT (SELECT count(*) FROM {bad} WHERE target = {target}) + count(*) "
                "FROM {table} WHERE target = {target}"
            ).format(bad=self.bad, table=self.table, target=sql.Literal(target))
        ).fetchone() or (0,)
        if count != rows:
            raise NotEqual(f"the source sent {rows} rows, {count} arrived: none of them is used")

    def withhold(self, reason: sql.Composable) -> None:
        """Move rows for which the SQL expression returns a reason to the bad rows."""
        parts = {
            "table": self.table,
            "bad": self.bad,
            "reason": reason,
            "no_id": NO_ID,
            "id": sql.Identifier(self.query.columns[0].name),
        }
        found = self.session.execute(
            sql.SQL(
                "INSERT INTO {bad} SELECT target, coalesce({id}, {no_id}), row_hash, {reason} "
                "FROM {table} WHERE {reason} IS NOT NULL"
            ).format(**parts)
        )
        if found.rowcount:
            self.session.execute(
                sql.SQL("DELETE FROM {table} WHERE {reason} IS NOT NULL").format(**parts)
            )

    def check(self, target: str, rows: int, cap: tuple[int, float], known_bad: int = 0) -> int:
        """Reject a target with too many bad rows; return how many there are.

        rows: of the whole source. cap: rows, and percent of the whole; the larger counts.
        known_bad: those that were not read again. Raises ContractBroken.
        """
        found, reason = self.session.execute(
            sql.SQL("SELECT count(*), min(reason) FROM {} WHERE target = %s").format(self.bad),
            [target],
        ).fetchone() or (0, None)
        bad = int(found) + known_bad
        if bad > max(cap[0], rows * cap[1] / 100):
            one = f" ({reason}, for one)" if reason else ""
            raise ContractBroken(
                f"{bad:,} of {rows:,} rows can't be used{one}: repair them at the "
                "source, or raise RAINBO_WITHHELD_CAP"
            )
        return bad

    def reject_duplicates(self, target: str) -> None:
        """Reject a target with one id twice. Raises ContractBroken."""
        duplicate = self.session.execute(
            sql.SQL(
                "SELECT {id} FROM {table} WHERE target = %s GROUP BY {id} HAVING count(*) > 1 "
                "LIMIT 1"
            ).format(id=sql.Identifier(self.query.columns[0].name), table=self.table),
            [target],
        ).fetchone()
        if duplicate:
            raise ContractBroken(f"{self.query.name}.sql returns the id {duplicate[0]} twice")

    def drop_target(self, target: str) -> None:
        """Delete the staged rows of a target that failed."""
        for table in (self.table, self.bad):
            self.session.execute(
                sql.SQL("DELETE FROM {} WHERE target = %s").format(table), [target]
            )

    def _create(self, name: str, types: dict[str, sql.SQL]) -> None:
        columns = [
            sql.SQL("{} {}").format(
                sql.Identifier(column.name), types.get(column.kind, verbatim(column.kind))
            )
            for column in self.query.columns
        ]
        self.session.execute(
            sql.SQL("CREATE TEMP TABLE {} (target text, {}, row_hash bigint)").format(
                sql.Identifier(name), sql.SQL(", ").join(columns)
            )
        )

    def _decode(self, raw: str) -> None:
        texts = [column.name for column in self.query.columns if column.kind == "text"]
        decoded = [
            sql.SQL("rainbo_decode({})").format(sql.Identifier(column.name))
            if column.kind == "text"
            else sql.Identifier(column.name)
            for column in self.query.columns
        ]
        parts = {
            "table": self.table,
            "bad": self.bad,
            "raw": sql.Identifier(raw),
            "decoded": sql.SQL(", ").join(decoded),
            "undecodable": sql.SQL(", ").join(
                sql.SQL(
                    "CASE WHEN {0} IS NOT NULL AND rainbo_decode({0}) IS NULL THEN {1} END"
                ).format(sql.Identifier(name), sql.Literal(name))
                for name in texts
            ),
            "id": sql.Identifier(self.query.columns[0].name),
        }
        for statement in (
            r"""INSERT INTO {bad}
                SELECT target,
                       coalesce(rainbo_decode({id}), '\x' || encode({id}, 'hex'), '(no id)'),
                       row_hash, 'undecodable text in ' || reason
                  FROM (SELECT *, concat_ws(', ', {undecodable}) AS reason FROM {raw}) AS rows
                 WHERE reason <> ''""",
            """INSERT INTO {table} SELECT target, {decoded}, row_hash FROM {raw}
                WHERE concat_ws(', ', {undecodable}) = ''""",
            "DROP TABLE {raw}",
        ):
            self.session.execute(sql.SQL(statement).format(**parts))


def step(column: str, incoming: str = "") -> sql.Composed:
    """Describe the change of a column from r to n; null if there is none."""
    return sql.SQL(
        "CASE WHEN n.{1} IS DISTINCT FROM r.{0} THEN format('%s %L → %L', {2}, r.{0}, n.{1}) END"
    ).format(sql.Identifier(column), sql.Identifier(incoming or column), sql.Literal(column))
