"""Runs the ghost statement for an invented admin, and undoes it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from syncs.errors import ContractBroken
from syncs.transfer.copy_stream import verbatim
from tenants.fleet import connections, contract

NAME = "sync_ghost_users"
COLUMNS = ["admin_id", "remote_id", "outcome", "why"]


def run(source: connections.Connection, group: str = "", roles: Sequence[str] = ()) -> None:
    """Create, retire and reactivate a ghost inside a transaction that writes, and roll it back.

    roles: what ghosts may be there by the instance's mapping; the ghost is made with each.
    Raises ContractBroken if the statement answers otherwise than it should, and psycopg errors as
    they are. Numbers that a sequence gave out meanwhile stay used.
    """
    statement = contract.text(NAME, group)
    admin = f"9{secrets.randbelow(10**17):017d}"
    wanted: dict[str, object] = {
        "ids": [admin],
        "emails": [f"rainbo-admin-{admin}@system.internal"],
        "names": ["RAINBO check"],
        "roles": [None],
        "installation": f"check-{secrets.token_hex(8)}",
        "only": [admin],
        "create": True,
    }
    unwanted = wanted | {"ids": [], "emails": [], "names": [], "roles": []}
    steps = [
        ("created", wanted),
        ("unchanged", wanted),
        ("deactivated", unwanted),
        ("inactive", unwanted),
        ("reactivated", wanted),
    ]
    for role in roles:
        steps += [("deactivated", unwanted), ("reactivated", wanted | {"roles": [role]})]
    with source.transaction(force_rollback=True):
        for expected, values in steps:
            cursor = source.execute(verbatim(statement), values)
            names = [column.name for column in cursor.description or ()]
            if names != COLUMNS:
                raise ContractBroken(f"it returns {_listed(names)}, not {_listed(COLUMNS)}")
            _judge(cursor.fetchall(), admin, expected)
            source.execute("SET CONSTRAINTS ALL IMMEDIATE")  # they would fail at the commit


def _judge(rows: list[tuple[Any, ...]], admin: str, expected: str) -> None:
    own = [row for row in rows if row[0] == admin]
    if [row[2] for row in own] == [expected]:
        return
    answered = "; ".join(f"{row[2]}{f' ({row[3]})' if row[3] else ''}" for row in own) or "no row"
    raise ContractBroken(
        f"for an invented admin it should answer with one row of the outcome {expected}, and it "
        f"answered: {answered}"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no columns"
