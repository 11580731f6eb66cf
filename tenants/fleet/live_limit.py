"""Few people at once may wait for servers: one that hangs must not hold every web thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import RainboError

AT_ONCE = 2  # in one web process, whatever is asked

_free = threading.BoundedSemaphore(AT_ONCE)


class Busy(RainboError):
    """Others wait for instances just now: nothing was asked, try again in some seconds."""

    kind = "busy"


@contextmanager
def live_slot() -> Iterator[None]:
    """A place among those who wait. Raises Busy at once when there is none."""
    if not _free.acquire(blocking=False):
        raise Busy
    try:
        yield
    finally:
        _free.release()
