"""What a process keeps for a second, so that all who ask within it are answered by one reading."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

SECONDS = 1.0
V = TypeVar("V")


class Shared(Generic[V]):
    """Values by their keys. A key holds whatever the value depends on: what it was read from,
    as a version that changes with it, and the permissions of the person it is for."""

    def __init__(self) -> None:
        self._reading = threading.Lock()
        self._kept: dict[Hashable, tuple[float, V]] = {}
        _all.add(self)

    def get(self, key: Hashable, read: Callable[[], V]) -> V:
        """Return the value, read at most SECONDS ago: its age counts from before the reading.

        Others who ask meanwhile wait for it, but nobody for long for a database that hangs.
        """
        if (known := self._fresh(key)) is not None:
            return known[1]
        is_first = self._reading.acquire(timeout=SECONDS)
        try:
            if (known := self._fresh(key)) is None:
                known = time.monotonic(), read()
                self._keep(key, known)
            return known[1]
        finally:
            if is_first:
                self._reading.release()

    def forget(self) -> None:
        self._kept = {}

    def _fresh(self, key: Hashable) -> tuple[float, V] | None:
        known = self._kept.get(key)
        return known if known is not None and time.monotonic() <= known[0] + SECONDS else None

    def _keep(self, key: Hashable, known: tuple[float, V]) -> None:
        """With all that is not yet old. A new dictionary: others look into the one before."""
        since = time.monotonic() - SECONDS
        self._kept = {k: v for k, v in self._kept.items() if v[0] >= since} | {key: known}


_all: WeakSet[Shared[Any]] = WeakSet()


def forget_all() -> None:
    """What was just done in this process is seen at once."""
    for shared in list(_all):
        shared.forget()
