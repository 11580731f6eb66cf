"""The health of the workers, judged by the clock of RAINBO's own database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from common import manage_command
from common.clock import from_iso
from common.joint_query import Question, Row, Statement, answer
from common.text import format_duration
from syncs.engine import lease
from syncs.schedules import store

_FACTS = f"""
    SELECT clock_timestamp() AS read_at,
           (SELECT max(at) FROM syncs_heartbeat
             WHERE worker ~ ':[0-9]+$' AND at <= clock_timestamp()) AS heartbeat,
           (SELECT max(at) FROM syncs_heartbeat
             WHERE worker ~ ':schedule_run$' AND at <= clock_timestamp()) AS schedule_run,
           (SELECT min(since) FROM (
                SELECT greatest(lock, rainbo_since) FROM django_q_ormq
                 WHERE lock <= clock_timestamp()
                 UNION ALL
                SELECT greatest(created_at, not_before) FROM syncs_syncrun
                 WHERE state = 'queued' AND trigger <> 'command'
                   AND greatest(created_at, not_before) <= clock_timestamp()
            ) AS waiting (since)) AS waiting_since,
           (SELECT min(next_run) FROM django_q_schedule
             WHERE func = %(function)s AND repeats <> 0 AND next_run <= clock_timestamp())
             AS due_since,
           (SELECT run.id
              FROM syncs_lease AS lease JOIN syncs_syncrun AS run ON run.id = lease.run_id
             WHERE {lease.LIVE}
               AND run.state = 'running' AND run.trigger <> 'command'
               AND EXISTS (SELECT 1 FROM syncs_heartbeat
                            WHERE worker = run.host || ':' || run.pid)
             ORDER BY run.started_at LIMIT 1) AS busy_with,
           (SELECT coalesce(json_object_agg(sync, runs), '{{}}')
              FROM (SELECT sync, count(*) AS runs FROM syncs_syncrun
                     WHERE state = 'queued' GROUP BY sync) AS waiting)
             AS queued"""  # noqa: S608 (a constant)


@dataclass(frozen=True)
class WorkerState:
    """What is known of the workers.

    heartbeat: the last one of a worker. waiting_since: when the oldest queued item was due.
    busy_with: a run that a worker is executing and whose lease it renews; no heartbeat is
    expected meanwhile. A run of `schedule_run` does not count. problem: the problem as text; empty
    if there is none. by_crontab: `schedule_run` does the work; no worker heartbeat for a day.
    queued: runs of each sync that wait for a worker or for their time. schedule_run: its last
    heartbeat. unresponsive: no worker is busy, and neither a worker nor `schedule_run` has reported
    for RAINBO_HEARTBEAT_TIMEOUT; there is a problem then.
    """

    heartbeat: datetime | None
    waiting_since: datetime | None
    busy_with: int | None
    problem: str
    by_crontab: bool = False
    queued: Mapping[str, int] = field(default_factory=dict)
    schedule_run: datetime | None = None
    unresponsive: bool = False

    @property
    def last_heartbeat(self) -> datetime | None:
        """Of a worker or of `schedule_run`."""
        return max(filter(None, (self.heartbeat, self.schedule_run)), default=None)

    @property
    def takes_runs(self) -> bool:
        """Whether a run that is requested now will be taken, as far as is known."""
        return not self.unresponsive and (self.by_crontab or not self.problem)

    @property
    def outlook(self) -> str:
        """Who will take a run that is requested now, as a sentence without its stop."""
        if self.unresponsive:
            at = self.last_heartbeat
            seen = f"none has reported since {at:%Y-%m-%d %H:%M:%S} UTC" if at else "none ever was"
            start = manage_command.line("schedule_work")
            return f"No worker is there to take it: {seen}. To start workers: {start}"
        if self.by_crontab:
            return "schedule_run, which a crontab starts each minute, will take it"
        if self.problem:
            return f"Workers may not take it: {self.problem}"
        return "A worker will start it"


def read(now: datetime | None = None) -> WorkerState:
    """Read the state of the workers and judge it as of `now`; default: the database's time."""
    return judge(answer({"workers": ask()})["workers"], now)


def ask() -> Question:
    """The question whose answer `judge` takes."""
    return Statement(_FACTS, {"function": store.FUNCTION})


def judge(rows: Sequence[Row], now: datetime | None = None) -> WorkerState:
    """Like `read`, of the facts that were read."""
    (facts,) = rows
    heartbeat, schedule_run = from_iso(facts["heartbeat"]), from_iso(facts["schedule_run"])
    waiting_since, due_since = from_iso(facts["waiting_since"]), from_iso(facts["due_since"])
    busy_with = facts["busy_with"]
    now = now or datetime.fromisoformat(facts["read_at"])
    problem = "" if busy_with else _heartbeat_problem(heartbeat, now)
    if not busy_with:
        problem = problem or _queue_problem(waiting_since, now)
    problem = problem or _schedule_problem(due_since, now)
    by_crontab = not _is_past(schedule_run, now) and (
        heartbeat is None or now - heartbeat > timedelta(days=1)
    )
    unresponsive = not busy_with and _is_past(heartbeat, now) and _is_past(schedule_run, now)
    return WorkerState(
        *(heartbeat, waiting_since, busy_with, problem, by_crontab, facts["queued"]),
        *(schedule_run, unresponsive),
    )


def _heartbeat_problem(heartbeat: datetime | None, now: datetime) -> str:
    if heartbeat is None:
        return "no worker has ever reported: start manage.py schedule_work"
    if _is_past(heartbeat, now):
        return f"no worker has reported since {heartbeat:%Y-%m-%d %H:%M:%S} UTC"
    return ""


def _is_past(heartbeat: datetime | None, now: datetime) -> bool:
    return heartbeat is None or now - heartbeat > timedelta(
        seconds=settings.RAINBO_HEARTBEAT_TIMEOUT
    )


def _queue_problem(since: datetime | None, now: datetime) -> str:
    if (waited := _too_long(since, now)) is None:
        return ""
    return (
        f"the oldest queued item has waited for {format_duration(waited)}: "
        "there are too few workers, or they hang"
    )


def _schedule_problem(since: datetime | None, now: datetime) -> str:
    if (waited := _too_long(since, now)) is None:
        return ""
    return (
        f"a schedule has been due for {format_duration(waited)} and does not fire: "
        "a session in RAINBO's own database may hold its row"
    )


def _too_long(since: datetime | None, now: datetime) -> timedelta | None:
    waited = None if since is None else now - since
    max_wait = timedelta(seconds=settings.RAINBO_QUEUE_MAX_WAIT)
    return waited if waited is not None and waited > max_wait else None
