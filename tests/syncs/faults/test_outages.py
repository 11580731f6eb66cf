"""The own database restarts, workers sleep, the server was off, the key of the queue changes."""

from __future__ import annotations

import os
import secrets
import signal
import time

import pytest

from localfleet.processes import process_table
from tests.syncs.faults.names import BUSY, DAILY
from tests.syncs.faults.stage import Stage, until
from tests.syncs.faults.test_kills import IN_TIME, busy_worker, complete, settle, works


@pytest.mark.soak
def test_the_own_database_restarts_under_a_running_cluster(stage: Stage) -> None:
    works(stage)
    complete(stage, IN_TIME)
    stage.server.restart()
    complete(stage, IN_TIME)
    settle(stage)


@pytest.mark.soak
def test_a_worker_that_sleeps_for_ten_minutes_publishes_nothing_late(stage: Stage) -> None:
    work = works(stage)
    worker = busy_worker(stage, work)
    os.kill(worker, signal.SIGSTOP)
    again = stage.make_slots(BUSY)
    complete(stage, IN_TIME)
    until(lambda: stage.outcome(BUSY, again) in ("succeeded", "skipped"), 600 / 30)
    os.kill(worker, signal.SIGCONT)
    settle(stage)


@pytest.mark.soak
def test_all_workers_asleep_for_ten_minutes_are_started_anew(stage: Stage) -> None:
    work = works(stage)
    asleep = work.role("worker")
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    complete(stage, 2 * IN_TIME)  # noticed, ended and started again, on a machine with other work
    assert stage.query("SELECT count(*) > 0 FROM syncs_workerevent") == [(True,)]
    assert not set(asleep) & set(work.role("worker"))
    settle(stage)


def test_a_new_secret_key_drops_tasks_but_no_slot(stage: Stage) -> None:
    first = stage.start("qcluster")
    until(lambda: first.role("pusher"))
    os.kill(first.role("pusher")[0], signal.SIGSTOP)
    stage.query("UPDATE syncs_syncschedule SET planned_since = now() - interval '1 month'")
    slot = stage.make_slot_at("date_trunc('day', clock_timestamp(), 'UTC')", DAILY)
    until(lambda: stage.query("SELECT 1 FROM django_q_ormq"))
    first.end()
    stage.env["RAINBO_SECRET_KEY"] = secrets.token_urlsafe(48)
    second = works(stage)
    until(lambda: "Failed to push task" in second.text())
    until(lambda: stage.outcome(DAILY, slot) == "succeeded", IN_TIME)
    settle(stage)


@pytest.mark.soak
@pytest.mark.parametrize("hours", ["-1", "1"])
def test_one_server_alone_whose_clock_is_wrong_runs_what_is_due(stage: Stage, hours: str) -> None:
    stage.start("schedule_work", FAULTS_CLOCK=hours)
    until(lambda: stage.query("SELECT 1 FROM syncs_heartbeat"))
    complete(stage, IN_TIME)
    assert stage.run("worker_health").returncode == 0


@pytest.mark.soak
def test_a_session_that_sleeps_with_a_schedule_locked_stops_no_sync(stage: Stage) -> None:
    work = works(stage)
    stage.make_slots("probe_b")
    with stage.server.connect(stage.name) as idle, idle.transaction():
        idle.execute("SELECT 1 FROM django_q_schedule WHERE name = 'probe_b' FOR UPDATE")
        complete(stage, IN_TIME)
        until(lambda: "due to lock timeout" in work.text())
        until(lambda: "does not fire" in stage.run("worker_health").stderr)
    settle(stage)


def test_a_stop_closes_the_run_under_way_within_ten_seconds(stage: Stage) -> None:
    stage.env["FAULTS_BUSY"] = "60"
    work = works(stage)
    busy_worker(stage, work)
    left = work.all()
    work.ask_to_stop()
    assert work.wait(10) == 0
    assert not [pid for pid in left if process_table.program(pid)]
    (state, error) = stage.query("SELECT state, error FROM syncs_syncrun WHERE attempt = 1")[0]
    assert state == "failed"
    assert "the process was asked to end" in error


@pytest.mark.soak
def test_a_stop_takes_ten_seconds_also_while_the_own_database_hangs(stage: Stage) -> None:
    work = works(stage)
    left = work.all()
    sessions = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    hanging = [pid for (pid,) in stage.query(sessions, stage.name)]
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(2)  # until its next look hangs
        work.ask_to_stop()
        assert work.wait(10.5) == 0
    finally:
        for pid in hanging:
            os.kill(pid, signal.SIGCONT)
    assert not [pid for pid in left if process_table.program(pid)]


def test_a_killed_supervisor_leaves_no_process(stage: Stage) -> None:
    work = works(stage)
    left = work.all()
    assert len(left) > 4
    os.kill(work.pid, signal.SIGKILL)
    until(lambda: not [pid for pid in left if process_table.program(pid)], 10)
