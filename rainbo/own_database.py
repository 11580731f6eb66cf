"""How values of RAINBO's own database are read and written, with a pooler in front of it too.

Without a pooler each connection is opened with the settings. A pooler takes none at the start: they
are set on the new connection, which keeps those that the pooler tracks, and the others must be the
role's own.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection

from common import libpq

# The client's values of these follow it to each session of the server (PgBouncer's documentation,
# track_extra_parameters).
TRACKED = frozenset({"datestyle", "timezone", "standard_conforming_strings"})

_DEFAULTS = "SELECT name, reset_val FROM pg_catalog.pg_settings WHERE lower(name) = ANY(%s)"


def pin_settings(connection: Any, **_: object) -> None:
    """Set on a new connection what a pooler did not let it be opened with."""
    if settings.RAINBO_DB_POOLER:
        statements = [f"SET {name} = '{value}'" for name, value in libpq.PINNED.items()]
        with connection.cursor() as cursor:
            cursor.execute("; ".join(statements))


def differing_defaults() -> dict[str, str]:
    """Return the settings that no pooler tracks and that the role gets with another value.

    With each its name and the value that it needs.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DEFAULTS, [list(libpq.PINNED.keys() - TRACKED)])
        found = {name.lower(): value for name, value in cursor.fetchall()}
    return {
        name: libpq.PINNED[name] for name, value in found.items() if value != libpq.PINNED[name]
    }
