"""Tries the queries of an instance one by one, each for a limited time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from common.errors import RainboError
from syncs.errors import SourceTimeout
from syncs.transfer import copy_stream
from syncs.transfer.copy_stream import Query, verbatim
from syncs.transfer.snapshot_check import TablesReplaced
from tenants.fleet import connections, contract
from tenants.fleet.server_errors import denied, translating_query_errors
from tenants.health.findings import Finding, Level
from tenants.health.probe import measure
from tenants.models import RdsInstance

HEALTH = "sync_instance_health"
_NAME = re.compile(r"^\w+\.sql: ")
ROWS = 20  # that are read of each query


@dataclass(frozen=True)
class QueryCheck:
    """seconds: for each statement."""

    instance: RdsInstance
    source: connections.Connection
    seconds: float

    def health(self, text: str, now: Callable[[], datetime]) -> list[Finding]:
        try:
            with self._limited():
                result = measure(self.source, text, now)
        except RainboError as error:
            return [failed(self._label(HEALTH), error)]
        clock = f"clock within {abs(result.skew_ms) / 1000:.1f} s of ours"
        return [
            *(Finding(Level.WARNING, text) for text in result.warnings),
            Finding(Level.OK, clock),
            fits(self._label(HEALTH)),
        ]

    def read(self, name: str) -> list[Finding]:
        """Read some rows, so that what fails only with values is found, and all ids."""
        query = contract.query(name, self.instance.schema_group)
        proof = "reads without errors"
        try:
            with self._limited():
                copy_stream.probe(self.source, query)
            with self._limited():
                self.source.execute(_some_rows(query))
            proof = "has unique ids"
            with self._limited():
                row = self.source.execute(_double_id(query)).fetchone()
        except TablesReplaced:
            raise  # all is read again
        except SourceTimeout as error:
            text = f"not known within {self.seconds:g} s whether it {proof}: {error}"
            return [Finding(Level.WARNING, f"{self._label(name)}: {text}")]
        except RainboError as error:
            return [failed(self._label(name), error)]
        if row is None:
            return [fits(self._label(name))]
        what = "a row without an id" if row[0] is None else f"more than one row with id {row[0]}"
        return [failed(self._label(name), f"there is {what}, and ids are unique")]

    def _label(self, name: str) -> str:
        return contract.label(name, self.instance.schema_group)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Limit the block's statements; an error does not abort the checks that follow."""
        with translating_query_errors(self.instance, self.source), self.source.transaction():
            before = _timeout(self.source)
            _set_timeout(self.source, f"{self.seconds:g}s")
            yield
            _set_timeout(self.source, before)


def fits(label: str) -> Finding:
    return Finding(Level.OK, f"{label}: tried, every column as it should be")


def failed(label: str, error: object) -> Finding:
    text = _NAME.sub("", str(error))
    if said := denied(error):
        text = (
            f"{said}, which the query itself does not name: a view's owner needs it, or a function "
            "or trigger that builds its SQL; grant it there"
        )
    return Finding(Level.ERROR, f"{label}: {text}")


def _some_rows(query: Query) -> sql.Composed:
    return sql.SQL(
        "SELECT pg_catalog.count(source::text) FROM (SELECT * FROM ({}) AS source LIMIT {}) "
        "AS source"
    ).format(verbatim(query.sql), ROWS)


def _double_id(query: Query) -> sql.Composed:
    return sql.SQL(
        'SELECT id::text COLLATE "C" FROM ({}) AS source GROUP BY 1 '
        "HAVING pg_catalog.count(*) > 1 OR pg_catalog.count(id) = 0 LIMIT 1"
    ).format(verbatim(query.sql))


def _timeout(source: connections.Connection) -> str:
    row = source.execute("SELECT pg_catalog.current_setting('statement_timeout')").fetchone()
    return row[0] if row else "0"


def _set_timeout(source: connections.Connection, value: str) -> None:
    source.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(value)))
