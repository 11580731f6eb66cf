"""Which rights RAINBO's role needs for a query, taken from the query and the server's catalog."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pgparse

from tenants.fleet.grants import ANY, Right, is_secret, qualified, quoted
from tenants.health import references
from tenants.health.catalog import Catalog, Function, Relation
from tenants.health.references import References

_PARAMETER = re.compile(r"%\(\w+\)s")
_ASSIGNMENT = re.compile(r"^[\w.\"\[\]]+\s*:?=\s*")
# Not SQL of the parser's version, or nested deeper than Python can follow: then the server itself
# says what is wrong with it.
_UNREADABLE = (pgparse.PGQueryError, ValueError, RecursionError)
_EVENTS = {"INSERT": 4, "DELETE": 8, "UPDATE": 16}  # bits of pg_trigger.tgtype


@dataclass
class Needs:
    """The rights that queries need. missing: those that the role has not.

    unreadable: what else is needed and can't be known, by name: queries, and functions that build
    SQL or are written in another language.
    """

    rights: set[Right] = field(default_factory=set)
    missing: set[Right] = field(default_factory=set)
    unreadable: set[str] = field(default_factory=set)

    def add(self, right: Right, *, is_held: bool) -> None:
        self.rights.add(right)
        if not is_held:
            self.missing.add(right)

    def include(self, other: Needs) -> None:
        self.rights |= other.rights
        self.missing |= other.missing
        self.unreadable |= other.unreadable


def of_query(file: str, text: str, catalog: Catalog) -> Needs:
    """Return what a query needs; nothing is known of one that the parser can't read."""
    collector = _Collector()
    parsed = _parsed(text)
    if not parsed:
        collector.needs.unreadable.add(file)
    collector.statements(parsed, catalog)
    return collector.needs


def without_parameters(text: str) -> str:
    """Return a statement with a value in place of each parameter, as SQL alone."""
    return _PARAMETER.sub("NULL", text).replace("%%", "%")


def settle(needs: Needs, catalog: Catalog) -> None:
    """Replace "any column" by one column, unless another is needed anyway."""
    for right in [right for right in needs.rights if right.column == ANY]:
        others = {
            one for one in needs.rights if one.name == right.name and one.privilege == "SELECT"
        } - {right}
        is_missing = right in needs.missing
        needs.rights.discard(right)
        needs.missing.discard(right)
        if others or (relation := catalog.called(right.name)) is None:
            continue
        plain = [column for column in relation.columns if not is_secret(column.name)]
        held = [column for column in plain if "SELECT" in column.held]
        if chosen := next(iter(held or plain), None):
            place = relation.columns.index(chosen)
            chosen_right = Right("TABLE", right.name, "SELECT", place, chosen.name)
            needs.add(chosen_right, is_held=not is_missing)


class _Collector:
    def __init__(self) -> None:
        self.needs = Needs()
        self.visited: set[tuple[str, int]] = set()

    def statements(self, parsed: list[Any], catalog: Catalog, *, by_trigger: bool = False) -> None:
        catalog.load(references.relations(parsed))
        found = references.read(parsed, catalog)
        self._relations(found, catalog, by_trigger)
        called = {call for call in found.functions if not _is_builtin(call)}
        for function in catalog.functions(called) if called else ():
            self._function(function, catalog, by_name=True)
        self._schemas(found.schemas, catalog)

    def _relations(self, found: References, catalog: Catalog, by_trigger: bool) -> None:
        for (oid, privilege), columns in found.columns.items():
            (relation,) = catalog.relations([oid])
            self._schemas([relation.schema], catalog)
            self._relation(relation, privilege, columns, by_trigger)
            if privilege != "SELECT":
                self._written(relation, privilege, columns, catalog)
            if relation.is_view:
                self._view(relation, catalog)

    def _relation(
        self, relation: Relation, privilege: str, columns: Iterable[str], by_trigger: bool
    ) -> None:
        name = relation.qualified
        if privilege == "DELETE" or (privilege == "INSERT" and by_trigger):
            right = Right("TABLE", name, privilege)
            self.needs.add(right, is_held=privilege in relation.held)
            return
        for place, column in enumerate(relation.columns):
            if column.name in columns:
                right = Right("TABLE", name, privilege, place, column.name)
                self.needs.add(right, is_held=privilege in column.held)
        if not columns:
            held = any(privilege in column.held for column in relation.columns)
            self.needs.add(Right("TABLE", name, privilege, column=ANY), is_held=held)

    def _written(
        self, relation: Relation, privilege: str, columns: set[str], catalog: Catalog
    ) -> None:
        """Triggers, defaults and checks run by the rights of who writes."""
        for oid in catalog.trigger_functions(relation.oid, _EVENTS[privilege], columns):
            for function in catalog.functions(oids=[oid]):
                self._body(function, catalog, by_trigger=True)
        if privilege == "INSERT":
            for kind, oid, schema, name, is_held in catalog.default_parts(relation.oid, columns):
                if kind == "sequence":
                    right = Right("SEQUENCE", qualified(schema, name), "USAGE")
                    self.needs.add(right, is_held=is_held)
                else:
                    self._functions([oid], catalog)
        if relation.is_view:
            parts, _ = catalog.view_parts(relation.oid)
            for base in catalog.relations(parts):
                self._written(base, privilege, columns, catalog)

    def _view(self, view: Relation, catalog: Catalog) -> None:
        if ("view", view.oid) in self.visited:
            return
        self.visited.add(("view", view.oid))
        parts, functions = catalog.view_parts(view.oid)
        for relation in catalog.relations(parts):
            if view.checks_reader:
                self._relation(relation, "SELECT", parts[relation.oid], by_trigger=False)
            if relation.is_view:
                self._view(relation, catalog)
        self._functions(functions, catalog)

    def _functions(self, oids: list[int], catalog: Catalog) -> None:
        for function in catalog.functions(oids=oids) if oids else ():
            self._function(function, catalog, by_name=False)

    def _function(self, function: Function, catalog: Catalog, *, by_name: bool) -> None:
        name = f"{qualified(function.schema, function.name)}({function.arguments})"
        self.needs.add(Right("FUNCTION", name, "EXECUTE"), is_held=function.is_held)
        if by_name:
            self._schemas([function.schema], catalog)
        self._body(function, catalog)

    def _body(self, function: Function, catalog: Catalog, *, by_trigger: bool = False) -> None:
        if not function.by_caller or ("function", function.oid) in self.visited:
            return
        self.visited.add(("function", function.oid))
        bodies = _bodies(function)
        if bodies is None:
            self.needs.unreadable.add(f"{qualified(function.schema, function.name)}()")
            return
        if function.search_path is not None:
            catalog = catalog.with_path(function.search_path)
        self.statements(bodies, catalog, by_trigger=by_trigger)

    def _schemas(self, names: Iterable[str], catalog: Catalog) -> None:
        for name, is_held in catalog.schemas(names).items():
            self.needs.add(Right("SCHEMA", quoted(name), "USAGE"), is_held=is_held)


def _bodies(function: Function) -> list[Any] | None:
    """Return the parsed statements and expressions of a function's body; None: not readable."""
    if function.language == "plpgsql":
        return _of_plpgsql(function.definition)
    if function.language != "sql":
        return None
    found = []
    for one in _parsed(function.definition):
        created = one["stmt"]["CreateFunctionStmt"]
        found += [created["sql_body"]] if "sql_body" in created else []
        for option in created.get("options", ()):
            if option["DefElem"]["defname"] == "as":
                found += _parsed(option["DefElem"]["arg"]["List"]["items"][0]["String"]["sval"])
    return found or None


def _of_plpgsql(definition: str) -> list[Any] | None:
    try:
        parsed = pgparse.parse_pgsql(definition)
    except _UNREADABLE:
        return None
    found = []
    for key, node in _fields(parsed):
        if key == "dynquery" or key.startswith("PLpgSQL_stmt_dyn"):
            return None  # it builds its SQL
        if key == "PLpgSQL_expr" and (text := node.get("query")):
            found += _parsed(text) or _parsed(f"SELECT {_ASSIGNMENT.sub('', text)}")
    return found


def _fields(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        yield from node.items()
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _fields(child)


def _parsed(text: str) -> list[Any]:
    try:
        parsed: list[Any] = pgparse.parse(text)
    except _UNREADABLE:
        return []
    return parsed


def _is_builtin(call: tuple[str | None, str, int]) -> bool:
    return call[0] == "pg_catalog"
