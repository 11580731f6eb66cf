"""The rows of syncs on the first page: what each did, does and will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from common import manage_command, markup, text
from common.errors import UsageError
from common.markup import Tone, seconds_in_words
from common.text import format_duration, in_viewer_zone
from syncs.admin.badges import FRESHNESS_TONES, RUN_TONES, run_url
from syncs.engine.options import Options
from syncs.models import RunState, SyncSchedule
from syncs.status import freshness, run_history
from syncs.status.freshness import Cause, Reason
from syncs.status.problems import Problem
from syncs.status.queries import Status, SyncStatus
from syncs.status.run_history import OpenRun, RunBar, RunHistory, last_runs, open_runs
from syncs.status.sync_problems import WORST

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
    text: str
    tone: str
    height: float


@dataclass(frozen=True)
class HistoryBars:
    """The last runs as bars. text: how they ended. span: the shortest and the longest of them."""

    bars: tuple[ShownBar, ...]
    text: str
    span: str


@dataclass(frozen=True)
class SyncRow:
    """One sync, or all services. names: the syncs in it, and where the runs of each are listed."""

    name: str
    title: str
    url: str
    names: tuple[tuple[str, str, str], ...]
    state: SafeString
    age: SafeString
    last: SafeString
    ended: SafeString
    took: str
    usual: str
    next_time: SafeString
    history: HistoryBars | None
    open: tuple[SafeString, ...] = ()
    why: str = ""
    why_url: str = ""
    way: Way | None = None
    schedule_url: str = ""
    hint: str = ""
    hint_command: str = ""

    @property
    def has_menu(self) -> bool:
        return bool(self.way or self.schedule_url or len(self.names) > 1)


def rows(status: Status, found: Sequence[Problem], may: Callable[[str], bool]) -> list[SyncRow]:
    """In three queries, whatever the number of runs and instances. found: all problems, in order.

    What is named first among the problems is the first row; services share one.
    """
    histories = last_runs([sync.name for sync in status.syncs])
    waiting = open_runs()
    schedules = {kept.sync: kept for kept in SyncSchedule.objects.all()}
    any_targets = any(sync.targets for sync in status.syncs)
    services = [sync for sync in status.syncs if not sync.has_schedule]
    ranked = [
        (
            _rank([sync], found),
            _row(
                sync,
                status.now,
                histories[sync.name],
                waiting.get(sync.name, []),
                schedules.get(sync.name),
                may=may,
                of_others=any_targets,
            ),
        )
        for sync in status.syncs
        if sync.has_schedule
    ]
    if services:
        row = _services(services, status.now, histories, waiting, may)
        ranked.append((_rank(services, found), row))
    return [row for _, row in sorted(ranked, key=lambda pair: pair[0])]


def _rank(syncs: Sequence[SyncStatus], found: Sequence[Problem]) -> tuple[int, int]:
    """Its place: that of its first problem, or the first place if another problem explains why it
    is not on time; then its state."""
    keys = tuple(f"sync/{sync.name}/" for sync in syncs)
    last = 0 if any(sync.state.is_bad for sync in syncs) else len(found)
    first = next((n for n, problem in enumerate(found) if problem.key.startswith(keys)), last)
    return first, min(WORST.index(sync.state) for sync in syncs)


def _row(
    sync: SyncStatus,
    now: datetime,
    history: RunHistory,
    waiting: list[OpenRun],
    kept: SyncSchedule | None,
    *,
    may: Callable[[str], bool],
    of_others: bool,
) -> SyncRow:
    hint, command = _hint(sync, history, kept, of_others=of_others)
    why = _why(sync)
    last, ended = _last([sync], now)
    return SyncRow(
        name=sync.name,
        title=sync.title,
        url=_runs_of(sync),
        names=((sync.name, sync.title, _runs_of(sync)),),
        state=markup.badge(sync.state.label, FRESHNESS_TONES[sync.state]),
        age=_age([sync], now),
        last=last,
        ended=ended,
        took=_took(sync),
        usual=f"usually {seconds_in_words(sync.usual_seconds)}" if sync.usual_seconds else "",
        next_time=_next(sync, now),
        history=_bars(history),
        open=tuple(_open(run, sync, now) for run in waiting[:3]),
        why=str(why) if why else "",
        why_url=run_url(why.run) if why and why.run else "",
        way=_way(sync, kept) if kept and sync.targets and may("syncs.run_sync") else None,
        schedule_url=_schedule(kept) if kept and may("syncs.view_syncschedule") else "",
        hint=hint,
        hint_command=command,
    )


def _services(
    services: Sequence[SyncStatus],
    now: datetime,
    histories: dict[str, RunHistory],
    waiting: dict[str, list[OpenRun]],
    may: Callable[[str], bool],
) -> SyncRow:
    """All services in one row, which shows the worst of them."""
    worst = min(services, key=lambda sync: WORST.index(sync.state))
    why = _why(worst)
    last, ended = _last(services, now)
    bars = sorted(
        (bar for sync in services for bar in histories[sync.name].bars), key=lambda bar: bar.run
    )
    shown = [(bar.run, bar.state, bar.at, bar.seconds) for bar in bars[-run_history.SHOWN :]]
    state = freshness.worst(sync.state for sync in services)
    return SyncRow(
        name="services",
        title=text.counted(len(services), "service"),
        url=_connections() if may("integrations.view_connection") else "",
        names=tuple((sync.name, sync.title, _runs_of(sync)) for sync in services),
        state=markup.badge(state.label, FRESHNESS_TONES[state]),
        age=_age(services, now),
        last=last,
        ended=ended,
        took="",
        usual="",
        next_time=markup.quiet("by\u00a0connection"),
        history=_bars(run_history.build_history(shown)),
        open=tuple(
            _open(run, sync, now) for sync in services for run in waiting.get(sync.name, [])
        )[:3],
        why=f"{worst.title}: {why}" if why else "",
        why_url=run_url(why.run) if why and why.run else "",
    )


def _connections() -> str:
    return reverse("admin:integrations_connection_changelist")


def _schedule(kept: SyncSchedule) -> str:
    return reverse("admin:syncs_syncschedule_change", args=[kept.pk])


def _runs_of(sync: SyncStatus) -> str:
    return reverse("admin:syncs_syncrun_changelist", query={"sync": sync.name})


def _why(sync: SyncStatus) -> Reason | None:
    """Its reason, unless the row says it already: its age, the next run, or what to do first."""
    if sync.reason is None or not sync.targets:
        return None
    said = sync.reason.cause in (Cause.PAUSED, Cause.NEVER_CONFIRMED)
    return None if said else sync.reason


def _age(syncs: Sequence[SyncStatus], now: datetime) -> SafeString:
    """The oldest confirmation of their targets: nothing that readers see is older."""
    known = [target.confirmed_at for sync in syncs for target in sync.targets]
    if not known or any(at is None for at in known):
        confirmed = sum(at is not None for at in known)
        label = f"{confirmed:,} of {len(known):,} confirmed" if confirmed else "never confirmed"
        return markup.quiet(label)
    return markup.age(min(at for at in known if at), now)


def _last(syncs: Sequence[SyncStatus], now: datetime) -> tuple[SafeString, SafeString]:
    """The newest of their runs and how it ended; and when."""
    runs = [sync.last_run for sync in syncs if sync.last_run]
    if not runs:
        return markup.quiet("never run"), SafeString("")
    run = max(runs, key=lambda run: run.pk)
    badge = markup.badge(run.state, RUN_TONES[run.state])
    link = format_html('<a class="link" href="{}">run {}</a> {}', run_url(run.pk), run.pk, badge)
    return link, markup.age(run.finished_at, now, missing="")


def _took(sync: SyncStatus) -> str:
    seconds = sync.last_run.seconds if sync.last_run else None
    return "" if seconds is None else seconds_in_words(seconds)


def _next(sync: SyncStatus, now: datetime) -> SafeString:
    if sync.next_slot is None:
        return markup.quiet("switched off" if sync.planned else "no schedule")
    at = max(sync.next_slot, now)
    when = markup.age(at, now) if at > now else format_html("{}", "due now")
    if sync.pause is None:
        return when
    until = in_viewer_zone(sync.pause.in_words(now), now)
    return format_html("{} {}, then {}", markup.badge("paused", Tone.WARNING), until, when)


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


def _bars(history: RunHistory) -> HistoryBars | None:
    if not history.bars:
        return None
    counts = ", ".join(f"{count} {state.value}" for state, count in history.counts)
    known = [bar.seconds for bar in history.bars if bar.seconds is not None]
    ends = [seconds_in_words(end) for end in (min(known), max(known))] if known else []
    return HistoryBars(
        tuple(_bar(bar) for bar in history.bars),
        f"{text.counted(len(history.bars), 'run')}: {counts}",
        "min {}, max {}".format(*ends) if ends else "",
    )


def _bar(bar: RunBar) -> ShownBar:
    took = f" in {seconds_in_words(bar.seconds)}" if bar.seconds is not None else ""
    when = f", {markup.exact(bar.at)}" if bar.at else ""
    label = f"run {bar.run} {bar.state.value}{took}{when}"
    return ShownBar(label, RUN_TONES[bar.state].value, bar.height)


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
