"""Where a process runs: containers and copies of a machine share names and process ids."""

from __future__ import annotations

import socket

from django.conf import settings


def here() -> str:
    """Return the host name and, under `schedule_work`, the id of the worker cluster."""
    return of(settings.RAINBO_CLUSTER)


def of(cluster: str) -> str:
    return "/".join(filter(None, [socket.gethostname(), cluster]))


def machine(place: str) -> str:
    return place.partition("/")[0]
