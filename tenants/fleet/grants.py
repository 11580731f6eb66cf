"""The privileges that RAINBO's role needs on an instance, and the statements that grant them."""

from __future__ import annotations

import re

GHOST_WRITES = (
    "email, name, password, status, is_ghost_admin, rainbo_admin_id, rainbo_installation, "
    "updated_at"
)
READ_OF_USERS = (
    "id, tenant_id, email, name, status, is_ghost_admin, rainbo_admin_id, rainbo_installation, "
    "last_login_at, created_at, updated_at"
)
OF_USERS = f"SELECT ({READ_OF_USERS}), INSERT ({GHOST_WRITES}), UPDATE ({GHOST_WRITES})"

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_KINDS = {
    "schema": "USAGE ON SCHEMA",
    "function": "EXECUTE ON FUNCTION",
    "database": "CONNECT ON DATABASE",
    "sequence": "USAGE ON SEQUENCE",
}


def grant_for(kind: str, name: str, role: str) -> str:
    """Return the statement that grants what was denied; passwords stay unreadable."""
    if kind == "function":
        return f"GRANT EXECUTE ON FUNCTION {name}() TO {quoted(role)};"
    if kind in _KINDS:
        return f"GRANT {_KINDS[kind]} {name} TO {quoted(role)};"
    rights = OF_USERS if name == "users" else "SELECT"
    return f"GRANT {rights} ON {name} TO {quoted(role)};"


def quoted(identifier: str) -> str:
    """Quote an SQL identifier if necessary."""
    if _PLAIN.fullmatch(identifier):
        return identifier
    return '"' + identifier.replace('"', '""') + '"'
