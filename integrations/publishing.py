"""Publishes what one connection yielded between two cursors: in one transaction, fenced.

Records, cursor, confirmation and the connection's own success are committed together or not at
all. It runs in the run's thread, which alone uses its session.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from psycopg import sql
from psycopg.types.json import Jsonb

from common.errors import RainboError
from integrations import prices, records
from integrations.catalogues.offer import KIND
from integrations.models import Connection
from integrations.plugin import Broken, Cursor, Plugin
from integrations.records import Absent, Chunk, Key, Merged
from syncs.engine import guard
from syncs.engine.guard import NO_LIMIT, Limit, Limits, PlannedChange
from syncs.engine.run import Confirmed, Run
from syncs.engine.run import Counts as Columns
from syncs.models import HeldChange, TargetState
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
    SELECT * FROM unnest({kinds}::text[], {ids}::text[], {details}::text[])
           AS planned (kind, source_id, detail)"""
Planned = tuple[str, str, str]  # kind, source id and detail of a change


@dataclass
class Part:
    """What a run does with one connection. seen: all records that were yielded so far.

    started: when its reading began, by the monotonic clock. published: a cursor was committed.
    unchanged: all is as it was, what is withheld, too. warnings: what its plugin noticed.
    """

    connection: Connection
    seen: set[Key] = field(default_factory=set)
    withheld: dict[Key, str] = field(default_factory=dict)
    read: int = 0
    merged: Merged = field(default_factory=Merged)
    started: float = 0.0
    published: bool = False
    unchanged: bool = False
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
            "withheld": self.withheld_count,
        }

    def outcome(self) -> dict[str, Any]:
        """What is recorded of its success."""
        note, seconds = "; ".join(self.warnings), time.monotonic() - self.started
        return {"note": note, "seconds": seconds, **self.columns()}

    @property
    def withheld_count(self) -> int:
        kept = self.connection.withheld_count if self.unchanged else 0
        return kept + len(self.withheld)


class Held(RainboError):
    """A full listing would remove, or change, too much: a person has to look.

    changes: what is held, as `Run.hold` takes it. removed: how many of them remove a record.
    """

    kind = "held"

    def __init__(self, reasons: list[str], changes: Sequence[Planned]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.changes = changes
        self.removed = sum(kind == HeldChange.Kind.REMOVED for kind, _, _ in changes)


class Publisher:
    """Publishes for one run."""

    def __init__(self, run: Run, plugin: Plugin) -> None:
        self._run = run
        self._plugin = plugin
        floor, percent = getattr(settings, plugin.may_remove)
        self._limits = Limits(Limit(floor, percent), NO_LIMIT, NO_LIMIT)

    def publish(self, part: Part, chunk: Chunk, cursor: Cursor, *, last: bool) -> None:
        """Commit a chunk with its cursor; the last one also confirms the connection.

        Raises Held, and changes nothing, if a full listing would remove too much, or prices would
        change implausibly; Broken if the connection was deleted or connected again meanwhile.
        """
        connection, at = part.connection, self._run.now()
        part.read += chunk.read
        part.withheld |= chunk.withheld
        part.unchanged = part.unchanged or chunk.unchanged
        with self._run.publishing() as session:
            listed: dict[Key, bytes] = {}
            if chunk.wholes:
                listed = records.read_listed(session, connection.pk, chunk.wholes)
            absent, reasons = self._absent(session, part, chunk, listed)
            done = records.merge(
                session,
                connection.pk,
                self._run.record.pk,
                chunk,
                absent,
                listed,
                self._plugin.history,
                at,
            )
            changes: list[prices.Change] = []
            if self._plugin.has_prices and (done.added or done.changed):
                changes = prices.find_changes(session, connection.pk, self._run.record.pk)
                reasons += prices.judge(session, connection.pk, changes)
            if reasons:
                self._decide(session, part, reasons, absent, changes)
            if self._plugin.has_prices:
                self._publish_models(session, part, chunk, done, absent, changes, at)
            part.merged += done
            outcome = part.outcome()
            self._store(session, part, done, cursor, outcome if last else None)
        part.published = True
        if last and self._run.dry_run:  # which has undone all of it
            self._run.record_outcome(connection.key, TargetState.SUCCEEDED, **outcome)
        elif last:
            self._run.announce(connection.key, **outcome)

    def _decide(
        self,
        session: Session,
        part: Part,
        reasons: list[str],
        absent: Sequence[Absent],
        changes: Sequence[prices.Change],
    ) -> None:
        """Raise Held, which undoes the merge, unless a person has accepted just these changes."""
        removed, changed = HeldChange.Kind.REMOVED, HeldChange.Kind.CHANGED
        planned = [(str(removed), f"{row.kind}/{row.id}", row.title) for row in absent]
        planned += [(str(changed), f"{KIND}/{one.name}", one.detail) for one in changes]
        kinds, ids, details = (list(column) for column in zip(*planned, strict=True))
        query = sql.SQL(_PLANNED).format(
            kinds=sql.Literal(kinds), ids=sql.Literal(ids), details=sql.Literal(details)
        )
        key = part.connection.key
        decision = guard.decide_reasons(self._run, key, reasons, query, columns=bool(changes))
        if decision.reasons:
            raise Held(decision.reasons, planned)
        self._run.spend_acceptance(session, [key])

    def _publish_models(
        self,
        session: Session,
        part: Part,
        chunk: Chunk,
        done: Merged,
        absent: Sequence[Absent],
        changes: Sequence[prices.Change],
        at: datetime,
    ) -> None:
        connection, run = part.connection.pk, self._run.record.pk
        if done.added or done.changed:
            prices.publish(session, connection, run, changes, at)
        if chunk.unchanged or (KIND, "") in chunk.wholes:
            prices.note_missing(session, connection, [row.id for row in absent], at)

    def _store(
        self,
        session: Session,
        part: Part,
        done: Merged,
        cursor: Cursor,
        outcome: dict[str, Any] | None,
    ) -> None:
        """Store how far it was read and, with the outcome of the last cursor, its success."""
        connection = part.connection
        given = {
            "id": connection.pk,
            "generation": connection.generation,
            "cursor": Jsonb(cursor.position),
            "more": done.added + done.back - done.removed,
            "withheld": part.withheld_count,
        }
        with session.pipeline():
            stored = session.execute(_SUCCEED if outcome else _ADVANCE, given)
            if outcome:
                self._run.succeed(session, self._confirmed(part, cursor), **outcome)
        if not stored.rowcount:
            raise Broken("it was deleted, or connected again, while it was fetched")
        if outcome and not part.unchanged:
            self._withhold(session, part)

    def _confirmed(self, part: Part, cursor: Cursor) -> Confirmed:
        started = self._run.at(part.started)
        at = min(started, cursor.as_of or started)
        basis = f"{self._plugin.name}, through its cursor"
        return Confirmed(part.connection.key, at, part.read, basis)

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

    def _absent(
        self, session: Session, part: Part, chunk: Chunk, listed: Collection[Key]
    ) -> tuple[list[Absent], list[str]]:
        """Return what full listings no longer have, and why that is implausible, if it is."""
        keys = [key for key in listed if key not in part.seen]
        if not keys:
            return [], []
        absent = records.read_absent(session, part.connection.pk, keys)
        return absent, self._reasons(part, chunk, listed, keys)

    def _reasons(
        self, part: Part, chunk: Chunk, listed: Collection[Key], absent: Sequence[Key]
    ) -> list[str]:
        return [
            f"{kind}: {reason}"
            for kind, prefix in sorted(set(chunk.wholes))
            if (cached := _count_meant(listed, kind, prefix))
            for reason in guard.judge(
                PlannedChange(
                    cached=cached,
                    read=_count_meant(part.seen, kind, prefix),
                    removed=_count_meant(absent, kind, prefix),
                ),
                self._limits,
            )
        ]


def _count_meant(keys: Collection[Key], kind: str, prefix: str) -> int:
    return sum(records.is_meant(key, kind, prefix) for key in keys)


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "�")[:1000]
