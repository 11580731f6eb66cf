"""Detects instances that were changed while a run read them."""

from __future__ import annotations

from collections.abc import Iterable

from syncs.errors import SourceError
from syncs.transfer.session import Session
from tenants.models import RdsInstance

_NOW = """
    SELECT id, host, port, writer_host, writer_port, database, is_active, is_master
      FROM rds_instances WHERE id = ANY(%s) FOR KEY SHARE"""


class InstanceChanged(SourceError):
    """The instance was changed or removed while it was read; nothing was published."""

    kind = "changed"
    transient = True


def changed_since_read(
    session: Session, instances: Iterable[RdsInstance]
) -> dict[str, InstanceChanged]:
    """Return an error for each instance that was changed or deleted since it was read.

    Call it in the publish: until its end none of the instances can be deleted.
    """
    read = {instance.pk: _facts(instance) for instance in instances}
    now = {row[0]: row[1:] for row in session.execute(_NOW, [list(read)])}
    return {str(pk): InstanceChanged() for pk, facts in read.items() if now.get(pk) != facts}


def _facts(instance: RdsInstance) -> tuple[object, ...]:
    return (
        instance.host,
        instance.port,
        instance.writer_host,
        instance.writer_port,
        instance.database,
        instance.is_active,
        instance.is_master,
    )
