"""Lets the tests, and nothing else, empty the table that production can only add to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

LIFT = "ALTER TABLE activity DISABLE TRIGGER written_once;"
RESTORE = "ALTER TABLE activity ENABLE ALWAYS TRIGGER written_once;"


@contextmanager
def emptied_between_tests() -> Iterator[None]:
    """What Django runs after a test with transactions lifts the trigger for that moment."""
    from django.db import models  # noqa: F401 (first: Django's own imports go in a circle)
    from django.db.backends.postgresql.operations import DatabaseOperations

    usual = DatabaseOperations.sql_flush

    def sql_flush(self: DatabaseOperations, style: Any, tables: Any, **options: Any) -> list[str]:
        return [LIFT, *usual(self, style, tables, **options), RESTORE]

    with patch.object(DatabaseOperations, "sql_flush", sql_flush):
        yield
