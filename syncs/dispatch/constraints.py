"""What the database refuses to store of schedules, and how it comes back when it was taken away."""

from __future__ import annotations

from importlib import import_module

from django.db import connection, transaction

PATIENCE = "5s"  # how long a restoration waits for those who write into the table

_WRITTEN_IN = {
    "only_our_schedules": ("0002_only_our_schedules", "ADD"),
    "only_rhythms_that_come": ("0012_rows_that_nothing_chokes_on", "RHYTHMS"),
    "only_rows_that_fire": ("0012_rows_that_nothing_chokes_on", "ROWS"),
    "only_pauses_that_end": ("0012_rows_that_nothing_chokes_on", "PAUSES"),
    "only_options_that_fit": ("0012_rows_that_nothing_chokes_on", "OPTIONS"),
}


def missing() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid IN "
            "('django_q_schedule'::regclass, 'syncs_syncschedule'::regclass)"
        )
        found = {name for (name,) in cursor.fetchall()}
    return [name for name in _WRITTEN_IN if name not in found]


def restore(name: str) -> None:
    """Put it back for what is written from now on; rows that are there stay as they are.

    Raises DatabaseError when this role may not, or when the table is in use for too long.
    """
    migration, written = _WRITTEN_IN[name]
    statement: str = getattr(import_module(f"syncs.migrations.{migration}"), written)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"{statement.rstrip()} NOT VALID")
