"""Stores what belongs to a run's row, as long as the row of that id is the run's own.

Where RAINBO's database was restored to an older copy, another run may have the id by now: its nonce
differs. Both are compared, in the statement or the transaction that stores the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.db import IntegrityError, models, transaction
from django.db.models.expressions import RawSQL
from psycopg import errors

from syncs.errors import LeaseLost
from syncs.models import HeldChange, RunLog, RunTarget, SyncRun

_OWN = "(SELECT id FROM syncs_syncrun WHERE id = %s AND nonce = %s)"
_OUTCOME = [
    *("state", "note", "seconds", "error", "error_kind", "passing"),
    *("read", "added", "changed", "removed", "withheld", "total"),
    *("held_counts", "held_tenants", "guarded_counts", "source", "accepted"),
]


def add(
    record: SyncRun,
    rows: Sequence[RunLog] | Sequence[RunTarget] | Sequence[HeldChange],
) -> None:
    """Insert log lines, parts or held changes of a run. Raises LeaseLost if it has no row."""
    with _owned(record, rows):
        if len(rows) == 1:
            rows[0].save(force_insert=True)  # one statement, without a transaction of its own
        elif rows:
            model: type[models.Model] = type(rows[0])
            model._default_manager.bulk_create(rows)


def store(record: SyncRun, parts: Sequence[RunTarget]) -> None:
    """Store outcomes, of parts that have a row and of those that get it only now.

    Raises LeaseLost if the run has no row.
    """
    for key in (["id"], ["run", "target"]):
        rows = [part for part in parts if (part.pk is not None) == (key == ["id"])]
        with _owned(record, rows):
            RunTarget.objects.bulk_create(
                rows, update_conflicts=True, unique_fields=key, update_fields=_OUTCOME
            )


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
