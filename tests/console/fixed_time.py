"""One moment for RAINBO and its database, so that a picture taken tomorrow shows the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import time_machine
from django.db import connection

CLOCKS = ("now", "clock_timestamp", "statement_timestamp", "transaction_timestamp")


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """Sessions that begin inside find clocks that stand still; the database's own come after."""
    settings = connection.settings_dict
    usual = settings["OPTIONS"].get("options")
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA still")
        for name in CLOCKS:
            cursor.execute(
                f"CREATE FUNCTION still.{name}() RETURNS timestamptz STABLE LANGUAGE sql "
                f"RETURN '{moment.isoformat()}'::timestamptz"
            )
    settings["OPTIONS"]["options"] = "-c search_path=still,pg_catalog,public"
    connection.close()
    try:
        with time_machine.travel(moment, tick=False):
            yield
    finally:
        settings["OPTIONS"].pop("options")
        if usual:
            settings["OPTIONS"]["options"] = usual
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA still CASCADE")
