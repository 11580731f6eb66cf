"""The problem that a count called the directory unchanged when it was not: see `directory`.

It stays until a forced run has read everything and lifts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from common import manage_command
from common.joint_query import Answers, Questions, Statement
from syncs.status.problems import Link, Problem, Severity, Source
from tenants.routes.queries import ROUTING

MISCOUNTED = "miscounted"
MISCOUNT = "a count called rows unchanged that digests found changed"
_FOUND = r"""
    SELECT EXISTS (SELECT FROM syncs_confirmation
                    WHERE sync = %(sync)s AND basis ~ %(fact)s) AS is_found"""


def _ask(_: datetime) -> Questions:
    return {"found": Statement(_FOUND, {"sync": ROUTING, "fact": rf"\m{MISCOUNTED}="})}


def _read(answers: Answers, _: datetime) -> bool:
    return bool(answers["found"][0]["is_found"])


def judge(is_found: bool, _: Sequence[Problem] = ()) -> Iterator[Problem]:
    if is_found:
        yield Problem(
            key="routes/miscounted",
            severity=Severity.FAILING,
            cause="routes miscounted",
            text=f"{MISCOUNT}: routes may have been old for up to an hour, and each run compares "
            "digests since. Find out what wrote to the directory without a transaction of its own, "
            f"then run {manage_command.line('sync_user_routing --force')}",
            link=Link("sync", "user_routing"),
            about_all="instance",
        )


MISCOUNTS = Source(
    name="counts of routes",
    ask=_ask,
    read=_read,
    judge=judge,
    permissions=("tenants.view_userroute",),
)
