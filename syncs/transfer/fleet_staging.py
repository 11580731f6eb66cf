"""A staging table that many targets are read into, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from syncs.transfer.copy_stream import Query, Write, copying_in
from syncs.transfer.session import Session
from syncs.transfer.staging import Stage

_SETTING = "rainbo.staged_target"


class FleetStage(Stage):
    """A stage whose current target is a session setting.

    Altering the table for each target, as `Stage` does, costs more than reading a small stream.
    """

    def __init__(self, session: Session, name: str, query: Query) -> None:
        super().__init__(session, name, query)
        session.execute(
            sql.SQL("ALTER TABLE {} ALTER target SET DEFAULT current_setting({})").format(
                self.table, sql.Literal(_SETTING)
            )
        )

    @contextmanager
    def receiving(self, target: str, encoding: str) -> Iterator[Write]:
        if encoding == "SQL_ASCII":
            with super().receiving(target, encoding) as write:
                yield write
            return
        set_target = sql.SQL("SET {} = {}").format(sql.SQL(_SETTING), sql.Literal(target))
        columns = [*(column.name for column in self.query.columns), "row_hash"]
        with copying_in(self.session, self.table, columns, set_target) as write:
            yield write

    def suspects(self) -> set[str]:
        """Return targets that `check` must examine: with a bad row, or with one id twice."""
        rows = self.session.execute(
            sql.SQL(
                "SELECT target FROM {bad} UNION SELECT target FROM {table} "
                "GROUP BY target, {id} HAVING count(*) > 1"
            ).format(bad=self.bad, table=self.table, id=sql.Identifier(self.query.columns[0].name))
        )
        return {target for (target,) in rows}
