"""Questions to RAINBO's own database that must not wait for it for ever."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

from django.db import connections

Answer = TypeVar("Answer")


class Question(Generic[Answer]):
    """Asks on a connection of its own, in a thread of its own.

    Who asks while an answer is awaited waits for the same one: a database that has frozen costs
    one thread, however many ask.
    """

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._awaited: Future[Answer] | None = None

    def answer(self, seconds: float) -> Answer:
        """Raises TimeoutError when there is none by then, or what asking raised."""
        with self._lock:
            if self._awaited is None or self._awaited.done():
                self._awaited = Future()
                Thread(target=self._work, args=[self._awaited], daemon=True).start()
            awaited = self._awaited
        return awaited.result(seconds)

    def _work(self, awaited: Future[Answer]) -> None:
        try:
            try:
                answer = self._ask()
            finally:
                connections.close_all()
        except Exception as error:  # noqa: BLE001 (handed to the one who asks)
            awaited.set_exception(error)
        else:
            awaited.set_result(answer)
