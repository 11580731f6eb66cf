"""Sessions that a lost run left on instances."""

from __future__ import annotations

import logging

from common.errors import RainboError
from tenants.fleet import connections
from tenants.models import RdsInstance

logger = logging.getLogger("rainbo.run")

LIMIT = 10.0  # seconds for one instance

_END = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = %s AND usename = current_user"""


def end_sessions(purpose: str, targets: list[str]) -> int:
    """End RAINBO's sessions of that purpose on these instances; return how many there were.

    An instance that can't be reached is skipped: its own time limits end them.
    """
    instances = list(RdsInstance.objects.filter(pk__in=map(int, targets)))

    def end(_: RdsInstance, connection: connections.Connection) -> int:
        return len(connection.execute(_END, [f"rainbo/{purpose}"]).fetchall())

    outcomes = connections.each_instance(
        instances, end, "end sessions", remember=False, limit=LIMIT
    )
    for outcome in outcomes:
        _log(purpose, outcome.instance, outcome.value, outcome.error)
    return sum(outcome.value or 0 for outcome in outcomes)


def _log(purpose: str, instance: RdsInstance, ended: int | None, error: RainboError | None) -> None:
    if error is not None:
        logger.info("sessions of %s may still be open: %s", purpose, error)
    elif ended:
        logger.info("ended %d sessions of %s on %s", ended, purpose, instance)
