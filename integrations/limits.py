"""Limits of a service that several connections of one run share, such as those of a workspace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from integrations.plugin import Later, OutOfTime


@dataclass
class _Limit:
    turn: Lock = field(default_factory=Lock)
    until: float = 0.0  # by the monotonic clock


class SharedLimits:
    """Of the connections with the same key one asks at a time; each is a thread of one run.

    What the service asked one of them to wait counts for the others, too: they don't ask before.
    """

    def __init__(self) -> None:
        self._limits: dict[str, _Limit] = {}
        self._lock = Lock()

    @contextmanager
    def turn(self, key: str, seconds: float) -> Iterator[None]:
        """Wait for this thread's turn, and note what is raised in it.

        Raises Later if the service asked to wait, and OutOfTime if it takes more than so many
        seconds until the turn comes.
        """
        with self._lock:
            limit = self._limits.setdefault(key, _Limit())
        if not limit.turn.acquire(timeout=seconds):
            raise OutOfTime
        try:
            if (left := limit.until - time.monotonic()) > 0:
                raise Later(left, "the service asked another connection of this account to wait")
            yield
        except Later as error:
            limit.until = max(limit.until, time.monotonic() + error.seconds)
            raise
        finally:
            limit.turn.release()
