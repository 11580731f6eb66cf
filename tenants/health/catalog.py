"""An instance's catalog, as far as queries refer to it, with what RAINBO's role may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import sql

from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections
from tenants.fleet.grants import qualified

_SQL = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
_RELATIONS, _FUNCTIONS, _TRIGGERS, _VIEWS, _DEFAULTS, _SCHEMAS = (
    verbatim(part) for part in _SQL.split(";\n")[:6]
)
_PATH = r"""
    SELECT ARRAY(
        SELECT CASE entry[2] WHEN '$user' THEN current_user::text
                    ELSE coalesce(replace(entry[1], '""', '"'), lower(entry[2])) END
          FROM regexp_matches(%s, '"((?:[^"]|"")*)"|([^\s,]+)', 'g') AS entry)"""


@dataclass(frozen=True)
class Column:
    name: str
    held: frozenset[str]  # of SELECT, INSERT and UPDATE


@dataclass(frozen=True)
class Relation:
    oid: int
    schema: str
    name: str
    kind: str
    checks_reader: bool  # a view with security_invoker
    held: frozenset[str]  # on all of it
    columns: tuple[Column, ...]

    @property
    def qualified(self) -> str:
        return qualified(self.schema, self.name)

    @property
    def is_view(self) -> bool:
        return self.kind == "v"


@dataclass(frozen=True)
class Function:
    oid: int
    schema: str
    name: str
    arguments: str
    is_held: bool
    language: str
    by_caller: bool  # its body runs by the rights of who calls it, and may use tables
    definition: str
    search_path: str | None


class Catalog:
    """Looks names up as the server would for RAINBO's role, whether it has a right or not."""

    def __init__(self, source: connections.Connection, path: list[str]) -> None:
        self.source = source
        self.path = path
        self._by_name: dict[tuple[str | None, str], Relation | None] = {}
        self._by_oid: dict[int, Relation] = {}
        self._schemas: dict[str, bool] = {}

    def with_path(self, setting: str) -> Catalog:
        """Return a catalog that looks names up by another search_path."""
        other = Catalog(self.source, _path(self.source, setting))
        other._by_oid, other._schemas = self._by_oid, self._schemas
        return other

    def load(self, names: Iterable[tuple[str | None, str]]) -> None:
        asked = [name for name in names if name not in self._by_name]
        self._by_name |= dict.fromkeys(asked)
        for number, relation in self._relations([*asked], []):
            self._by_name[asked[number - 1]] = relation

    def relation(self, schema: str | None, name: str) -> Relation | None:
        return self._by_name.get((schema, name))

    def called(self, qualified_name: str) -> Relation | None:
        """Return a relation that was met before, by its name as SQL writes it."""
        found = (one for one in self._by_oid.values() if one.qualified == qualified_name)
        return next(found, None)

    def relations(self, oids: Iterable[int]) -> list[Relation]:
        if new := [oid for oid in oids if oid not in self._by_oid]:
            for _ in self._relations([], new):
                pass
        return [self._by_oid[oid] for oid in oids if oid in self._by_oid]

    def functions(
        self, calls: Iterable[tuple[str | None, str, int]] = (), oids: Iterable[int] = ()
    ) -> list[Function]:
        calls = [*calls]
        schemas, names, counts = ([call[at] for call in calls] for at in range(3))
        rows = self._rows(
            _FUNCTIONS,
            schemas=schemas,
            names=names,
            counts=counts,
            path=self.path,
            oids=[*oids],
        )
        return [Function(*row) for row in rows]

    def trigger_functions(self, oid: int, events: int, columns: Iterable[str]) -> list[int]:
        """Return the functions that a write calls. events: bits of pg_trigger.tgtype."""
        rows = self._rows(_TRIGGERS, oid=oid, events=events, columns=[*columns])
        return [function for (function,) in rows]

    def view_parts(self, oid: int) -> tuple[dict[int, set[str]], list[int]]:
        """Return the columns of each relation that a view reads, and the functions it calls."""
        columns: dict[int, set[str]] = {}
        functions = []
        for kind, found, column in self._rows(_VIEWS, oid=oid):
            if kind == "function":
                functions.append(found)
            else:
                columns.setdefault(found, set()).update([column] if column else [])
        return columns, functions

    def default_parts(
        self, oid: int, given: Iterable[str]
    ) -> list[tuple[str, int, str, str, bool]]:
        """Return (kind, oid, schema, name, is held) of what a new row's defaults and checks use."""
        return self._rows(_DEFAULTS, oid=oid, given=[*given])

    def schemas(self, names: Iterable[str]) -> dict[str, bool]:
        """Return the schemas that are there, and whether the role may use them."""
        if not self._schemas:
            self._schemas.update(self._rows(_SCHEMAS))
        return {name: self._schemas[name] for name in names if name in self._schemas}

    def _relations(
        self, asked: list[tuple[str | None, str]], oids: list[int]
    ) -> Iterator[tuple[int, Relation]]:
        schemas, names = ([one[at] for one in asked] for at in range(2))
        rows = self._rows(_RELATIONS, schemas=schemas, names=names, path=self.path, oids=oids)
        for row in rows:
            number, oid, schema, name, kind, checks_reader, whole, *arrays = row
            columns = tuple(Column(one, _held(flags)) for one, *flags in zip(*arrays, strict=True))
            held = frozenset(whole)
            relation = Relation(oid, schema, name, kind, checks_reader, held, columns)
            self._by_oid[relation.oid] = relation
            yield number, relation

    def _rows(self, query: sql.SQL, **values: Any) -> list[Any]:
        return self.source.execute(query, values).fetchall()


@contextmanager
def reading(source: connections.Connection) -> Iterator[Catalog]:
    """Yield the catalog as RAINBO's role finds names in it.

    search_path is empty meanwhile, so that the server writes every name with its schema.
    """
    row = source.execute("SELECT pg_catalog.current_setting('search_path')").fetchone()
    with source.transaction(force_rollback=True):
        path = _path(source, row[0] if row else "")
        source.execute("SET LOCAL search_path = ''")
        yield Catalog(source, path)


def _path(source: connections.Connection, setting: str) -> list[str]:
    row = source.execute(_PATH, [setting]).fetchone()
    found: list[str] = row[0] if row else []
    return found if "pg_catalog" in found else ["pg_catalog", *found]


def _held(flags: Iterable[bool]) -> frozenset[str]:
    names = ("SELECT", "INSERT", "UPDATE")
    return frozenset(name for name, has in zip(names, flags, strict=True) if has)
