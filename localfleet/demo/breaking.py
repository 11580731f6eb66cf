"""Breaks the running demo on purpose, to see what RAINBO makes of it, and repairs it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from localfleet.data import schema
from localfleet.demo import accounts, lock
from localfleet.errors import FleetError
from localfleet.processes import process_table
from localfleet.servers.server import Server

MASTER = "rds1"
VICTIM = "rds2"  # not the master, so that it is one problem of many
# Of e-mails that no other row has, so that none comes forward in its place; others at each call
CHANGE_ROWS = """
WITH single AS (
    SELECT min(id) AS id FROM user_email_routing GROUP BY lower(email) HAVING count(*) = 1
), chosen AS (
    SELECT id, row_number() OVER (ORDER BY updated_at, id) AS place
      FROM user_email_routing JOIN single USING (id) ORDER BY updated_at, id LIMIT 4),
gone AS (
    DELETE FROM user_email_routing WHERE id = (SELECT id FROM chosen WHERE place = 4))
UPDATE user_email_routing AS row SET user_name = row.user_name || ' (renamed)', updated_at = now()
  FROM chosen WHERE row.id = chosen.id AND chosen.place < 4"""


def repair_file(root: Path) -> Path:
    """Its presence asks the demo to start again what has ended."""
    return root / "repair"


def rest_file(root: Path) -> Path:
    """Its presence asks the demo to stop its workers."""
    return root / "rest"


def stop_instance(root: Path) -> str:
    """Stop an instance's server as its administrator would. Returns what to look at."""
    _check_serving(root)
    try:
        pid = int((Server(root, VICTIM).data / "postmaster.pid").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        raise FleetError(
            f"The server of instance {VICTIM} does not run: start it again with "
            "`make demo-break WHAT=repair`."
        ) from None
    process_table.send(pid, signal.SIGINT)
    if not process_table.wait_gone(pid, seconds=30):
        raise FleetError(f"The server of instance {VICTIM} did not stop within 30 s.")
    return (
        f"The server of instance {VICTIM} is stopped. Within two or three minutes the console "
        "shows an incident, and its channels get a message."
    )


def stop_workers(root: Path) -> str:
    """Ask the demo to stop its workers. Returns what to look at."""
    _check_serving(root)
    rest_file(root).touch()
    return (
        "The demo stops its workers: no schedule fires. Within three minutes the console shows "
        "that they are down, and what waits for them. `make demo-break WHAT=repair` starts them "
        "again."
    )


def repair(root: Path) -> str:
    """Ask the demo to start again what has ended."""
    _check_serving(root)
    repair_file(root).touch()
    return (
        "The demo starts again what was stopped. The incident is resolved within two minutes; that "
        "it is, channels get five minutes after their last message."
    )


def revoke_token(root: Path) -> str:
    """Have the demo's GitHub no longer accept the token that is stored. Returns what to look at."""
    _check_serving(root)
    return accounts.break_token(root)


def connect_again(root: Path) -> str:
    """Connect the demo's GitHub account again."""
    _check_serving(root)
    return accounts.repair_token(root)


def change_rows(root: Path) -> str:
    """Change three rows of the master's directory and delete one. Returns what to do next."""
    _check_serving(root)
    with Server(root, MASTER).connect(schema.DATABASE, autocommit=False) as connection:
        connection.execute(CHANGE_ROWS)
    return (
        f"Three rows of the directory on instance {MASTER} are changed and one is deleted. The "
        'next sync finds them: make manage CMD="sync_user_routing"'
    )


WAYS: Mapping[str, Callable[[Path], str]] = {
    "instance": stop_instance,
    "workers": stop_workers,
    "repair": repair,
    "rows": change_rows,
    "github-token": revoke_token,
    "github-token-repair": connect_again,
}


def _check_serving(root: Path) -> None:
    if not lock.serving(root):
        raise FleetError("No demo serves in this checkout: start it with `make demo`.")
