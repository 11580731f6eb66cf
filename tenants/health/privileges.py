"""What RAINBO's role may do on an instance, compared with what the queries need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from common.text import listed
from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections, grants
from tenants.fleet.grants import Right
from tenants.health.findings import Finding, Level
from tenants.health.needs import Needs

NAMED = 8  # files or columns in one message
_ATTRIBUTES = """
    SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication,
           rolbypassrls AND NOT EXISTS (SELECT FROM pg_class WHERE relrowsecurity)
      FROM pg_roles WHERE rolname = current_user"""
_ALL_DATA = """
    SELECT entered.rolname::text, role.rolname::text
      FROM pg_roles AS role
      JOIN pg_auth_members AS membership
        ON membership.member = (SELECT oid FROM pg_roles WHERE rolname = current_user)
      JOIN pg_roles AS entered
        ON entered.oid = membership.roleid AND pg_has_role(entered.oid, role.oid, 'USAGE')
     WHERE role.rolname IN ('pg_read_all_data', 'pg_write_all_data')
     ORDER BY 1, 2"""
_ACLS = Path(__file__).with_suffix(".sql")


def findings(
    role: str, source: connections.Connection, needed: Needs, by_file: Mapping[str, Needs]
) -> list[Finding]:
    """needed: of all files together."""
    found = [*_secrets(by_file), *_missing(role, needed, by_file)]
    found += _too_much(role, source, needed)
    if needed.unreadable:
        names = listed(sorted(needed.unreadable), NAMED)
        text = f"what {names} reads and writes can't be known: privileges to write are not judged"
        return [*found, Finding(Level.OK, text)]
    return found or [Finding(Level.OK, f"{role} has the privileges that it needs, and no others")]


def _missing(role: str, needed: Needs, by_file: Mapping[str, Needs]) -> list[Finding]:
    found = []
    for _, group in groupby(sorted(needed.missing), key=lambda right: (right.kind, right.name)):
        rights = [right for right in group if not right.is_secret]
        if rights:
            right = rights[0]
            what = f"{grants.privileges(rights)} on {right.kind.lower()} {right.name}"
            files = listed([file for file, one in by_file.items() if _touches(one, right)], NAMED)
            (statement,) = grants.grant(rights, role)
            found.append(
                Finding(Level.ERROR, f"{role} is missing {what}, needed by {files}: {statement}")
            )
    return found


def _touches(one: Needs, right: Right) -> bool:
    return any((other.kind, other.name) == (right.kind, right.name) for other in one.missing)


def _secrets(by_file: Mapping[str, Needs]) -> list[Finding]:
    return [
        Finding(
            Level.ERROR,
            f"{file} reads {right.name}.{grants.quoted(right.column)}, and RAINBO asks for no "
            "secrets: name the columns that it needs in the query, without this one",
        )
        for file, one in by_file.items()
        for right in sorted(one.rights)
        if right.is_secret
    ]


def _too_much(role: str, source: connections.Connection, needed: Needs) -> list[Finding]:
    everything = " ".join(grants.grant(needed.rights, role))
    quoted = grants.quoted(role)
    row = source.execute(_ATTRIBUTES).fetchone() or (False,) * 5
    attributes = ("SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS")
    more = [word for word, has in zip(attributes, row, strict=True) if has]
    found = []
    if more:
        taken = f"ALTER ROLE {quoted} {' '.join(f'NO{word}' for word in more)};"
        if "SUPERUSER" in more:
            taken = f"{taken} {everything}"
        found.append(_warning(f"{role} is {', '.join(more)}, more than it needs: {taken}"))
    if "SUPERUSER" in more:
        return found
    for entered, name in source.execute(_ALL_DATA).fetchall():
        does = "read passwords" if name == "pg_read_all_data" else "write to every table"
        found.append(
            _warning(
                f"{role} can {does} through {name}, more than it needs: "
                f"REVOKE {grants.quoted(entered)} FROM {quoted}; {everything}"
            )
        )
    rows = source.execute(verbatim(_ACLS.read_text(encoding="utf-8"))).fetchall()
    for (schema, name, how, grantee), group in groupby(rows, key=lambda row: (*row[:2], *row[4:6])):
        table = grants.qualified(schema, name)
        extra = _superfluous(table, group, needed.rights)
        for rights in (
            [right for right in extra if right.privilege == "SELECT"],
            [right for right in extra if right.privilege != "SELECT" and not needed.unreadable],
        ):
            if rights:
                repair = _repair(how, grantee, rights, quoted, needed.rights, everything)
                found.append(_warning(f"{role} {_does(table, rights)}, more than it needs{repair}"))
    return found


def _superfluous(
    table: str, rows: Iterable[tuple[Any, ...]], needed: Iterable[Right]
) -> list[Right]:
    """Return the rights on one table that nothing needs. A whole table has the column ""."""
    found = []
    for _, _, privilege, column, _, _, columns in rows:
        held = {column} if column else set(columns)
        if privilege == "SELECT":
            is_extra = any(map(grants.is_secret, held))
        else:
            used = {
                right.column
                for right in needed
                if right.name == table and right.privilege == privilege
            }
            by_column = privilege in ("INSERT", "UPDATE")
            is_extra = "" not in used and not (by_column and held <= used)
        if is_extra:
            found.append(Right("TABLE", table, privilege, column=column or ""))
            if privilege == "SELECT" and not column:
                secrets = [name for name in columns if grants.is_secret(name)]
                found += [Right("TABLE", table, privilege, column=name) for name in secrets]
    return found


def _does(table: str, rights: list[Right]) -> str:
    if rights[0].privilege != "SELECT":
        return f"can write to {table}"
    columns = dict.fromkeys(right.column for right in rights if right.column)
    return f"can read {listed([f'{table}.{grants.quoted(name)}' for name in columns], NAMED)}"


def _repair(
    how: str, grantee: str, rights: list[Right], role: str, needed: set[Right], everything: str
) -> str:
    table = rights[0].name
    if how == "owner":
        return f": it owns {table}, or is a member of its owner; give it another owner"
    if how == "role":
        return (
            f", as a member of {grantee}: REVOKE {grants.quoted(grantee)} FROM {role}; {everything}"
        )
    whole = {right.privilege for right in rights if not right.column}
    taken = [right for right in rights if not right.column or right.privilege not in whole]
    # Taking a privilege from the table takes it from every column of it.
    again = {right for right in needed if right.name == table and right.privilege in whole}
    whose = "PUBLIC" if how == "public" else role
    start = ", through PUBLIC: " if how == "public" else ": "
    return start + " ".join([grants.revoke(taken, table, whose), *_regrant(again, role)])


def _regrant(rights: set[Right], quoted_role: str) -> list[str]:
    kept = {right for right in rights if not right.is_secret}
    if not kept:
        return []
    return [f"GRANT {grants.privileges(kept)} ON {next(iter(kept)).name} TO {quoted_role};"]


def _warning(text: str) -> Finding:
    return Finding(Level.WARNING, text)
