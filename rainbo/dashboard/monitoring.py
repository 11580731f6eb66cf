"""The page *Monitoring*: how the syncs did over an hour, a day, a week."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from common import clock, markup
from common.errors import UsageError
from common.markup import Tone
from common.text import in_viewer_zone, sentence, share
from rainbo.dashboard import sync_charts
from rainbo.dashboard.sync_charts import SyncChart
from rainbo.dashboard.views import url_of
from syncs.admin.badges import RUN_TONES, run_link
from syncs.engine import registry
from syncs.models import RunState
from syncs.status import problems, statistics
from syncs.status.problems import Problem, Severity
from syncs.status.statistics import Execution, Statistics, Window

SEE = ("syncs.view_syncrun", "syncs.change_syncrun")
WINDOWS = ((1, "1 hour"), (6, "6 hours"), (24, "24 hours"), (72, "3 days"), (168, "7 days"))
USUAL = 24
NAMED = 10  # problems
LISTED = 20  # executions, of at most half of it of one sync


@dataclass(frozen=True)
class ShownProblem:
    badge: SafeString
    text: str
    url: str


@dataclass(frozen=True)
class ShownSync:
    title: str
    url: str
    executions: SafeString
    rate: SafeString
    others: tuple[tuple[SafeString, str], ...]
    average: SafeString
    p95: SafeString
    last: SafeString
    last_at: SafeString
    failures_in_a_row: str
    chart: SyncChart | None


@dataclass(frozen=True)
class ShownExecution:
    run: SafeString
    sync: str
    badge: SafeString
    at: SafeString
    took: SafeString
    trigger: str
    error: SafeString


@require_safe
def view(request: HttpRequest) -> HttpResponse:
    """Show the statistics of a window of time, and what is wrong now, in a fixed number of queries.

    hours: 1 to 168; 24 for what is no such number, which the page says.
    """
    if not any(map(request.user.has_perm, SEE)):
        raise PermissionDenied
    now = clock.database_now()
    context: dict[str, Any] = {**admin.site.each_context(request), "title": "Monitoring"}
    try:
        window = _window(request.GET.get("hours", str(USUAL)), now)
    except UsageError as error:
        window = Window.of(USUAL, now)
        context["error"] = sentence(f"{error}; these are {USUAL}")
    syncs = {sync.name: sync.title for sync in registry.all_syncs()}
    found = statistics.statistics([*syncs], window)
    courses = statistics.course([*syncs], window)
    recent = statistics.recent_executions([*syncs], window, LISTED // 2)
    wrong = problems.judge(problems.read(now, request.user.has_perm))
    context |= {
        "now": markup.exact(now),
        "hours": window.hours,
        "windows": WINDOWS,
        "problems": [_problem(problem) for problem in wrong[:NAMED]],
        "more_problems": max(0, len(wrong) - NAMED),
        "syncs": [
            _sync(syncs[name], kept, sync_charts.drawn(courses[name], window), now)
            for name, kept in found.items()
        ],
        "recent": [
            _execution(execution, syncs[execution.sync], now) for execution in _newest(recent)
        ],
        "runs_url": reverse("admin:syncs_syncrun_changelist"),
    }
    return TemplateResponse(request, "rainbo/monitoring.html", context)


def _window(hours: str, now: datetime) -> Window:
    """Raises UsageError for what is no number of hours."""
    if not (hours.isascii() and hours.isdecimal() and len(hours) < 10):
        raise UsageError(
            f"a window has {statistics.SHORTEST} to {statistics.LONGEST} hours, as a number"
        )
    return Window.of(int(hours), now)


def _problem(problem: Problem) -> ShownProblem:
    tone = Tone.BAD if problem.severity <= Severity.STALE else Tone.WARNING
    url = url_of(problem.link)
    page = reverse("admin:index") if url.startswith("#") else ""
    said = in_viewer_zone(problem.sentence, timezone.now())
    return ShownProblem(markup.badge(problem.word, tone), said, f"{page}{url}")


def _sync(title: str, kept: Statistics, chart: SyncChart | None, now: datetime) -> ShownSync:
    others = (("partial", kept.partial), ("held", kept.held), ("failed", kept.failures))
    is_streak = kept.failures_in_a_row > 1
    least = "at least " if kept.failures_in_a_row == statistics.STREAK else ""
    return ShownSync(
        title=title,
        url=f"{reverse('admin:syncs_syncrun_changelist')}?sync={kept.sync}",
        executions=markup.number(kept.executions),
        rate=_rate(kept),
        others=tuple(
            (markup.badge(state, RUN_TONES[state]), f"{count:,}")
            for state, count in others
            if count
        ),
        average=_seconds(kept.average_seconds),
        p95=_seconds(kept.p95_seconds),
        last=_last(kept),
        last_at=markup.age(kept.last_at, now, missing=""),
        failures_in_a_row=f"{least}{kept.failures_in_a_row} failures in a row" if is_streak else "",
        chart=chart,
    )


def _rate(kept: Statistics) -> SafeString:
    if not kept.executions:
        return markup.quiet("unknown")
    return markup.measured(share(kept.successes, kept.executions))


def _last(kept: Statistics) -> SafeString:
    if kept.last_run is None or kept.last_state is None:
        return markup.quiet("never")
    badge = markup.badge(kept.last_state, RUN_TONES[kept.last_state])
    return format_html("{} {}", run_link(kept.last_run), badge)


def _seconds(seconds: float | None) -> SafeString:
    if seconds is None:
        return markup.quiet("unknown")
    return markup.measured(markup.seconds_in_words(seconds))


def _newest(recent: dict[str, list[Execution]]) -> Iterable[Execution]:
    everything = [execution for of_sync in recent.values() for execution in of_sync]
    return sorted(everything, key=lambda run: (run.finished_at, run.run), reverse=True)[:LISTED]


def _execution(execution: Execution, title: str, now: datetime) -> ShownExecution:
    state = RunState(execution.state)
    return ShownExecution(
        run=run_link(execution.run),
        sync=title,
        badge=markup.badge(state, RUN_TONES[state]),
        at=markup.age(execution.finished_at, now),
        took=_seconds(execution.seconds),
        trigger=execution.trigger,
        error=markup.brief(execution.error),
    )
