"""What a run holds, as a person decides about it: in numbers, by samples, and what can be done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from common.errors import UsageError
from syncs.admin import badges, run_targets
from syncs.engine import held, registry
from syncs.engine.targets import TenantPages
from syncs.models import HeldChange, RunTarget, SyncRun, TargetState
from syncs.reports import run_report

SHOWN = 200  # changes in all
OF_A_KIND = 10  # of one kind on one instance
MOST_INSTANCES = 50
CONFIRMED_ABOVE = 1_000  # changes, that a person has to confirm by their number
LONGEST = 80  # characters of one value of a change
VERBS = {
    "removed": "remove",
    "moved": "move",
    "changed": "change",
    "lowered": "lower the counts of",
}
KINDS = tuple(VERBS)
_BETWEEN_VALUES = re.compile("(: | → |; )")  # as plans write them: `a@x.example: name 'A' → 'B'`

# The first changes of each kind, by the index held_by_kind: a held set can have millions. BETWEEN,
# since with equalities the planner may walk through the changes of other runs by their ids.
_SAMPLE = """
    SELECT sample.target, sample.kind, sample.source_id, sample.detail
      FROM unnest(%(targets)s::text[]) WITH ORDINALITY AS part (target, place)
     CROSS JOIN unnest(%(kinds)s::text[]) WITH ORDINALITY AS wanted (kind, rank)
     CROSS JOIN LATERAL (
           SELECT * FROM syncs_heldchange AS change
            WHERE change.run_id = %(run)s
              AND change.target BETWEEN part.target AND part.target
              AND change.kind BETWEEN wanted.kind AND wanted.kind
            ORDER BY change.target, change.kind, change.id LIMIT %(most)s) AS sample
     ORDER BY part.place, wanted.rank, sample.id LIMIT %(shown)s"""


@dataclass(frozen=True)
class HeldRow:
    """One change of a held set. Its tenant, if it is about one; `unknown` if nobody stored it."""

    label: str
    kind: str
    source_id: str
    detail: str
    tenant_instance: str = ""
    tenant: str = ""

    @property
    def shown(self) -> SafeString:
        """The detail with each value cut and by itself: none hides, or turns, what follows it."""
        pieces = _BETWEEN_VALUES.split(self.detail)
        values = zip(map(_cut, pieces[::2]), [*pieces[1::2], ""], strict=True)
        return format_html_join("", "<bdi>{}</bdi>{}", values)


@dataclass(frozen=True)
class HeldPart:
    """What one instance's part would do, in numbers, and why it is held."""

    key: str
    label: SafeString
    would: str
    why: str


@dataclass(frozen=True)
class Held:
    """What a run holds.

    waits: a person can decide. would: what an acceptance does, in numbers, of all instances."""

    text: SafeString
    waits: bool
    would: str
    rows: int
    parts: list[HeldPart]
    more_parts: int
    sample: list[HeldRow]
    is_cut: bool
    accept_command: str
    discard_command: str


def read(record: SyncRun, parts: Sequence[RunTarget], pages: Mapping[str, str]) -> Held | None:
    """None when the run holds nothing."""
    holding = sorted(
        (part for part in parts if part.state == TargetState.HELD),
        key=lambda part: weight(part.held_counts, part.target),
    )
    if not holding:
        return None
    text, waits = _text(record, holding)
    sample = _sample(record, holding[:MOST_INSTANCES])
    counted = [part.held_counts for part in holding]
    total: Counter[str] = Counter()
    for counts in counted:
        total.update(counts or {})
    return Held(
        text=text,
        waits=waits,
        would=would(total) if None not in counted else "apply the changes listed below",
        rows=to_confirm(total),
        parts=[_part(part, pages) for part in holding[:MOST_INSTANCES]],
        more_parts=max(0, len(holding) - MOST_INSTANCES),
        sample=sample,
        is_cut=sum(total.values()) > len(sample),
        accept_command=run_report.accept_command(record) if waits else "",
        discard_command=run_report.discard_command(record) if waits else "",
    )


def to_confirm(counts: Mapping[str, int]) -> int:
    """How many changes a person has to confirm by their number; 0 if they are few."""
    rows = sum(counts.values())
    return rows if rows > CONFIRMED_ABOVE else 0


def would(counts: dict[str, int]) -> str:
    """Return `remove 300, move 4`, or that nothing is removed or moved."""
    effects = [f"{VERBS[kind]} {counts[kind]:,}" for kind in KINDS if counts.get(kind)]
    return ", ".join(effects) or "remove nothing, move nothing"


def counts_of(record: SyncRun) -> dict[str, int]:
    """How many changes of each kind the run holds."""
    total: Counter[str] = Counter()
    for part in record.targets.filter(state=TargetState.HELD):
        total.update(part.held_counts or {})
    return dict(total)


def changes(record: SyncRun, chunk: int) -> Iterator[HeldRow]:
    """All of them, one by one."""
    parts = {part.target: part for part in record.targets.all()}
    has_tenants = tenants_of(record) is not None
    rows = HeldChange.objects.filter(run=record).order_by("run", "target", "kind", "id")
    for row in rows.iterator(chunk):
        part = parts.get(row.target)
        label = part.label if part else row.target
        is_known = not has_tenants or (part is not None and part.held_tenants is not None)
        missing = "" if is_known else "unknown"
        tenant = row.tenant_instance or missing, row.tenant or missing
        yield HeldRow(label, row.kind, row.source_id, row.detail, *tenant)


def weight(counts: Mapping[str, int] | None, *keys: str) -> tuple[Any, ...]:
    """The most changes first; then by the numbers of instances and tenants, then their names."""
    numbers = [
        (0, int(key), key) if key.isascii() and key.isdecimal() else (1, 0, key) for key in keys
    ]
    return -sum((counts or {}).values()), *numbers


def tenants_of(record: SyncRun) -> TenantPages | None:
    """The pages of the tenants that its changes are about; None for a sync of something else."""
    try:
        return registry.get(record.sync).tenants
    except UsageError:  # a sync that the code no longer knows
        return None


def _part(part: RunTarget, pages: Mapping[str, str]) -> HeldPart:
    counts = part.held_counts
    label = run_targets.linked(part.label, pages.get(part.target))
    return HeldPart(
        part.target, label, would(counts) if counts is not None else "unknown", part.note
    )


def _sample(record: SyncRun, holding: Sequence[RunTarget]) -> list[HeldRow]:
    labels = {part.target: part.label for part in holding}
    wanted: dict[str, Any] = {
        "run": record.pk,
        "targets": [*labels],
        "kinds": [*KINDS],
        "most": OF_A_KIND,
        "shown": SHOWN,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLE, wanted)
        return [HeldRow(labels[target], *rest) for target, *rest in cursor.fetchall()]


def _cut(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[: LONGEST - 1].rstrip()}…"


def _text(record: SyncRun, holding: Sequence[RunTarget]) -> tuple[SafeString, bool]:
    """Return what happened to the held changes as text, and whether they need review."""
    decided = _decided(record, holding)
    more = decided or "They need review: accept or discard them."
    return format_html("A guard held these changes. {}", more), not decided


def _decided(record: SyncRun, holding: Sequence[RunTarget]) -> SafeString | str:
    """Return why there is nothing to decide; empty while there is."""
    if record.is_dry:
        return "This was a dry run: there is nothing to accept or discard."
    if record.accepted_by:
        return _acceptance(record.accepted_by, "published them")
    if record.superseded_by_id:
        link = badges.run_link(record.superseded_by_id, f"Run {record.superseded_by_id}")
        if held.is_repeated(record):
            return format_html("{} holds the same changes: decide there.", link)
        return _published(link)
    if record.discarded_at:
        return f"{record.discarded_by} discarded them: {record.discard_reason}"
    if other := held.open_acceptor(record):
        return _acceptance(other, f"will publish them and is {other.state}")
    since = held.published_since(record, [part.target for part in holding])
    if since and len(since) == len(holding):  # the source was repaired
        last = max(since.values())
        return _published(badges.run_link(last, f"Run {last}"))
    return ""


def _published(run: SafeString) -> SafeString:
    return format_html("{} has published these instances since: no decision is needed.", run)


def _acceptance(run: SyncRun, does: str) -> SafeString:
    """`ann accepted them: tenant 88 left. Run 4720 published them.`"""
    who, why = run.actor or "A user", run.options.get("reason") or "no reason given"
    link = badges.run_link(run.pk, f"Run {run.pk}")
    return format_html("{} accepted them: {}. {} {}.", who, why, link, does)
