"""Ends what waits for another's server when its time is over, whatever it waits for.

The time-out of a socket counts from one piece of an answer to the next: who sends a byte now and
then could hold a process for ever.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any, Self


class SocketDeadline:
    """A block that may use its sockets for so many seconds; after that they are shut down.

    is_over: the time was used up, so that whatever was received is not whole.
    """

    def __init__(self, seconds: float) -> None:
        self.is_over = False
        self._seconds = seconds
        self._done = threading.Event()
        self._owners: list[Any] = []
        self._thread = threading.Thread(target=self._guard, name="socket deadline", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def watch(self, owner: Any) -> None:
        """Know the socket that is `owner.sock`, also one that takes its place later (TLS)."""
        self._owners.append(owner)

    def _guard(self) -> None:
        if self._done.wait(self._seconds):
            return
        self.is_over = True
        while True:  # again and again: a connection may come up only now
            for owner in self._owners:
                with suppress(OSError, TypeError):  # closed already, or not open yet
                    # Not close(): that would not wake the thread that reads from it.
                    socket.socket.shutdown(owner.sock, socket.SHUT_RDWR)
            if self._done.wait(0.1):
                return
