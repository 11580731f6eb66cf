"""The rows of a sync's sources that readers aren't shown: hidden ones, and what can't be stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db import connection

from common.errors import UsageError
from syncs.engine import registry
from syncs.engine.targets import Hidden, Withheld
from syncs.models import Confirmation, RunTarget, SyncRun, WithheldRow

SHOWN = 50
CHUNK = 2_000  # rows in memory at once
MaySee = Callable[[str], bool]

# The first of each instance, by the index withheld_of_a_target: there may be many.
_FIRST = """
    SELECT sample.id
      FROM unnest(%(targets)s::text[]) AS part (target)
     CROSS JOIN LATERAL (
           SELECT id, target FROM syncs_withheldrow
            WHERE sync = %(sync)s AND target BETWEEN part.target AND part.target
            ORDER BY target, id LIMIT %(limit)s) AS sample
     ORDER BY sample.target, sample.id LIMIT %(limit)s"""


@dataclass(frozen=True)
class Section:
    """What a run's page shows of them, as they are now. of_this: this run was the last to count.

    hidden_noun, hidden_page: of what its sync stores and hides, where the console lists it.
    """

    rows: list[Withheld]
    is_cut: bool
    of_this: bool
    hidden_noun: str
    hidden_page: str


def section(record: SyncRun, may_see: MaySee) -> Section | None:
    """None when nothing is withheld now and the run counted nothing."""
    found = list(rows(record, may_see, SHOWN + 1))
    counted = RunTarget.objects.filter(run=record, withheld__gt=0).exists()
    if not found and not counted:
        return None
    hidden = hidden_of(record.sync, may_see)
    return Section(
        rows=found[:SHOWN],
        is_cut=len(found) > SHOWN,
        of_this=Confirmation.objects.filter(sync=record.sync, run=record).exists(),
        hidden_noun=hidden.noun if hidden else "",
        hidden_page=hidden.page() if hidden else "",
    )


def rows(record: SyncRun, may_see: MaySee, limit: int | None = None) -> Iterator[Withheld]:
    """Those of the run's instances, one by one: first what can't be stored."""
    return islice(_rows(record, may_see, limit), limit)


def hidden_of(sync: str, may_see: MaySee) -> Hidden | None:
    try:
        hidden = registry.get(sync).hidden
    except UsageError:  # a sync that the code no longer knows
        return None
    return hidden if hidden and may_see(hidden.permission) else None


def _rows(record: SyncRun, may_see: MaySee, limit: int | None) -> Iterator[Withheld]:
    labels = dict(record.targets.values_list("target", "label"))
    found = WithheldRow.objects.filter(sync=record.sync, target__in=labels)
    if limit is not None:
        found = WithheldRow.objects.filter(pk__in=_first(record.sync, [*labels], limit))
    for row in found.order_by("sync", "target", "id").iterator(CHUNK):
        label = labels[row.target]
        yield Withheld(label, row.source_id, "can't be stored", row.reason, row.since)
    if hidden := hidden_of(record.sync, may_see):
        yield from hidden.rows(limit)


def _first(sync: str, targets: list[str], limit: int) -> list[int]:
    wanted: dict[str, Any] = {"sync": sync, "targets": targets, "limit": limit}
    with connection.cursor() as cursor:
        cursor.execute(_FIRST, wanted)
        return [pk for (pk,) in cursor.fetchall()]
