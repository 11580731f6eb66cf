"""The function of every service's sync: fetches connections, each publishing alone.

Threads fetch, several connections at once; the run's own thread publishes what they hand over, so
that it alone uses the database. One that is slow, or fails, delays and undoes no other.
"""

from __future__ import annotations

import gc
import logging
import queue
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from threading import BoundedSemaphore
from typing import Any

from common.encryption import CredentialError
from common.errors import RainboError
from common.text import format_clock
from integrations import look, outcomes, plugin, records, selection
from integrations.limits import SharedLimits
from integrations.models import Connection
from integrations.plugin import (
    Broken,
    Cursor,
    Item,
    Later,
    OutOfTime,
    Plugin,
    Reconnect,
    Record,
    Refused,
    Whole,
)
from integrations.publishing import Held, Part, Publisher
from integrations.records import Chunk
from integrations.source import Source
from integrations.tokens import Access
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import ROWS_REJECTED, Cancelled, LeaseLost, OverLimit, rows_error
from syncs.models import TargetState, Trigger

logger = logging.getLogger("rainbo.integrations")

AT_ONCE = 8  # connections of a service
TAKES_MORE = 240.0  # seconds that a run takes more; what it took then ends before its own limit
ROOM = 3 * AT_ONCE  # connections that are read, or wait to be published
GATHERS = 1.0  # seconds for which what a cursor ends waits for what the next one ends
MANY = 1_000  # records that are published without waiting for more
POLL = 0.5  # seconds between two looks whether the run must end
ENDS_ALL = (Cancelled, LeaseLost, OverLimit)

Action = Callable[[], Any]


@dataclass
class Ready:
    """What can be published: all that came up to a cursor, since when it waits for more."""

    chunk: Chunk = field(default_factory=Chunk)
    cursor: Cursor = field(default_factory=lambda: Cursor({}))
    since: float = field(default_factory=time.monotonic)

    def add(self, part: Part, items: list[Item]) -> None:
        """Take what comes up to the next cursor, which is the last of these."""
        chunk, seen = self.chunk, part.seen
        for item in items:
            if isinstance(item, Cursor):
                self.cursor = item
                continue
            chunk.add(item)
            if isinstance(item, (Record, Refused)):
                key = item.kind, item.id
                if key in chunk.records or records.is_storable(item.id):
                    seen.add(key)
            elif isinstance(item, Whole):
                seen |= {(item.kind, key) for key in item.before}

    @property
    def is_enough(self) -> bool:
        """Whether to publish it now; without a record, a later cursor says it all."""
        waits = time.monotonic() - self.since > GATHERS
        return not self.chunk.is_empty and (waits or self.chunk.read >= MANY)


def fetch(run: Run) -> None:
    """Fetch the connections that the run's options name; default: all that are not fresh."""
    service = plugin.find(run.record.sync)
    _spare_collections()
    run.check_acceptance()
    chosen, skipped = selection.select(run)
    run.expect(Target(row.key, row.label) for row, _ in skipped)
    with run.batched():
        for row, why in skipped:
            run.record_outcome(row.key, TargetState.SKIPPED, note=why)
    if not run.dry_run:
        outcomes.mark(chosen, run.record.pk)
    Fetching(run, service, {row.pk for row, _ in skipped}).all(chosen)


@cache
def _spare_collections() -> None:
    """Once in a process: what was loaded so far stays, and no collection need look through it.

    A large reading makes so many objects that collections would take a third of its time.
    """
    gc.collect()
    gc.freeze()


class Fetching:
    """Runs the threads, and does in the run's thread what they ask for."""

    def __init__(self, run: Run, service: Plugin, known: set[int]) -> None:
        self._run = run
        self._service = service
        self._publisher = Publisher(run, service)
        self._limits = SharedLimits()
        self._asked: queue.Queue[tuple[Action, Future[Any] | None]] = queue.Queue()
        self._ended: BaseException | None = None
        self._open = 0
        self._room = BoundedSemaphore(ROOM)
        self._known = known
        self._began = self._looked = time.monotonic()

    def all(self, rows: list[Connection]) -> None:
        """Fetch all; raises what must end the run, once the threads have ended."""
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix=self._service.name) as pool:
            self._submit(pool, rows)
            try:
                while self._open:
                    self._serve()
                    if self._takes_more():
                        self._submit(pool, look.take(self._run.record, self._known))
            except BaseException as error:
                self._ended = error  # threads end at their next step
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _submit(self, pool: ThreadPoolExecutor, rows: list[Connection]) -> None:
        self._run.expect(Target(row.key, row.label) for row in rows)
        self._known |= {row.pk for row in rows}
        self._open += len(rows)
        for part in map(Part, rows):
            done = partial(self._hand_over, part)
            pool.submit(self._one, part).add_done_callback(done)

    def _takes_more(self) -> bool:
        """Whether to look what fell due meanwhile: it need not wait for the slowest of these."""
        now = time.monotonic()
        if self._run.record.trigger != Trigger.SCHEDULE or self._run.dry_run:
            return False
        if now - self._looked < look.INTERVAL or now - self._began > TAKES_MORE:
            return False
        self._looked = now
        return True

    def _hand_over(self, part: Part, read: Future[Ready]) -> None:
        """Have the run's thread publish what is left of a part, and record how it ended."""
        if not read.cancelled():
            self._asked.put((partial(self._close, part, read), None))

    def _serve(self) -> None:
        """Do one thing that a thread asks for, or look whether the run must end."""
        self._run.cancellation_point()
        try:
            action, future = self._asked.get(timeout=POLL)
        except queue.Empty:
            return
        if future is None:
            action()
            return
        try:
            future.set_result(action())
        except ENDS_ALL:
            raise
        except (RainboError, *ROWS_REJECTED) as error:
            future.set_exception(rows_error(error))

    def _ask(self, action: Action) -> None:
        """Called by a thread: have the run's thread do this, and wait for it."""
        future: Future[Any] = Future()
        self._asked.put((action, future))
        while True:
            try:
                future.result(timeout=POLL)
                return
            except TimeoutError:
                self._end_if_ended()

    def _end_if_ended(self) -> None:
        if self._ended is not None:
            raise LeaseLost from self._ended

    def _one(self, part: Part) -> Ready:
        """In a thread: read one connection, and have published what it yields, cursor by cursor.

        Cursors that follow each other quickly are published together. What the last one ends is
        returned: this thread needn't wait until it is published.
        """
        while not self._room.acquire(timeout=POLL):
            self._end_if_ended()
        part.started = time.monotonic()
        with closing(self._items(part)) as items:
            return self._read(part, items)

    def _read(self, part: Part, items: Iterator[Item]) -> Ready:
        ready: Ready | None = None
        following: list[Item] = []
        while True:
            try:
                item = next(items, None)
            except RainboError:
                if ready is not None:
                    self._ask(partial(self._publish, part, ready, last=False))
                raise
            self._end_if_ended()
            if item is None:
                break
            if ready is not None and ready.is_enough:
                self._ask(partial(self._publish, part, ready, last=False))
                ready = None
            following.append(item)
            if isinstance(item, Cursor):
                ready = ready or Ready()
                ready.add(part, following)
                following = []
        if ready is not None and not following:
            return ready
        if ready is not None:
            self._ask(partial(self._publish, part, ready, last=False))
        raise Broken(f"{self._service.title} ended without a cursor: nothing is confirmed")

    def _publish(self, part: Part, ready: Ready, *, last: bool) -> None:
        self._publisher.publish(part, ready.chunk, ready.cursor, last=last)

    def _items(self, part: Part) -> Generator[Item]:
        connection = part.connection
        try:
            access = Access(connection, self._service, self._run.now)
            with Source(
                self._service,
                connection.base_url,
                access.headers,
                self._run.now,
                access.renew,
                self._limits,
                in_full=self._run.options.force,
            ) as source:
                part.warnings = source.warnings
                yield from self._service.fetch_data(source, connection.cursor)
        except CredentialError as error:
            raise Reconnect(str(error)) from None
        except RainboError:
            raise
        except Exception as error:
            logger.warning("%s could not be read", connection.label, exc_info=error)
            what = f"something that its plugin can't read ({type(error).__name__})"
            raise Broken(f"{self._service.title} answered {what}") from None

    def _close(self, part: Part, read: Future[Ready]) -> None:
        """Publish the rest of a connection; record how it ended, in the run and on itself."""
        self._open -= 1
        self._room.release()
        error = read.exception() or self._publish_rest(part, read.result())
        if error is None:
            logger.info("%s", part)
            return
        if not isinstance(error, RainboError):
            raise error
        seconds = time.monotonic() - part.started
        record = partial(self._run.record_outcome, part.connection.key, seconds=seconds)
        if isinstance(error, OutOfTime) and part.published:
            error = Later(0, "it took as long as one connection may, and goes on at the next look")
        if isinstance(error, Later):
            self._wait(part, error, record)
        elif isinstance(error, Held):
            self._hold(part, error, record)
        else:
            self._fail(part, error, record)

    def _publish_rest(self, part: Part, ready: Ready) -> RainboError | None:
        try:
            self._publish(part, ready, last=True)
        except ENDS_ALL:
            raise
        except (RainboError, *ROWS_REJECTED) as error:
            return rows_error(error)
        return None

    def _wait(self, part: Part, error: Later, record: Callable[..., None]) -> None:
        now = self._run.now()
        if not self._run.dry_run:
            outcomes.wait(part.connection, error.seconds, now)
        until = format_clock(outcomes.end_of_wait(error.seconds, now), now)
        record(TargetState.SKIPPED, note=f"{error}: until {until}", **part.columns())

    def _hold(self, part: Part, error: Held, record: Callable[..., None]) -> None:
        if not self._run.dry_run:
            outcomes.hold(part.connection, str(error), self._run.now())
        self._run.hold(part.connection.key, error.reasons, error.changes)
        columns = part.columns() | {"removed": error.removed}
        record(TargetState.HELD, note=str(error), **columns)

    def _fail(self, part: Part, error: RainboError, record: Callable[..., None]) -> None:
        if not self._run.dry_run and outcomes.fail(part.connection, error, self._run.now()):
            logger.error("%s has failed until its next period: %s", part.connection.label, error)
        record(TargetState.FAILED, error=error)
