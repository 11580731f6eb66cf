"""The dead man's switch: a service elsewhere raises the alarm when RAINBO's pings stay away.

In the manner of healthchecks.io: a GET of the address says that all works; a POST to the address
and `/fail` says that it does not, and why.
"""

from __future__ import annotations

import logging

from django.conf import settings

from alerts import channel_problems
from alerts.channel_problems import CHANNELS
from common import clock, http
from common.errors import RainboError
from common.http import Limits
from syncs.status import queries

logger = logging.getLogger("rainbo.alerts")

LIMITS = Limits(connect=5, read=5, total=8, size=2_000)


def problem() -> str:
    """Why alerts can't be relied on at present; empty if they can.

    With dead workers, or a message that nobody sends, the switch must not vouch for them.
    """
    workers = queries.worker_state()
    if workers.problem and not workers.by_crontab:
        return workers.problem
    facts = CHANNELS.read_alone(clock.database_now())
    return "; ".join(found.text for found in channel_problems.judge(facts) if found.key == "outbox")


def ping() -> bool | None:
    """Report to the service; return whether it took the report, None if there is none."""
    address: str = settings.RAINBO_ALERTS_PING_URL
    if not address:
        return None
    why = problem()
    method, url, body = ("POST", f"{address}/fail", why.encode()) if why else ("GET", address, None)
    try:
        answer = http.send(method, url, body=body, limits=LIMITS, cut=True, secret_path=True)
    except RainboError as error:
        logger.warning("the dead man's switch was not reached: %s", error)
        return False
    if not answer.is_success:
        logger.warning("the dead man's switch answered %s", answer.status)
    return answer.is_success
