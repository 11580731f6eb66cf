"""Stores what belongs to a run's row, as long as the row of that id is the run's own.

Where RAINBO's database was restored to an older copy, another run may have the id by now: its nonce
differs. Both are compared, in the statement or the transaction that stores the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, connection, models, transaction
from django.db.models.expressions import RawSQL
from psycopg import errors
from psycopg.types.json import Jsonb

from common.redaction import redact
from syncs.errors import LeaseLost
from syncs.models import HeldChange, RunLog, RunTarget, SyncRun, TargetState

_OWN = "(SELECT id FROM syncs_syncrun WHERE id = %s AND nonce = %s)"
_OUTCOME = {
    **dict.fromkeys(("state", "note", "error", "error_kind", "source"), "text"),
    **dict.fromkeys(("read", "added", "changed", "removed", "withheld", "total"), "bigint"),
    **dict.fromkeys(("held_counts", "held_tenants", "guarded_counts"), "jsonb"),
    **dict.fromkeys(("passing", "accepted"), "boolean"),
    "seconds": "float8",
}
# One statement each for all parts of a run. Django's bulk_create takes ten times as long to put a
# part's values together as PostgreSQL takes to store them.
_EXPECT = f"""
    INSERT INTO syncs_runtarget (
           run_id, target, label, state, note, error, error_kind, passing, source, accepted)
    SELECT run.id, target, label, '{TargetState.WAITING}', '', '', '', false, '', false
      FROM syncs_syncrun AS run, unnest(%s::text[], %s::text[]) WITH ORDINALITY
           AS expected (target, label, place)
     WHERE run.id = %s AND run.nonce = %s
     ORDER BY place
    RETURNING target, id"""  # noqa: S608 (constants)
_STORE = f"""
    UPDATE syncs_runtarget AS part
       SET ({", ".join(_OUTCOME)}) = ({", ".join(f"done.{name}" for name in _OUTCOME)})
      FROM jsonb_to_recordset(%s) AS done (
           id bigint, {", ".join(f"{name} {kind}" for name, kind in _OUTCOME.items())})
     WHERE part.id = done.id AND part.run_id = {_OWN}"""  # noqa: S608 (constants)


def add(
    record: SyncRun,
    rows: Sequence[RunLog] | Sequence[HeldChange],
) -> None:
    """Insert log lines or held changes of a run. Raises LeaseLost if it has no row."""
    with _owned(record, rows):
        if len(rows) == 1:
            rows[0].save(force_insert=True)  # one statement, without a transaction of its own
        elif rows:
            model: type[models.Model] = type(rows[0])
            model._default_manager.bulk_create(rows)


def expect(record: SyncRun, parts: Sequence[RunTarget]) -> None:
    """Insert parts of a run that wait for their turn. Raises LeaseLost if it has no row."""
    names = [[part.target for part in parts], [part.label for part in parts]]
    with connection.cursor() as cursor:
        cursor.execute(_EXPECT, [*names, record.pk, record.nonce])
        ids = dict(cursor.fetchall())
    for part in parts:
        if part.target not in ids:
            raise LeaseLost
        part.pk = ids[part.target]
        part._state.adding = False


def store(record: SyncRun, parts: Sequence[RunTarget]) -> None:
    """Store outcomes, of parts that have a row and of those that get it only now.

    Raises LeaseLost if the run has no row.
    """
    if known := [part for part in parts if part.pk is not None]:
        given: list[Any] = [Jsonb([_outcome(part) for part in known]), record.pk, record.nonce]
        with connection.cursor() as cursor:
            cursor.execute(_STORE, given)
            if not cursor.rowcount:
                raise LeaseLost
    late = [part for part in parts if part.pk is None]
    with _owned(record, late):
        RunTarget.objects.bulk_create(
            late,
            update_conflicts=True,
            unique_fields=["run", "target"],
            update_fields=[*_OUTCOME],
        )


def _outcome(part: RunTarget) -> dict[str, Any]:
    found = {name: getattr(part, name) for name in _OUTCOME}
    return found | {"id": part.pk, "note": redact(part.note), "error": redact(part.error)}


@contextmanager
def _owned(
    record: SyncRun, rows: Sequence[RunLog] | Sequence[RunTarget] | Sequence[HeldChange]
) -> Iterator[None]:
    """Insert rows only if the run has its row.

    A single row names its run by an expression: NULL, which no column takes, if the row is
    another's. For many the run is looked up first: Django inserts plain values as arrays, and
    expressions one by one.
    """
    if len(rows) > 1:
        with transaction.atomic(savepoint=False):
            if not SyncRun.objects.filter(pk=record.pk, nonce=record.nonce).exists():
                raise LeaseLost
            yield
        return
    for row in rows:
        row.run_id = RawSQL(_OWN, [record.pk, record.nonce])  # noqa: S611 (a constant)
    try:
        yield
    except IntegrityError as error:
        if isinstance(error.__cause__, errors.NotNullViolation):
            raise LeaseLost from error
        raise
    finally:
        for row in rows:
            row.run = record
