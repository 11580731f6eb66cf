"""What RAINBO's role may do on an instance beyond its needs."""

from __future__ import annotations

from pathlib import Path

from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections, grants
from tenants.health.findings import Finding, Level
from tenants.models import RdsInstance

_ATTRIBUTES = """
    SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication,
           rolbypassrls AND NOT EXISTS (SELECT FROM pg_class WHERE relrowsecurity)
      FROM pg_roles WHERE rolname = current_user"""
_RIGHTS = Path(__file__).with_suffix(".sql")


def findings(instance: RdsInstance, source: connections.Connection) -> list[Finding]:
    row = source.execute(_ATTRIBUTES).fetchone() or (False,) * 5
    attributes = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")
    more = [word for word, has in zip(attributes, row, strict=True) if has]
    role = grants.quoted(instance.user)
    if more:
        taken = " ".join(f"NO{word}" for word in more)
        text = (
            f"{instance.user} is {', '.join(more)}, more than it needs: ALTER ROLE {role} {taken};"
        )
        return [Finding(Level.WARNING, text)]
    rows = source.execute(verbatim(_RIGHTS.read_text(encoding="utf-8"))).fetchall()
    found = [_too_much(role, what, name) for what, name in rows]
    return found or [Finding(Level.OK, f"{instance.user} has no rights beyond its needs")]


def _too_much(role: str, what: str, name: str) -> Finding:
    if what == "sequence":
        text = f"{role} can't number new users: GRANT USAGE ON SEQUENCE {name} TO {role};"
        return Finding(Level.ERROR, text)
    if what == "passwords":
        table = name.rpartition(".")[0]
        again = grants.grant_for("table", table, role)
        taken = f"REVOKE SELECT ON {table} FROM {role};"  # noqa: S608 (text for a person)
        text = f"{role} can read {name}, more than it needs: {taken}"
        return Finding(Level.WARNING, f"{text} {again}" if table == "users" else text)
    text = (
        f"{role} can write to {name}, more than it needs: "
        f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {name} FROM {role};"
    )
    if name == "users":
        text += f" {grants.grant_for('table', name, role)}"
    return Finding(Level.WARNING, text)
