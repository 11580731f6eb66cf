"""The privileges that RAINBO's role needs on an instance, and the statements that grant them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from common import redaction

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
# Of SQL's reserved words those that a table or column is likely to be called.
_RESERVED = re.compile(
    r"all|analyse|analyze|and|any|array|as|asc|authorization|between|binary|both|case|cast"
    r"|check|collate|collation|column|concurrently|constraint|create|cross|current_date"
    r"|current_role|current_time|current_timestamp|current_user|default|deferrable|desc"
    r"|distinct|do|else|end|except|false|fetch|for|foreign|freeze|from|full|grant|group"
    r"|having|ilike|in|initially|inner|intersect|into|is|isnull|join|lateral|leading|left"
    r"|like|limit|localtime|localtimestamp|natural|not|notnull|null|offset|on|only|or|order"
    r"|outer|overlaps|placing|primary|references|returning|right|select|session_user|similar"
    r"|some|symmetric|system_user|table|tablesample|then|to|trailing|true|union|unique|user"
    r"|using|variadic|verbose|when|where|window|with"
)
_MOMENTS = ("_at", "_on")  # password_changed_at is no secret
ANY = "*"  # one column, whichever: the query counts rows


@dataclass(frozen=True, order=True)
class Right:
    """A privilege on an object, or on a column of it.

    kind: SCHEMA, TABLE, SEQUENCE or FUNCTION. name: as SQL writes it. place: of the column in its
    table. column: empty for the whole.
    """

    kind: str
    name: str
    privilege: str
    place: int = 0
    column: str = ""

    @property
    def is_secret(self) -> bool:
        return self.privilege == "SELECT" and is_secret(self.column)


def is_secret(column: str) -> bool:
    """Whether a column's name says that it holds a password or another secret."""
    return redaction.is_secret(column) and not column.lower().endswith(_MOMENTS)


def grant(rights: Iterable[Right], role: str) -> list[str]:
    """Return the statements that grant the rights, one for each object."""
    objects: dict[tuple[str, str], set[Right]] = {}
    for right in rights:
        if not right.is_secret:
            objects.setdefault((right.kind, right.name), set()).add(right)
    order = ("SCHEMA", "TABLE", "SEQUENCE", "FUNCTION")
    return [
        f"GRANT {privileges(objects[key])} ON {_object(*key)} TO {quoted(role)};"
        for key in sorted(objects, key=lambda key: (order.index(key[0]), key[1]))
    ]


def revoke(rights: Iterable[Right], table: str, role: str) -> str:
    """Return the statement that takes the rights on a table."""
    return f"REVOKE {privileges(rights)} ON {table} FROM {role};"


def privileges(rights: Iterable[Right]) -> str:
    """Return the rights on one object as GRANT writes them."""
    columns: dict[str, list[str]] = {}
    for right in sorted(rights):
        columns.setdefault(right.privilege, []).append(right.column)
    return ", ".join(_privilege(name, columns[name]) for name in sorted(columns, key=_order))


def qualified(schema: str, name: str) -> str:
    return f"{quoted(schema)}.{quoted(name)}"


def quoted(identifier: str) -> str:
    """Quote an SQL identifier if necessary."""
    if _PLAIN.fullmatch(identifier) and not _RESERVED.fullmatch(identifier):
        return identifier
    return '"' + identifier.replace('"', '""') + '"'


def _privilege(name: str, columns: list[str]) -> str:
    return name if "" in columns else f"{name} ({', '.join(map(quoted, columns))})"


def _object(kind: str, name: str) -> str:
    return name if kind == "TABLE" else f"{kind} {name}"


def _order(privilege: str) -> int:
    names = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "USAGE", "EXECUTE")
    return names.index(privilege)
