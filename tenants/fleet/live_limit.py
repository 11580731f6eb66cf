"""Limits concurrent live queries: a server that hangs must not block every web thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import RainboError

AT_ONCE = 2  # in one web process

_free = threading.BoundedSemaphore(AT_ONCE)


class Busy(RainboError):
    """Too many live queries are running: nothing was queried, try again in a few seconds."""

    kind = "busy"


@contextmanager
def live_slot() -> Iterator[None]:
    """Take a slot for a live query. Raises Busy at once if there is none."""
    if not _free.acquire(blocking=False):
        raise Busy
    try:
        yield
    finally:
        _free.release()
