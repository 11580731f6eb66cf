"""The dead man's switch: a service elsewhere raises the alarm when RAINBO's pings stay away.

In the manner of healthchecks.io: a GET of the address and `/start` says that a tick has begun, so
that the service sees how long it takes, and one that never ends; a GET of the address that all
works; a POST to the address and `/fail` that it does not, and why.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from django.conf import settings

from alerts import channel_problems
from alerts.channel_problems import CHANNELS
from alerts.models import STUCK_AFTER
from common import clock, http, text
from common.errors import RainboError
from common.http import Limits
from syncs.status import queries
from syncs.status.workers import WorkerState

logger = logging.getLogger("rainbo.alerts")

LIMITS = Limits(connect=5, read=5, total=8, size=2_000)
HEARTBEATS = 2  # intervals after which the last heartbeat vouches for no worker
SHORT = Limits(connect=2, read=2, total=3, size=2_000)  # alerts wait for the end of this one


def problem(workers: WorkerState) -> str:
    """Why alerts can't be relied on at present; empty if they can.

    With dead workers, a message that nobody sends, channels that all fail, or an evaluation that
    another process began and never ends, the switch must not vouch for them.
    """
    if workers.problem and not workers.by_crontab:
        return workers.problem
    facts = CHANNELS.read_alone(clock.database_now())
    found = [p.text for p in channel_problems.judge(facts) if p.key in ("outbox", "evaluation")]
    since = facts.all_failing_since
    if since and facts.now - since > STUCK_AFTER:
        found.append(f"no channel has taken messages{text.since(since, facts.now)}")
    return "; ".join(found)


def start() -> bool | None:
    """Report that a tick begins; the result is as that of `ping`."""
    return _request("GET", "/start", limits=SHORT)


def ping(failure: str = "") -> bool | None:
    """Report to the service; return whether it took the report, None if there is none.

    failure: what went wrong in this tick; empty: judge whether alerts can be relied on. Workers
    may have died a moment ago: while it is not known, nothing is reported.
    """
    if not settings.RAINBO_ALERTS_PING_URL:
        return None
    if failure:
        return _request("POST", "/fail", failure.encode())
    workers = queries.worker_state()
    if why := problem(workers):
        return _request("POST", "/fail", why.encode())
    return _request("GET") if _are_alive(workers) else None


def _are_alive(workers: WorkerState) -> bool:
    if workers.by_crontab or workers.busy_with is not None:
        return True
    longest = timedelta(seconds=HEARTBEATS * settings.RAINBO_HEARTBEAT_INTERVAL)
    heartbeat = workers.heartbeat
    return heartbeat is not None and clock.database_now() - heartbeat <= longest


def _request(
    method: str, path: str = "", body: bytes | None = None, limits: Limits = LIMITS
) -> bool | None:
    address: str = settings.RAINBO_ALERTS_PING_URL
    if not address:
        return None
    url = f"{address.rstrip('/')}{path}" if path else address
    try:
        answer = http.send(method, url, body=body, limits=limits, cut=True, secret_path=True)
    except RainboError as error:
        logger.warning("the dead man's switch was not reached: %s", error)
        return False
    if not answer.is_success:
        logger.warning("the dead man's switch answered %s", answer.status)
    return answer.is_success
