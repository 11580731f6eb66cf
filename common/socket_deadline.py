"""Ends what waits for another's server when its time is over, whatever it waits for.

The time-out of a socket counts from one piece of an answer to the next: who sends a byte now and
then could hold a process for ever.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from math import inf
from typing import Any, Self

AGAIN = 0.1  # seconds until what came up only after its time is shut down, too


class SocketDeadline:
    """A block that may use its sockets for so many seconds; after that they are shut down.

    owners: those with a socket that may be used in it; others can be added meanwhile. is_over: the
    time was used up, so that whatever was received is not whole.
    """

    def __init__(self, seconds: float, owners: list[Any] | None = None) -> None:
        self.is_over = False
        self.ends = inf  # by the monotonic clock
        self._seconds = seconds
        self._owners: list[Any] = [] if owners is None else owners

    def __enter__(self) -> Self:
        self.ends = time.monotonic() + self._seconds
        _guard.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _guard.discard(self)

    def watch(self, owner: Any) -> None:
        """Know the socket that is `owner.sock`, also one that takes its place later (TLS)."""
        self._owners.append(owner)

    def shut(self) -> None:
        """End what waits for a socket, in whichever thread."""
        self.is_over = True
        for owner in self._owners:
            with suppress(OSError, TypeError):  # closed already, or not open yet
                # Not close(): that would not wake the thread that reads from it.
                socket.socket.shutdown(owner.sock, socket.SHUT_RDWR)


class _Guard:
    """The one thread of a process that waits for all deadlines; it starts with the first."""

    def __init__(self) -> None:
        self._open: set[SocketDeadline] = set()
        self._changed = threading.Condition()
        self._wakes_at = inf
        self._thread: threading.Thread | None = None

    def add(self, deadline: SocketDeadline) -> None:
        with self._changed:
            self._open.add(deadline)
            if self._thread is None:
                name = "socket deadlines"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
            elif deadline.ends < self._wakes_at:
                self._changed.notify()

    def discard(self, deadline: SocketDeadline) -> None:
        """Nothing of it is shut down once this has returned."""
        with self._changed:
            self._open.discard(deadline)

    def _run(self) -> None:
        with self._changed:
            while True:
                self._changed.wait(self._look())

    def _look(self) -> float | None:
        """Shut down what is over; return the seconds until the next look is needed."""
        now, first = time.monotonic(), inf
        for deadline in self._open:
            if deadline.ends > now:
                first = min(first, deadline.ends)
            else:
                deadline.shut()
                first = min(first, now + AGAIN)  # a connection may come up only now
        self._wakes_at = first
        return None if first == inf else first - now


def _renew_guard() -> None:
    """In a forked process, which has no thread but the one that forked it."""
    global _guard
    _guard = _Guard()


_guard = _Guard()
os.register_at_fork(after_in_child=_renew_guard)
