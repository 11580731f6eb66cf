"""What became of a run's instances: each of them, and all in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncs import markup, report
from syncs.markup import TARGET_TONES
from syncs.models import RunTarget, SyncRun, TargetState

MOST_PARTS = 500
GRAVEST = (
    *(TargetState.FAILED, TargetState.HELD, TargetState.WAITING),
    *(TargetState.SKIPPED, TargetState.SUCCEEDED),
)


@dataclass(frozen=True)
class Part:
    """One instance's part, ready to be shown."""

    key: str
    label: str
    state: SafeString
    counts: tuple[tuple[str, SafeString], ...]
    seconds: SafeString
    words: str


@dataclass(frozen=True)
class Progress:
    """How many of the instances are through."""

    done: int
    of: int

    @property
    def words(self) -> str:
        if not self.of:
            return "its instances are not known yet"
        return f"{self.done:,} of {self.of:,} instance{'' if self.of == 1 else 's'} through"


def shown(record: SyncRun, parts: Sequence[RunTarget]) -> list[Part]:
    """In the order in which they were taken; once the run has ended, the gravest first."""
    rows = list(parts)
    if not record.is_open:
        rows.sort(key=lambda part: GRAVEST.index(TargetState(part.state)))
    return [_part(part, dry=record.is_dry) for part in rows[:MOST_PARTS]]


def progress(parts: Sequence[RunTarget]) -> Progress:
    return Progress(sum(part.state != TargetState.WAITING for part in parts), len(parts))


def add_summaries(records: Sequence[Any]) -> None:
    """Give each run its `summary`: what became of its instances, and its counts."""
    sums = {f"sum_{name}": Sum(name) for name in report.COUNTS}
    failed = Count("pk", filter=Q(state=TargetState.FAILED))
    held = Count("pk", filter=Q(state=TargetState.HELD))
    skipped = Count("pk", filter=Q(state=TargetState.SKIPPED))
    good = Count("pk", filter=Q(state=TargetState.SUCCEEDED))
    rows: Any = (
        RunTarget.objects.filter(run__in=[record.pk for record in records])
        .order_by()
        .values("run")
        .annotate(parts=Count("pk"), failed=failed, held=held, skipped=skipped, good=good, **sums)
    )
    found = {row["run"]: row for row in rows}
    for record in records:
        row = found.get(record.pk)
        words = [_summary(row, dry=record.is_dry)] if row else []
        if record.discarded_at:
            words.append(f"discarded by {record.discarded_by}")
        record.summary = "; ".join(words)


def _part(part: RunTarget, *, dry: bool) -> Part:
    wished = dry or part.state == TargetState.HELD
    return Part(
        key=part.target,
        label=part.label,
        state=markup.badge(part.state, TARGET_TONES[part.state]),
        counts=tuple((n, _count(n, getattr(part, n), wished=wished)) for n in report.COUNTS),
        seconds=markup.took(part.seconds),
        words="; ".join(filter(None, [part.note, part.error])),
    )


def _count(name: str, count: int | None, *, wished: bool) -> SafeString:
    number = markup.number(count, "–")
    would = wished and count and name in report.WISHES
    return format_html("<span>would be {}</span>", number) if would else number


def _summary(row: dict[str, Any], *, dry: bool) -> str:
    """Counts of what was not written say `would`: those of a dry run, or with all held."""
    wished = dry or row["held"] == row["parts"]
    sums = {name: row[f"sum_{name}"] for name in report.COUNTS}
    known = {name: count for name, count in sums.items() if count is not None}
    counts = [
        report.count_in_words(name, count, wished=wished)
        for name, count in known.items()
        if count or name == "read"
    ]
    if known and not any(count for name, count in known.items() if name != "read"):
        counts.append("would change nothing" if wished else "changed nothing")
    if not known and row["good"]:
        counts.append(f"{row['good']} succeeded")
    bad = [f"{row[word]} of {row['parts']} {word}" for word in ("failed", "held") if row[word]]
    skipped = f"{row['skipped']} skipped" if row["skipped"] else ""
    words = "; ".join(filter(None, [", ".join(bad), ", ".join(counts), skipped]))
    return f"dry run: {words}" if dry else words
