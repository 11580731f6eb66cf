"""Publishes what one connection yielded between two cursors: in one transaction, fenced.

Records, cursor, confirmation and the connection's own success are committed together or not at
all. It runs in the run's thread, which alone uses its session.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings
from psycopg import sql
from psycopg.types.json import Jsonb

from common.errors import RainboError
from integrations import records
from integrations.models import Connection
from integrations.plugin import Broken, Cursor, Plugin
from integrations.records import Absent, Chunk, Key, Merged
from syncs.engine import guard
from syncs.engine.guard import NO_LIMIT, Limit, Limits, PlannedChange
from syncs.engine.run import Counts as Columns
from syncs.engine.run import Run
from syncs.models import HeldChange
from syncs.transfer.session import Session

# A connection that was deleted, or connected again, meanwhile has no row that fits.
_ADVANCE = """
    UPDATE integrations_connection
       SET cursor = %(cursor)s, record_count = record_count + %(more)s
     WHERE id = %(id)s AND generation = %(generation)s"""
_SUCCEED = """
    UPDATE integrations_connection
       SET cursor = %(cursor)s, record_count = record_count + %(more)s,
           withheld_count = %(withheld)s, last_successful_update_at = clock_timestamp(),
           attempt = 0, not_before = NULL, last_error = ''
     WHERE id = %(id)s AND generation = %(generation)s"""
_FORGET_WITHHELD = "DELETE FROM syncs_withheldrow WHERE sync = %s AND target = %s"
_WITHHOLD = """
    INSERT INTO syncs_withheldrow (sync, target, source_id, row_hash, reason, since)
    VALUES (%s, %s, %s, 0, %s, clock_timestamp())"""
_PLANNED = """
    SELECT 'removed' AS kind, kind || '/' || external_id AS source_id, title AS detail
      FROM integrations_externalrecord
     WHERE connection_id = {connection} AND gone_at IS NULL AND (kind, external_id) IN (
           SELECT * FROM unnest({kinds}::text[], {ids}::text[]))"""


@dataclass
class Part:
    """What a run does with one connection. seen: all records that were yielded so far.

    started: when its reading began, by the monotonic clock. published: a cursor was committed.
    warnings: what its plugin noticed.
    """

    connection: Connection
    seen: set[Key] = field(default_factory=set)
    withheld: dict[Key, str] = field(default_factory=dict)
    read: int = 0
    merged: Merged = field(default_factory=Merged)
    started: float = 0.0
    published: bool = False
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        done = self.merged
        return (
            f"{self.connection.label}: read {self.read:,}, added {done.added:,}, "
            f"changed {done.changed:,}, removed {done.removed:,}"
        )

    def columns(self) -> Columns:
        return {
            "read": self.read,
            "added": self.merged.added,
            "changed": self.merged.changed,
            "removed": self.merged.removed,
            "withheld": len(self.withheld),
        }


class Held(RainboError):
    """A full listing would remove too much: a person has to look."""

    kind = "held"

    def __init__(self, reasons: list[str], absent: Sequence[Absent]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.absent = absent

    def changes(self) -> list[tuple[str, str, str]]:
        """What is held, as `Run.hold` takes it."""
        kind = HeldChange.Kind.REMOVED
        return [(kind, f"{row.kind}/{row.id}", row.title) for row in self.absent]


class Publisher:
    """Publishes for one run."""

    def __init__(self, run: Run, plugin: Plugin) -> None:
        self._run = run
        self._plugin = plugin
        floor, percent = settings.RAINBO_GUARD_RECORDS_REMOVED
        self._limits = Limits(Limit(floor, percent), NO_LIMIT, NO_LIMIT)

    def publish(self, part: Part, chunk: Chunk, cursor: Cursor, *, last: bool) -> None:
        """Commit a chunk with its cursor; the last one also confirms the connection.

        Raises Held, and changes nothing, if a full listing would remove too much; Broken if the
        connection was deleted or connected again meanwhile.
        """
        connection, at = part.connection, self._run.now()
        part.read += chunk.read
        part.withheld |= chunk.withheld
        with self._run.publishing() as session:
            absent = self._absent(session, part, chunk)
            done = records.merge(
                session,
                connection.pk,
                self._run.record.pk,
                chunk,
                absent,
                self._plugin.history,
                at,
            )
            self._store(session, part, done, cursor, last=last)
        part.merged += done
        part.published = True

    def _store(
        self, session: Session, part: Part, done: Merged, cursor: Cursor, *, last: bool
    ) -> None:
        connection = part.connection
        given = {
            "id": connection.pk,
            "generation": connection.generation,
            "cursor": Jsonb(cursor.position),
            "more": done.added + done.back - done.removed,
            "withheld": len(part.withheld),
        }
        if not session.execute(_SUCCEED if last else _ADVANCE, given).rowcount:
            raise Broken("it was deleted, or connected again, while it was fetched")
        if last:
            self._withhold(session, part)
            started = self._run.at(part.started)
            at = min(started, cursor.as_of or started)
            basis = f"{self._plugin.name}, through its cursor"
            self._run.confirm(session, connection.key, at, rows=part.read, basis=basis)

    def _withhold(self, session: Session, part: Part) -> None:
        """Replace the list of withheld records, unless there was and is none."""
        place = [self._run.record.sync, part.connection.key]
        if part.withheld or part.connection.withheld_count:
            session.execute(_FORGET_WITHHELD, place)
        if part.withheld:
            rows = [
                (*place, _storable(f"{kind}/{key}"), reason)
                for (kind, key), reason in part.withheld.items()
            ]
            with session.cursor() as cursor:
                cursor.executemany(_WITHHOLD, rows)

    def _absent(self, session: Session, part: Part, chunk: Chunk) -> list[Absent]:
        """Return what full listings no longer have. Raises Held if that is implausible."""
        if not chunk.wholes:
            return []
        connection = part.connection
        absent = records.find_absent(session, connection.pk, chunk.wholes, part.seen)
        if absent and (reasons := self._reasons(session, part, chunk, absent)):
            planned = sql.SQL(_PLANNED).format(
                connection=sql.Literal(connection.pk),
                kinds=sql.Literal([row.kind for row in absent]),
                ids=sql.Literal([row.id for row in absent]),
            )
            decision = guard.decide_reasons(self._run, connection.key, reasons, planned)
            if decision.reasons:
                raise Held(decision.reasons, absent)
            self._run.spend_acceptance(session, [connection.key])
        return absent

    def _reasons(
        self, session: Session, part: Part, chunk: Chunk, absent: Sequence[Absent]
    ) -> list[str]:
        known = records.count_present(session, part.connection.pk, chunk.wholes)
        return [
            f"{kind}: {reason}"
            for (kind, prefix), cached in known.items()
            for reason in guard.judge(
                PlannedChange(
                    cached=cached,
                    read=sum(records.is_meant(key, kind, prefix) for key in part.seen),
                    removed=sum(records.is_meant((r.kind, r.id), kind, prefix) for r in absent),
                ),
                self._limits,
            )
        ]


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "�")[:1000]
