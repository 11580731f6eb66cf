"""The permissions for each connection: who sees it, who changes it, who reads its records.

A connection is its owner's; others see it if it is shared. Users who manage connections see and
change all, but read the records of none that isn't shared: a mark at school is its owner's.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from integrations.models import Connection, ExternalRecord

MANAGE = "integrations.manage_connections"


def visible(user: Any) -> QuerySet[Connection]:
    rows = Connection.objects.select_related("owner")
    return rows if user.has_perm(MANAGE) else rows.filter(_of(user))


def readable_connections(user: Any) -> QuerySet[Connection]:
    """Those whose records this user may read."""
    return Connection.objects.filter(_of(user))


def readable_records(user: Any) -> QuerySet[ExternalRecord]:
    of_connection = Q(connection__owner_id=user.pk) | Q(connection__is_shared=True)
    return ExternalRecord.objects.filter(of_connection).select_related("connection")


def may_read_records(user: Any, row: Connection) -> bool:
    is_theirs = row.is_shared or row.owner_id == user.pk
    return is_theirs and bool(user.has_perm("integrations.view_externalrecord"))


def may_manage(user: Any, row: Connection) -> bool:
    """Whether the row is this user's to change, whatever the action needs in addition."""
    return row.owner_id == user.pk or bool(user.has_perm(MANAGE))


def _of(user: Any) -> Q:
    return Q(owner_id=user.pk) | Q(is_shared=True)
