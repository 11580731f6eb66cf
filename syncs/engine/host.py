"""Where a process works: containers, and copies of one machine, share names and process ids."""

from __future__ import annotations

import socket

from django.conf import settings


def here() -> str:
    """The machine's name and, below `schedule_work`, the id of the cluster of workers."""
    return of(settings.RAINBO_CLUSTER)


def of(cluster: str) -> str:
    return "/".join(filter(None, [socket.gethostname(), cluster]))


def machine(place: str) -> str:
    return place.partition("/")[0]
