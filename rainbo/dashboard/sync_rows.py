"""The rows of syncs on the first page: what each did, does and will do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import manage_command, markup, text
from common.errors import UsageError
from common.markup import Tone, seconds_in_words
from common.text import format_duration
from syncs.admin.badges import FRESHNESS_TONES, RUN_TONES, run_url
from syncs.engine.options import Options
from syncs.models import RunState, SyncSchedule
from syncs.status.freshness import Cause, Reason
from syncs.status.queries import Status, SyncStatus
from syncs.status.run_history import OpenRun, RunBar, RunHistory, last_runs, open_runs

WRITES = ("ghost_users",)  # what their runs touch is written to, not only read
SKIPS = ("tenant_summaries",)  # unless forced, a person's run leaves out what is fresh


@dataclass(frozen=True)
class Way:
    """The button that asks for a run: what it touches, and the command that does the same."""

    url: str
    touches: str
    command: str


@dataclass(frozen=True)
class ShownBar:
    key: int
    url: str
    text: str
    tone: str
    state: str
    height: float


@dataclass(frozen=True)
class SyncRow:
    name: str
    title: str
    url: str
    state: SafeString
    age: SafeString
    why: str
    why_url: str
    last: SafeString
    took: str
    next_time: SafeString
    open: tuple[SafeString, ...]
    bars: tuple[ShownBar, ...]
    scale: str
    counts: tuple[tuple[str, str, int], ...]
    way: Way | None
    hint: str
    hint_command: str


def rows(status: Status, *, may_run: bool) -> list[SyncRow]:
    """In three queries, whatever the number of runs and instances."""
    histories = last_runs([sync.name for sync in status.syncs])
    waiting = open_runs()
    schedules = {kept.sync: kept for kept in SyncSchedule.objects.all()}
    any_targets = any(sync.targets for sync in status.syncs)
    return [
        _row(
            sync,
            status.now,
            histories[sync.name],
            waiting.get(sync.name, []),
            schedules.get(sync.name),
            may_run=may_run,
            of_others=any_targets,
        )
        for sync in status.syncs
    ]


def _row(
    sync: SyncStatus,
    now: datetime,
    history: RunHistory,
    waiting: list[OpenRun],
    kept: SyncSchedule | None,
    *,
    may_run: bool,
    of_others: bool,
) -> SyncRow:
    hint, command = _hint(sync, history, kept, of_others=of_others)
    why = _why(sync)
    return SyncRow(
        name=sync.name,
        title=sync.title,
        url=f"{reverse('admin:syncs_syncrun_changelist')}?sync={sync.name}",
        state=markup.badge(sync.state.label, FRESHNESS_TONES[sync.state]),
        age=_age(sync, now),
        why=str(why) if why else "",
        why_url=run_url(why.run) if why and why.run else "",
        last=_last(sync, now),
        took=_took(sync),
        next_time=_next(sync, now),
        open=tuple(_open(run, sync, now) for run in waiting[:3]),
        bars=tuple(_bar(bar) for bar in history.bars),
        scale=_scale(history),
        counts=tuple((s.value, RUN_TONES[s].value, n) for s, n in history.counts),
        way=_way(sync, kept) if may_run and kept and sync.targets else None,
        hint=hint,
        hint_command=command,
    )


def _why(sync: SyncStatus) -> Reason | None:
    """Its reason, unless the row says it already: the next run, or what to do first."""
    said = sync.reason is None or sync.reason.cause is Cause.PAUSED or not sync.targets
    return None if said else sync.reason


def _age(sync: SyncStatus, now: datetime) -> SafeString:
    """The oldest of its instances' confirmations: nothing that readers see is older."""
    known = [target.confirmed_at for target in sync.targets]
    if not known or any(at is None for at in known):
        confirmed = sum(at is not None for at in known)
        label = f"{confirmed:,} of {len(known):,} confirmed" if confirmed else "never confirmed"
        return markup.quiet(label)
    return markup.age(min(at for at in known if at), now)


def _last(sync: SyncStatus, now: datetime) -> SafeString:
    run = sync.last_run
    if run is None:
        return markup.quiet("never run")
    badge = markup.badge(run.state, RUN_TONES[run.state])
    link = format_html('<a class="link" href="{}">run {}</a>', run_url(run.pk), run.pk)
    return format_html("{} {} {}", link, badge, markup.age(run.finished_at, now, missing=""))


def _took(sync: SyncStatus) -> str:
    """`12 s, usually 11 s`."""
    seconds = sync.last_run.seconds if sync.last_run else None
    usually = f"usually {seconds_in_words(sync.usual_seconds)}" if sync.usual_seconds else ""
    if seconds is None:
        return usually
    return ", ".join(filter(None, [seconds_in_words(seconds), usually]))


def _next(sync: SyncStatus, now: datetime) -> SafeString:
    if sync.next_slot is None:
        if not sync.has_schedule:
            return markup.quiet(f"each {sync.noun} by its own frequency")
        return markup.quiet("switched off" if sync.planned else "no schedule")
    at = max(sync.next_slot, now)
    when = markup.age(at, now) if at > now else format_html("{}", "due now")
    if sync.pause is None:
        return when
    label = f"{sync.pause.in_words(now)}"
    return format_html("{} {}, then {}", markup.badge("paused", Tone.WARNING), label, when)


def _open(run: OpenRun, sync: SyncStatus, now: datetime) -> SafeString:
    """`run 812 running for 12 s: 2 of 3 instances`."""
    badge = markup.badge(run.state, RUN_TONES[run.state])
    link = format_html('<a class="link" href="{}">run {}</a>', run_url(run.pk), run.pk)
    if run.since > now:
        return format_html("{} {} begins {}", link, badge, markup.age(run.since, now))
    long = format_duration(now - run.since)
    is_unresponsive = sync.running and sync.running.pk == run.pk and not sync.running.is_live
    if is_unresponsive:
        return format_html("{} {} unresponsive, began {} ago", link, badge, long)
    if run.state == RunState.QUEUED:
        return format_html("{} {} waits for a worker for {}", link, badge, long)
    done = f": {run.done:,} of {run.parts:,} {sync.noun}s" if run.parts else ""
    return format_html("{} {} for {}{}", link, badge, long, done)


def _bar(bar: RunBar) -> ShownBar:
    took = f" in {seconds_in_words(bar.seconds)}" if bar.seconds is not None else ""
    when = f", {markup.exact(bar.at)}" if bar.at else ""
    label = f"run {bar.run} {bar.state.value}{took}{when}"
    tone = RUN_TONES[bar.state].value
    return ShownBar(bar.run, run_url(bar.run), label, tone, bar.state.value, bar.height)


def _scale(history: RunHistory) -> str:
    if not history.full:
        return ""
    return f"scale: {seconds_in_words(history.full)}{' or more' if history.is_cut else ''}"


def _way(sync: SyncStatus, kept: SyncSchedule) -> Way:
    url = reverse("admin:syncs_syncschedule_run", args=[kept.pk])
    options = _options(kept.options)
    count = len(options.targets) or len(sync.targets)
    verb = "writes to" if sync.name in WRITES else "reads"
    skips = ", except what is still fresh" if sync.name in SKIPS and not options.force else ""
    touches = f"{verb} {text.counted(count, 'instance')}{skips}"
    command = [f"sync_{sync.name}"]
    if options.targets:
        command.append(f"--rds {' '.join(options.targets)}")
    if options.force:
        command.append("--force")
    return Way(url, touches, manage_command.line(" ".join(command)))


def _options(stored: dict[str, Any]) -> Options:
    try:
        return Options.from_json(stored)
    except (UsageError, TypeError):  # the run itself will say so
        return Options()


def _hint(
    sync: SyncStatus, history: RunHistory, kept: SyncSchedule | None, *, of_others: bool
) -> tuple[str, str]:
    """The next step of a sync without schedule, instances or runs. of_others: others have some."""
    if not sync.has_schedule:
        return "", ""
    if kept is None:
        return "It has no schedule. This creates what is missing:", manage_command.line(
            "setup_schedules"
        )
    if not sync.targets and of_others:
        hint = "No active instance is the master. This makes one the master:"
        return hint, manage_command.line("add_instance --update --id N --master")
    if not sync.targets:
        return "No active instance takes part. This registers one:", manage_command.line(
            "add_instance"
        )
    if not history.bars:
        return "It has never run. This runs it now:", manage_command.line(f"sync_{sync.name}")
    return "", ""
