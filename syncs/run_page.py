"""What a run's page tells, read in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, Sum
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from syncs import markup, report
from syncs.errors import UsageError
from syncs.markup import TARGET_TONES
from syncs.models import HeldChange, RunLog, RunTarget, SyncRun, TargetState
from syncs.options import Options
from syncs.place import machine

SHOWN_CHANGES = 200
SHOWN_LINES = 500


@dataclass(frozen=True)
class Part:
    """One instance's part, ready to be shown."""

    label: str
    state: SafeString
    counts: tuple[tuple[str, SafeString], ...]
    seconds: SafeString
    words: str


@dataclass(frozen=True)
class Change:
    """One change of a held set."""

    label: str
    kind: str
    source_id: str
    detail: str


@dataclass(frozen=True)
class Course:
    columns: tuple[str, ...]
    parts: list[Part]
    log: list[RunLog]
    more_log: int
    held: list[Change]
    more_held: int
    held_words: str


def course(record: SyncRun) -> Course:
    """The run's parts, its log and what it holds, each cut to what a page can show."""
    held = HeldChange.objects.filter(run=record)
    parts = list(record.targets.all())
    labels = {part.target: part.label for part in parts}
    log = list(record.log.all()[:SHOWN_LINES])
    return Course(
        columns=report.COUNTS,
        parts=[_part(part, dry=record.is_dry) for part in parts],
        log=log,
        more_log=max(0, record.log.count() - len(log)),
        held=[
            Change(labels.get(row.target, row.target), row.kind, row.source_id, row.detail)
            for row in held.order_by("target", "kind", "pk")[:SHOWN_CHANGES]
        ],
        more_held=max(0, held.count() - SHOWN_CHANGES),
        held_words=_held_words(record, parts),
    )


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
        record.summary = _summary(row, dry=record.is_dry) if row else ""


def next_steps(record: SyncRun) -> SafeString:
    """The commands that take up what failed or is held."""
    try:
        commands = [
            ("To accept what is held, after looking at it below", report.accept_command(record)),
            ("To retry what failed", report.retry_command(record)),
        ]
    except UsageError as error:  # a sync that the code no longer knows
        return markup.quiet(str(error))
    lines = [(why, command) for why, command in commands if command]
    if not lines:
        return markup.quiet("nothing")
    return format_html_join("", '<p>{}: <code class="command">{}</code></p>', lines)


def asked_by(record: SyncRun) -> str:
    return f"{record.trigger}: {record.actor}" if record.actor else record.trigger


def facts(record: SyncRun, link: Callable[[int], SafeString]) -> list[tuple[str, str]]:
    """Who asked for what, and when and where it went on."""
    now = timezone.now()
    return [
        ("asked by", asked_by(record)),
        ("options", options_in_words(record)),
        ("planned for", markup.moment(record.slot, now, missing="no planned time")),
        ("requested", markup.moment(record.created_at, now)),
        *([("not before", markup.moment(record.not_before, now))] if record.not_before else []),
        ("started", markup.moment(record.started_at, now, missing="not started")),
        ("ended", markup.moment(record.finished_at, now, missing="not ended")),
        ("took", markup.took(record.seconds)),
        ("ran on", _place(record)),
        ("attempt", str(record.attempt)),
        *_cancelling(record, now),
        ("other runs", related(record, link)),
    ]


def _place(record: SyncRun) -> str:
    return f"{machine(record.host)}, process {record.pid}" if record.host else "nowhere yet"


def _cancelling(record: SyncRun, now: datetime) -> list[tuple[str, str]]:
    if record.cancel_requested_at is None:
        return []
    by = record.cancel_requested_by or "somebody"
    asked = format_html("by {}, {}", by, markup.moment(record.cancel_requested_at, now))
    return [("cancelling asked", asked)]


def options_in_words(record: SyncRun) -> str:
    try:
        options = Options.from_json(record.options)
    except (UsageError, TypeError) as error:
        return str(error)
    words = [
        f"instances {', '.join(options.targets)}" if options.targets else "all instances",
        f"only {', '.join(options.only)}" if options.only else "",
        "forced" if options.force else "",
        "dry run: nothing is written" if options.dry_run else "",
        f"what failed in run {options.failed_from}" if options.failed_from else "",
        f"accepts run {options.accept_held}: {options.reason}" if options.accept_held else "",
    ]
    return "; ".join(filter(None, words))


def related(record: SyncRun, link: Callable[[int], SafeString]) -> SafeString:
    named = [
        ("met", record.met_id),
        ("superseded by", record.superseded_by_id),
        ("accepted by", record.accepted_by_id),
    ]
    lines = [(words, link(pk)) for words, pk in named if pk]
    return format_html_join(", ", "{} {}", lines) if lines else markup.quiet("none")


def _held_words(record: SyncRun, parts: Sequence[RunTarget]) -> str:
    """What became, or may become, of what the run holds; empty when it holds nothing."""
    if not any(part.state == TargetState.HELD for part in parts):
        return ""
    refused = "A guard refused to publish these."
    if record.is_dry:
        return f"{refused} This was a dry run: it asks nobody."
    if record.accepted_by_id:
        return f"{refused} A person accepted them: run {record.accepted_by_id} took them up."
    if record.superseded_by_id:
        return f"{refused} Run {record.superseded_by_id} holds the same: look there."
    return f"{refused} They wait until a person accepts them."


def _part(part: RunTarget, *, dry: bool) -> Part:
    wished = dry or part.state == TargetState.HELD
    return Part(
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
