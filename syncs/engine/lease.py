"""The right to run a sync and to publish, with a fencing token.

Every judgement of time is the database's own (`clock_timestamp()`), so that servers whose
clocks differ agree on who holds what.
"""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Any, Protocol, Self

import psycopg
from django.conf import settings
from django.db import Error, OperationalError, connection, transaction
from django.db.models.functions import Now

from common.errors import RainboError
from syncs import hooks
from syncs.engine import parts
from syncs.errors import LeaseHeld, LeaseLost
from syncs.models import OPEN_STATES, Lease, RunState, SyncRun, Trigger

log = logging.getLogger(__name__)

Fenced = psycopg.Cursor[Any]  # the token of the lease, whose row is locked

TAKEOVER_TIMEOUT = "5s"  # how long a takeover waits for a publish of the previous holder

NEVER_BEGUN = timedelta(minutes=10)  # a command begins its run at once, or never

# Of `lease`, a row of syncs_lease. One that was renewed in the future is from before the clock was
# set back: nobody renews it, or it would have been renewed since, and it would block for as long.
LIVE = """(lease.expires_at > clock_timestamp()
           AND (lease.renewed_at > clock_timestamp() + interval '1 second') IS NOT TRUE)"""
# Of a run whose cancellation was requested: its process does not answer.
SILENT = """(run.cancel_requested_at IS NOT NULL AND lease.renewed_at
           < clock_timestamp() - make_interval(secs => 2 * %(renewal)s))"""
_LIVE = f"SELECT run_id FROM syncs_lease AS lease WHERE sync = %s AND {LIVE}"  # noqa: S608
# By chance, not by counting: in an older copy of the database the same number would come again.
_BY_CHANCE = "('x' || translate(gen_random_uuid()::text, '-', ''))::bit(63)::bigint"
_TAKE = f"""
    UPDATE syncs_lease
       SET token = {_BY_CHANCE}, run_id = %s, renewed_at = clock_timestamp(),
           expires_at = clock_timestamp() + make_interval(secs => %s)
     WHERE sync = %s
 RETURNING token"""  # noqa: S608 (constants)
_LOCK_NOW = f"""
    SELECT run_id, coalesce({LIVE} AND NOT EXISTS (
               SELECT FROM syncs_syncrun AS run WHERE run.id = lease.run_id AND {SILENT}), false)
      FROM syncs_lease AS lease WHERE sync = %(sync)s FOR UPDATE SKIP LOCKED"""  # noqa: S608
_REVOKE = f"UPDATE syncs_lease SET token = {_BY_CHANCE}, expires_at = NULL WHERE sync = %s"  # noqa: S608
_GOES_ON = """
    SELECT EXISTS (SELECT FROM syncs_lease AS lease JOIN syncs_syncrun AS run ON run.id = run_id
                    WHERE lease.sync = %s AND lease.token = %s
                      AND expires_at > clock_timestamp() + make_interval(secs => %s)
                      AND cancel_requested_at IS NULL)"""
_RENEW = """
    UPDATE syncs_lease
       SET renewed_at = clock_timestamp(),
           expires_at = clock_timestamp() + make_interval(secs => %s)
     WHERE sync = %s AND token = %s"""


def claim(run: SyncRun) -> int:
    """Take the lease of the run's sync and return its fencing token.

    Runs of that sync that still say `running` have lost theirs and become `lost`; those of
    commands that never began become `cancelled`.
    Raises LeaseHeld with the holder while the lease is live or its holder is publishing, and with
    the run itself if that has ended: a slot skipped for it would rely on a run that is over.
    """
    with connection.cursor() as cursor:
        try:
            with transaction.atomic():
                _limit_waits(cursor, TAKEOVER_TIMEOUT)
                cursor.execute(
                    "INSERT INTO syncs_lease (sync, token) VALUES (%s, 0) ON CONFLICT DO NOTHING",
                    [run.sync],
                )
                _raise_if_live(cursor, run.sync)
                cursor.execute("SELECT 1 FROM syncs_lease WHERE sync = %s FOR UPDATE", [run.sync])
                _raise_if_live(cursor, run.sync)
                _raise_if_ended(run)
                cursor.execute(_TAKE, [run.pk, settings.RAINBO_LEASE_TTL, run.sync])
                token = int(cursor.fetchone()[0])
                _close_abandoned(run)
        except OperationalError as error:
            if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise LeaseHeld(_holder(run.sync), "is publishing") from error
            raise
    return token


def renew(sync: str, token: int) -> bool:
    """Extend the lease, expired or not, unless another run took it; return whether it did."""
    with transaction.atomic(), connection.cursor() as cursor:
        _limit_waits(cursor, _half_ttl())
        cursor.execute(_RENEW, [settings.RAINBO_LEASE_TTL, sync, token])
        return bool(cursor.rowcount == 1)


def goes_on(session: psycopg.Connection[Any], sync: str, token: int) -> bool:
    """Whether the lease is held for at least half its time to live from now; changes nothing.

    False, too, if cancelling the run that holds it was requested.
    """
    half = settings.RAINBO_LEASE_TTL / 2
    row = session.execute(_GOES_ON, [sync, token, half]).fetchone()
    return row is not None and bool(row[0])


def release(sync: str, token: int) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        _limit_waits(cursor, _half_ttl())
        cursor.execute(
            "UPDATE syncs_lease SET expires_at = NULL WHERE sync = %s AND token = %s",
            [sync, token],
        )


def revoke(sync: str, run_pk: int, *, expired: bool = False) -> bool:
    """Take the lease away from a run permanently; False while that run publishes.

    expired: only if it ran out, or if the run was to be cancelled and does not answer: two renewals
    are missing. Call it in a transaction, together with what follows from it.
    """
    with connection.cursor() as cursor:
        renewal = settings.RAINBO_LEASE_RENEWAL
        cursor.execute(_LOCK_NOW, {"sync": sync, "renewal": renewal})
        row = cursor.fetchone()
        if row is None:
            return not Lease.objects.filter(sync=sync).exists()
        holder, is_live = row
        if holder != run_pk:
            return True
        if is_live and expired:
            return False
        cursor.execute(_REVOKE, [sync])
        return True


def fence(session: psycopg.Connection[Any], sync: str, token: int) -> None:
    """Lock the lease row until the transaction ends. Raises LeaseLost if another run holds it.

    FOR KEY SHARE lets renewals of the same holder pass and makes a takeover wait.
    """
    check_fenced(fencing(session, sync), token)


def fencing(session: psycopg.Connection[Any], sync: str) -> Fenced:
    """The first half of `fence`, which may be sent together with other statements."""
    return session.execute("SELECT token FROM syncs_lease WHERE sync = %s FOR KEY SHARE", [sync])


def check_fenced(found: Fenced, token: int) -> None:
    """The second half of `fence`."""
    row = found.fetchone()
    if row is None or row[0] != token:
        raise LeaseLost


class Watch(Protocol):
    """What a renewal's thread checks in addition to the lease."""

    def pause(self) -> float:
        """Return the seconds until the next check at the latest."""

    def look(self) -> RainboError | None:
        """Return why the run must not go on; None while it may."""


class Renewal:
    """Renews a lease from a thread with a connection of its own, until left.

    ended: why the run must not go on, as soon as that is known. lost: another one has the lease.
    """

    def __init__(self, sync: str, token: int, watch: Watch | None = None) -> None:
        self.sync = sync
        self.token = token
        self.lost = threading.Event()
        self.ended: RainboError | None = None
        self._watch = watch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease {sync}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self.lost.is_set() and not self._stop.wait(self._pause()):
                try:
                    self._renew()
                except Error:
                    log.warning("could not renew the lease of %s; trying again", self.sync)
                    connection.close()
        finally:
            connection.close()

    def _pause(self) -> float:
        pause: float = settings.RAINBO_LEASE_RENEWAL
        return pause if self._watch is None else min(pause, self._watch.pause())

    def _renew(self) -> None:
        if not renew(self.sync, self.token):
            self.ended = self.ended or LeaseLost()
            self.lost.set()
        elif self._watch is not None:
            self.ended = self._watch.look() or self.ended


def _limit_waits(cursor: Any, lock_timeout: str) -> None:
    """Limit, in this transaction, how long we wait for others and others for us."""
    cursor.execute(
        "SELECT set_config('lock_timeout', %s, true), "
        "set_config('idle_in_transaction_session_timeout', %s, true)",
        [lock_timeout, _half_ttl()],
    )


def _half_ttl() -> str:
    return f"{settings.RAINBO_LEASE_TTL * 1000 // 2}ms"


def _raise_if_live(cursor: Any, sync: str) -> None:
    cursor.execute(_LIVE, [sync])
    if row := cursor.fetchone():
        raise LeaseHeld(row[0])


def _raise_if_ended(run: SyncRun) -> None:
    if not SyncRun.objects.filter(pk=run.pk, state__in=OPEN_STATES).exists():
        raise LeaseHeld(run.pk, "has run")


def _holder(sync: str) -> int | None:
    return Lease.objects.filter(sync=sync).values_list("run_id", flat=True).first()


def _close_abandoned(run: SyncRun) -> None:
    others = SyncRun.objects.filter(sync=run.sync).exclude(pk=run.pk)
    why = f"its lease ran out; run {run.pk} took over"
    for lost in others.filter(state=RunState.RUNNING):
        if lost.move(RunState.LOST, expect=(RunState.RUNNING,), error=why, finished_at=Now()):
            parts.store_waiting(lost)
            hooks.run_closed.send(lost)
    others.filter(
        state=RunState.QUEUED,
        trigger=Trigger.COMMAND,
        created_at__lt=Now() - NEVER_BEGUN,
    ).update(
        state=RunState.CANCELLED,
        finished_at=Now(),
        error="its command ended before it began",
    )
