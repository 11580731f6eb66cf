"""How many connections RAINBO opens to one instance at once, over all its processes.

Each connection holds one advisory lock of RAINBO's own database, which a process that dies gives
back by itself. One session per process has the locks of all its threads, and exists only while
there are any.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql
from psycopg.abc import Params

from syncs.errors import OwnDatabaseFailed, SourceError
from syncs.transfer import libpq_io
from syncs.transfer.session import Session, open_session
from tenants.models import RdsInstance

POLL = 0.05  # seconds between tries to take a slot
WAIT = 30.0  # seconds that a connection waits for another to end
FIRST_LOCK = 1_380_000_000  # with the slot's number, the first key of its advisory lock

# Within one session an advisory lock can be taken again: slots that it holds are left out first.
_TAKE = """
    SELECT slot FROM generate_series(0, %(most)s - 1) AS slot
     WHERE CASE WHEN slot = ANY (%(held)s) THEN false
                ELSE pg_try_advisory_lock(%(first)s + slot, %(instance)s) END
     LIMIT 1"""
# Its answer is read before the next statement: nobody waits for it.
_GIVE_BACK = b"SELECT pg_advisory_unlock($1::integer, $2::integer)"


class BudgetSpent(SourceError):
    """RAINBO has as many connections to the instance as it may have; none ended in time."""

    kind = "budget"
    transient = True

    def __init__(self, instance: RdsInstance) -> None:
        most = settings.RAINBO_INSTANCE_CONNECTIONS
        super().__init__(
            f"RAINBO has {most} connections to {instance}, as many as it may have, and none ended "
            f"within {WAIT:g} s: wait for other runs, or raise RAINBO_INSTANCE_CONNECTIONS"
        )


class Budget:
    """The slots that this process holds, and the session with their locks while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._held: dict[int, set[int]] = {}

    @contextmanager
    def connection_to(self, instance: RdsInstance, wait: float | None = None) -> Iterator[None]:
        """Hold one of the instance's slots. Raises BudgetSpent; wait: seconds, default WAIT."""
        slot = self._wait(instance, WAIT if wait is None else wait)
        try:
            yield
        finally:
            self._release(instance.pk, slot)

    def _wait(self, instance: RdsInstance, wait: float) -> int:
        deadline = time.monotonic() + wait
        while (slot := self._take(instance.pk)) is None:
            if time.monotonic() > deadline:
                raise BudgetSpent(instance)
            time.sleep(POLL)
        return slot

    def _take(self, pk: int) -> int | None:
        with self._lock:
            values = {
                "most": settings.RAINBO_INSTANCE_CONNECTIONS,
                "held": list(self._held.get(pk, ())),
                "first": FIRST_LOCK,
                "instance": pk,
            }
            row = self._execute(_TAKE, values).fetchone()
            if row is None:
                self._close_if_unused()
                return None
            self._held.setdefault(pk, set()).add(row[0])
            return int(row[0])

    def _release(self, pk: int, slot: int) -> None:
        with self._lock:
            self._held[pk].discard(slot)
            if self._close_if_unused():
                return
            place = [str(FIRST_LOCK + slot).encode(), str(pk).encode()]
            with suppress(psycopg.OperationalError, OwnDatabaseFailed):
                self._ready().pgconn.send_query_params(_GIVE_BACK, place)

    def ask(self, query: sql.Composed) -> list[Any]:
        """Execute statements on the session with the locks; returns the first row of each, if any.

        For who holds a slot. Raises OwnDatabaseFailed.
        """
        with self._lock:
            cursor = self._execute(query)
            return [part.fetchone() if part.description else None for part in cursor.results()]

    def _execute(self, query: Any, values: Params | None = None) -> psycopg.Cursor[Any]:
        """Execute it on the session with the locks, in a new one if that was lost."""
        try:
            try:
                return self._ready().execute(query, values)
            except psycopg.OperationalError:
                if self._session is not None and not self._session.closed:
                    raise
                self._session = None
                return self._ready().execute(query, values)
        except psycopg.Error as error:
            raise OwnDatabaseFailed(
                "RAINBO's own database, which counts connections to instances, failed"
            ) from error

    def _ready(self) -> Session:
        """The session, open, and with no answer to a slot given back that was not read."""
        while self._session is not None and libpq_io.get_result(self._session):
            pass
        if self._session is None or self._session.closed:
            self._session = open_session("connections")
        return self._session

    def _close_if_unused(self) -> bool:
        """Close the session, and so end its locks, if the process holds no slot."""
        if any(self._held.values()):
            return False
        if self._session is not None:
            self._session.close()
            self._session = None
        return True


BUDGET = Budget()
