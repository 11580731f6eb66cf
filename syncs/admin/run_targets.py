"""The results of a run's instances: each of them, and all in a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import markup
from common.errors import UsageError
from common.text import in_viewer_zone
from syncs.admin.badges import TARGET_TONES
from syncs.engine import registry
from syncs.models import RunTarget, SyncRun, TargetState
from syncs.reports import run_report

MOST_PARTS = 500
MOST_SEVERE_FIRST = (
    *(TargetState.FAILED, TargetState.HELD, TargetState.WAITING),
    *(TargetState.SKIPPED, TargetState.SUCCEEDED),
)

# One run after the other, by the index of its parts: together they would be read from the whole.
_SUMS = """
    SELECT wanted.run, summed.*
      FROM unnest(%(runs)s::bigint[]) AS wanted (run)
     CROSS JOIN LATERAL (
           SELECT state, count(*) AS parts, sum(read) AS read, sum(added) AS added,
                  sum(changed) AS changed, sum(removed) AS removed, sum(withheld) AS withheld
             FROM syncs_runtarget WHERE run_id = wanted.run GROUP BY state) AS summed"""


@dataclass(frozen=True)
class TargetRow:
    """One instance's part, ready to be shown."""

    key: str
    label: SafeString
    is_waiting: bool
    state: SafeString
    counts: tuple[tuple[str, SafeString], ...]
    seconds: SafeString
    message: str


@dataclass(frozen=True)
class Sums:
    """Of the parts in one state: how many they are, and their counts where known."""

    parts: int
    counts: dict[str, int | None]

    def plus(self, more: Mapping[str, int]) -> Sums:
        """With those that are no longer stored, as their run has them."""
        counts = {
            name: (self.counts.get(name) or 0) + more[name] if name in more else known
            for name, known in self.counts.items()
        }
        return Sums(self.parts + more["parts"], counts)


NONE = Sums(0, dict.fromkeys(run_report.COUNTS))


@dataclass(frozen=True)
class Progress:
    """How many of the instances are through."""

    done: int
    of: int

    @property
    def text(self) -> str:
        if not self.of:
            return "instances not known yet"
        return f"{self.done:,} of {self.of:,} instance{'' if self.of == 1 else 's'} done"


def shown(record: SyncRun, parts: Sequence[RunTarget], pages: Mapping[str, str]) -> list[TargetRow]:
    """In the order in which they were taken; once the run has ended, the most severe first."""
    rows = list(parts)
    if not record.is_open:
        rows.sort(key=lambda part: MOST_SEVERE_FIRST.index(TargetState(part.state)))
    return [_part(part, pages, record) for part in rows[:MOST_PARTS]]


def pages_of(
    record: SyncRun, parts: Sequence[RunTarget], may_see: Callable[[str], bool]
) -> Mapping[str, str]:
    """The addresses of the instances' own pages, of those that this person may see."""
    try:
        pages = registry.get(record.sync).pages
    except UsageError:  # a sync that the code no longer knows
        return {}
    if pages is None or not may_see(pages.permission):
        return {}
    return pages.of([part.target for part in parts[:MOST_PARTS]])


def rolled_up(record: SyncRun) -> str:
    """`198 succeeded, 2 failed`: those that are no longer listed."""
    counts = record.counts_rolled_up
    return ", ".join(
        f"{counts[state]['parts']:,} {state}" for state in MOST_SEVERE_FIRST if state in counts
    )


def linked(label: str, url: str | None) -> SafeString:
    """A name, isolated, and as a link where what it names has a page."""
    if url:
        return format_html('<a class="link" href="{}"><bdi>{}</bdi></a>', url, label)
    return format_html("<bdi>{}</bdi>", label)


def progress(parts: Sequence[RunTarget]) -> Progress:
    return Progress(sum(part.state != TargetState.WAITING for part in parts), len(parts))


def add_summaries(records: Sequence[Any]) -> None:
    """Give each run its `summary`: the results of its instances, and its counts."""
    with connection.cursor() as cursor:
        cursor.execute(_SUMS, {"runs": [record.pk for record in records]})
        rows = cursor.fetchall()
    found: dict[int, dict[str, Sums]] = {}
    for run, state, count, *sums in rows:
        found.setdefault(run, {})[state] = Sums(
            count, dict(zip(run_report.COUNTS, sums, strict=True))
        )
    for record in records:
        for state, more in record.counts_rolled_up.items():
            stored = found.setdefault(record.pk, {})
            stored[state] = stored.get(state, NONE).plus(more)
        pieces = [_summary(found.get(record.pk, {}), dry=record.is_dry)]
        if record.accepted_by_id:
            pieces.append(f"accepted by run {record.accepted_by_id}")
        elif record.discarded_at:
            pieces.append(f"discarded by {record.discarded_by}")
        record.summary = "; ".join(filter(None, pieces))


def _part(part: RunTarget, pages: Mapping[str, str], record: SyncRun) -> TargetRow:
    written = record.finished_at or record.created_at
    proposed = record.is_dry or part.state == TargetState.HELD
    return TargetRow(
        key=part.target,
        label=linked(part.label, pages.get(part.target)),
        is_waiting=part.state == TargetState.WAITING,
        state=markup.badge(part.state, TARGET_TONES[part.state]),
        counts=tuple(
            (n, _count(n, getattr(part, n), proposed=proposed)) for n in run_report.COUNTS
        ),
        seconds=markup.took(part.seconds),
        message=in_viewer_zone("; ".join(filter(None, [part.note, part.error])), written),
    )


def _count(name: str, count: int | None, *, proposed: bool) -> SafeString:
    number = markup.number(count, "–")
    would = proposed and count and name in run_report.PROPOSALS
    return format_html("<span>would be {}</span>", number) if would else number


def _summary(sums: dict[str, Sums], *, dry: bool) -> str:
    """Counts of what was not written say `would`: those of a dry run, or when only held ones are.

    Where some were published, the counts are of these alone.
    """
    if not sums:
        return ""
    parts = sum(each.parts for each in sums.values())
    only_held = TargetState.HELD in sums and TargetState.SUCCEEDED not in sums
    shown_state = TargetState.HELD if only_held else TargetState.SUCCEEDED
    known = {
        name: count
        for name in run_report.COUNTS
        if shown_state in sums and (count := sums[shown_state].counts[name]) is not None
    }
    counts = _counts(known, proposed=dry or only_held)
    if not known and not only_held and shown_state in sums:
        counts.append(f"{sums[shown_state].parts} {shown_state}")
    few = [
        f"{sums[state].parts} of {parts} {state}"
        for state in (TargetState.FAILED, TargetState.HELD)
        if state in sums
    ]
    skipped = sums.get(TargetState.SKIPPED)
    pieces = [", ".join(few), ", ".join(counts), f"{skipped.parts} skipped" if skipped else ""]
    summary = "; ".join(filter(None, pieces))
    return f"dry run: {summary}" if dry else summary


def _counts(known: dict[str, int], *, proposed: bool) -> list[str]:
    pieces = [
        run_report.describe_count(name, count, proposed=proposed)
        for name, count in known.items()
        if count or name == "read"
    ]
    if known and not any(count for name, count in known.items() if name != "read"):
        pieces.append("would change nothing" if proposed else "changed nothing")
    return pieces
