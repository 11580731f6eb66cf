"""What the text of a query refers to: relations with their columns, functions and schemas.

A server that refuses a query names one missing privilege and nothing else. So the text is read by
PostgreSQL's own parser, and its names are looked up as the server would: by the scopes of the
query, then in the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tenants.health.catalog import Catalog, Relation

Node = Any  # of the parser: dicts, lists and values
Names = tuple[str, ...] | None  # of a subquery's columns; None: unknown


@dataclass
class References:
    """The columns of each relation by privilege, as its own names; empty: of any column.

    functions: schema or None, name and number of arguments. schemas: those of types.
    """

    columns: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    functions: set[tuple[str | None, str, int]] = field(default_factory=set)
    schemas: set[str] = field(default_factory=set)

    def add(self, relation: Relation, privilege: str, names: Iterable[str] = ()) -> None:
        self.columns.setdefault((relation.oid, privilege), set()).update(names)


@dataclass
class _Source:
    """An item of FROM. columns: what it is called here → its own name; None: unknown.

    parts: the items of a join that has an alias.
    """

    alias: str
    columns: dict[str, str] | None
    relation: Relation | None = None
    parts: tuple[_Source, ...] = ()


@dataclass
class _Scope:
    outer: _Scope | None = None
    sources: list[_Source] = field(default_factory=list)
    ctes: dict[str, Names] = field(default_factory=dict)

    def levels(self) -> Iterator[_Scope]:
        level: _Scope | None = self
        while level is not None:
            yield level
            level = level.outer

    def outside(self) -> _Scope:
        """What a subquery of FROM sees: none of its neighbours."""
        return _Scope(self.outer, [], self.ctes)

    def finds_cte(self, name: str) -> bool:
        return any(name in level.ctes for level in self.levels())

    def cte(self, name: str) -> Names:
        return next(level.ctes[name] for level in self.levels() if name in level.ctes)


def read(statements: list[Node], catalog: Catalog) -> References:
    """Return what parsed statements refer to. The catalog must have loaded their `relations`."""
    reader = _Reader(catalog)
    for statement in statements:
        reader.walk(statement, _Scope())
    return reader.found


def relations(node: Node) -> set[tuple[str | None, str]]:
    """Return schema and name of everything in a parsed text that may be a relation."""
    found = set()
    left = [node]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            if "relname" in one:
                found.add((one.get("schemaname"), one["relname"]))
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
    return found


class _Reader:
    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.found = References()
        self.statements = {
            "SelectStmt": self._select,
            "InsertStmt": self._insert,
            "UpdateStmt": self._update,
            "DeleteStmt": self._delete,
        }

    def walk(self, node: Node, scope: _Scope) -> None:
        """Note what an expression refers to."""
        if isinstance(node, list):
            for child in node:
                self.walk(child, scope)
        elif isinstance(node, Mapping):
            for key, value in node.items():
                self._field(key, value, scope)

    def _field(self, key: str, value: Node, scope: _Scope) -> None:
        if key in self.statements:
            self.statements[key](value, scope)
        elif key == "ColumnRef":
            self._column(value["fields"], scope)
        else:
            if key == "FuncCall":
                *schema, name = _strings(value["funcname"])
                count = len(value.get("args", ()))
                self.found.functions.add((schema[-1] if schema else None, name, count))
            elif key in ("TypeName", "typeName"):
                self.found.schemas.update(_strings(value.get("names", ()))[:-1][-1:])
            self.walk(value, scope)

    # Statements: each returns the names of the columns that it gives.

    def _select(self, node: Node, outer: _Scope) -> Names:
        scope = self._with(node, outer)
        if "larg" in node:
            return self._combined(node, scope)
        for item in node.get("fromClause", ()):
            self._from(item, scope)
        names = self._targets(node.get("targetList", []), scope)
        for part in ("valuesLists", "whereClause", "havingClause", "windowClause", "limitCount"):
            self.walk(node.get(part), scope)
        for part in ("distinctClause", "groupClause"):
            self.walk(node.get(part), scope)
        self._sorted(node.get("sortClause", []), names, scope)
        if "valuesLists" in node:
            width = len(node["valuesLists"][0]["List"]["items"])
            return tuple(f"column{number}" for number in range(1, width + 1))
        return names

    def _combined(self, node: Node, scope: _Scope) -> Names:
        """UNION and the like, by a loop: a query over many schemas is a deep tree."""
        while "larg" in node:
            self._select(node["rarg"], scope)
            node = node["larg"]
            if "withClause" in node:
                break
        return self._select(node, scope)

    def _insert(self, node: Node, outer: _Scope) -> Names:
        scope = self._with(node, outer)
        target = self._relation(node["relation"], scope)
        written = [one["ResTarget"]["name"] for one in node.get("cols", ())]
        self._writes(target, "INSERT", written or [*(target.columns or ())])
        if "selectStmt" in node:
            self.walk(node["selectStmt"], scope)
        scope.sources.append(target)
        conflict = node.get("onConflictClause", {})
        for one in conflict.get("infer", {}).get("indexElems", ()):
            if name := one["IndexElem"].get("name"):
                self._reads(target, [name])
            self.walk(one, scope)
        scope.sources.append(replace(target, alias="excluded"))
        self._assigns(target, conflict.get("targetList", []), scope)
        self.walk(conflict.get("whereClause"), scope)
        scope.sources.pop()
        return self._targets(node.get("returningList", []), scope)

    def _update(self, node: Node, outer: _Scope) -> Names:
        scope = self._with(node, outer)
        target = self._relation(node["relation"], scope)
        scope.sources.append(target)
        for item in node.get("fromClause", ()):
            self._from(item, scope)
        self._assigns(target, node["targetList"], scope)
        self.walk(node.get("whereClause"), scope)
        return self._targets(node.get("returningList", []), scope)

    def _delete(self, node: Node, outer: _Scope) -> Names:
        scope = self._with(node, outer)
        target = self._relation(node["relation"], scope)
        self._writes(target, "DELETE", [])
        scope.sources.append(target)
        for item in node.get("usingClause", ()):
            self._from(item, scope)
        self.walk(node.get("whereClause"), scope)
        return self._targets(node.get("returningList", []), scope)

    def _with(self, node: Node, outer: _Scope) -> _Scope:
        scope = _Scope(outer)
        clause = node.get("withClause", {})
        for one in clause.get("ctes", ()):
            cte = one["CommonTableExpr"]
            named = tuple(_strings(cte.get("aliascolnames", ())))
            if clause.get("recursive"):
                scope.ctes[cte["ctename"]] = named or None
            ((kind, body),) = cte["ctequery"].items()
            read = self.statements.get(kind)
            names = read(body, _Scope(outer, [], scope.ctes)) if read else None
            scope.ctes[cte["ctename"]] = _renamed(names, named)
        return scope

    # FROM

    def _from(self, item: Node, scope: _Scope) -> None:
        ((kind, node),) = item.items()
        if kind == "JoinExpr":
            self._join(node, scope)
            return
        if kind == "RangeTableSample":
            self._from(node["relation"], scope)
            return
        if kind == "RangeVar":
            source = self._relation(node, scope)
            if source.relation is not None:
                self.found.add(source.relation, "SELECT")
            scope.sources.append(source)
            return
        alias = node.get("alias", {})
        given = tuple(_strings(alias.get("colnames", ())))
        if kind == "RangeSubselect":
            ((_, query),) = node["subquery"].items()
            names = self._select(query, scope if node.get("lateral") else scope.outside())
            names = _renamed(names, given)
        else:  # a function: it may refer to what stands before it
            self.walk(node, scope)
            names = given or _declared(node)
        columns = None if names is None else {name: name for name in names}
        scope.sources.append(_Source(alias.get("aliasname", ""), columns))

    def _join(self, node: Node, scope: _Scope) -> None:
        first = len(scope.sources)
        self._from(node["larg"], scope)
        middle = len(scope.sources)
        self._from(node["rarg"], scope)
        left, right = scope.sources[first:middle], scope.sources[middle:]
        shared = _strings(node.get("usingClause", ()))
        if node.get("isNatural"):
            shared = [*(_visible(left) & _visible(right))]
        for source in (*left, *right):
            self._reads(source, shared)
        self.walk(node.get("quals"), scope)
        for key in ("alias", "join_using_alias"):
            if alias := node.get(key):
                columns = {name: name for name in _visible([*left, *right])}
                name = alias["aliasname"]
                scope.sources.append(_Source(name, columns, parts=(*left, *right)))

    def _relation(self, node: Node, scope: _Scope) -> _Source:
        name, schema = node["relname"], node.get("schemaname")
        alias = node.get("alias", {})
        given = tuple(_strings(alias.get("colnames", ())))
        called = alias.get("aliasname", name)
        if schema is None and scope.finds_cte(name):
            names = _renamed(scope.cte(name), given)
            return _Source(called, None if names is None else {one: one for one in names})
        relation = self.catalog.relation(schema, name)
        if relation is None:
            return _Source(called, None)
        own = [column.name for column in relation.columns]
        shown = _renamed(tuple(own), given) or ()
        return _Source(called, dict(zip(shown, own, strict=True)), relation)

    # Columns

    def _column(self, fields: list[Node], scope: _Scope) -> None:
        names = _strings(fields)
        if "A_Star" in fields[-1]:
            self._starred(names, scope)
        elif len(names) == 1:
            self._unqualified(names[0], scope)
        else:
            source = _named(names[-2], scope)
            if source is None and (whole := _named(names[0], scope)):
                self._reads(whole, [names[1]])  # a field of a composite column: t.point.x
            elif source is not None:
                self._reads(source, [names[-1]])

    def _unqualified(self, name: str, scope: _Scope) -> None:
        for level in scope.levels():
            having = [one for one in level.sources if name in (one.columns or ())]
            for source in having:
                self._reads(source, [name])
            if having:
                return
        if whole := _named(name, scope):
            self._reads(whole, whole.columns or ())
            return

    def _starred(self, names: list[str], scope: _Scope) -> list[_Source]:
        one = _named(names[-1], scope) if names else None
        sources = [one] if one else ([] if names else scope.sources)
        for source in sources:
            self._reads(source, source.columns or ())
        return sources

    def _targets(self, targets: list[Node], scope: _Scope) -> Names:
        names: list[str] = []
        known = True
        for one in targets:
            target = one["ResTarget"]
            value = target.get("val", {})
            fields = value.get("ColumnRef", {}).get("fields")
            if fields and "A_Star" in fields[-1]:
                sources = self._starred(_strings(fields), scope)
                known = known and all(source.columns is not None for source in sources)
                names += [name for source in sources for name in source.columns or ()]
                continue
            self.walk(value, scope)
            names.append(target.get("name") or _name_of(value))
        return tuple(names) if known else None

    def _assigns(self, target: _Source, targets: list[Node], scope: _Scope) -> None:
        self._writes(target, "UPDATE", [one["ResTarget"]["name"] for one in targets])
        for one in targets:
            self.walk(one["ResTarget"].get("val"), scope)

    def _sorted(self, clause: list[Node], names: Names, scope: _Scope) -> None:
        for one in clause:
            node = one["SortBy"]["node"]
            plain = _strings(node.get("ColumnRef", {}).get("fields", ()))
            if len(plain) != 1 or plain[0] not in (names or ()):  # else a column of the result
                self.walk(node, scope)

    def _reads(self, source: _Source, names: Iterable[str]) -> None:
        self._writes(source, "SELECT", names)

    def _writes(self, source: _Source, privilege: str, names: Iterable[str]) -> None:
        names = [*names]
        for part in source.parts:
            self._writes(part, privilege, names)
        if source.relation is not None and (names or privilege == "DELETE"):
            columns = source.columns or {}
            own = [columns[name] for name in names if name in columns]
            self.found.add(source.relation, privilege, own)


def _named(alias: str, scope: _Scope) -> _Source | None:
    sources = (source for level in scope.levels() for source in level.sources)
    return next((source for source in sources if source.alias == alias), None)


def _visible(sources: list[_Source]) -> set[str]:
    return {name for source in sources for name in source.columns or ()}


def _renamed(names: Names, given: tuple[str, ...]) -> Names:
    if names is None:
        return given or None
    return (*given, *names[len(given) :])


def _declared(node: Node) -> Names:
    """Return the columns that a table function declares."""
    parts = [*node.get("columns", ()), *node.get("coldeflist", ())]
    names = tuple(body["colname"] for part in parts for body in part.values() if "colname" in body)
    return names or None


def _name_of(value: Node) -> str:
    """Return the name that PostgreSQL gives to a column that has none."""
    for kind, body in value.items():
        if kind == "ColumnRef":
            return (_strings(body["fields"]) or ["?"])[-1]
        if kind == "FuncCall":
            return _strings(body["funcname"])[-1]
        if kind in ("TypeCast", "CollateClause"):
            return _name_of(body.get("arg", {}))
    return {"CoalesceExpr": "coalesce", "CaseExpr": "case"}.get(next(iter(value), ""), "?column?")


def _strings(nodes: Iterable[Node]) -> list[str]:
    return [node["String"]["sval"] for node in nodes if "String" in node]
