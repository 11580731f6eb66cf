"""The CHECK constraints on schedules, and how to restore one that is missing."""

from __future__ import annotations

from importlib import import_module

from django.db import connection, transaction

LOCK_TIMEOUT = "5s"  # for sessions that write to the table while a constraint is restored

_WRITTEN_IN = {
    "only_our_schedules": ("0002_only_our_schedules", "ADD"),
    "only_rhythms_that_come": ("0016_cron_lines_of_one_meaning", "ADD"),
    "only_rows_that_fire": ("0012_rows_that_nothing_chokes_on", "ROWS"),
    "only_pauses_that_end": ("0012_rows_that_nothing_chokes_on", "PAUSES"),
    "only_options_that_fit": ("0012_rows_that_nothing_chokes_on", "OPTIONS"),
}


def missing() -> list[str]:
    """Return the names of the constraints that the tables do not have."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid IN "
            "('django_q_schedule'::regclass, 'syncs_syncschedule'::regclass)"
        )
        found = {name for (name,) in cursor.fetchall()}
    return [name for name in _WRITTEN_IN if name not in found]


def restore(name: str) -> None:
    """Restore a constraint for new and changed rows; existing rows are not checked.

    Raises DatabaseError if the role has no privilege for it or the table stays locked for too long.
    """
    migration, written = _WRITTEN_IN[name]
    statement: str = getattr(import_module(f"syncs.migrations.{migration}"), written)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"{statement.rstrip()} NOT VALID")
