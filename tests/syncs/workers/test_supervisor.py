from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import OperationalError
from django.db.models.functions import Now
from django_q.models import OrmQ
from django_q.signing import SignedPackage
from pytest_django import Settings

from common.clock import database_now
from localfleet.processes import process_table
from syncs import tasks
from syncs.models import Heartbeat, Lease, RunState, SyncRun, Trigger, WorkerEvent
from syncs.status.queries import worker_state
from syncs.workers import cluster, heartbeat, supervisor
from syncs.workers.cluster import Cluster
from syncs.workers.supervisor import Supervisor, Watched
from tests.children import until

pytestmark = pytest.mark.django_db
HOST = socket.gethostname()
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
ORPHANS = ["bash", "-c", "sleep 60 & sleep 60 & exit 3"]
STUBBORN = ["bash", "-c", "trap '' TERM; echo; while true; do sleep 1; done"]


@pytest.fixture
def start() -> Iterator[Callable[[list[str]], Cluster]]:
    started: list[Cluster] = []

    def begin(command: list[str]) -> Cluster:
        started.append(Cluster(command))
        return started[-1]

    yield begin
    for left in started:
        left.kill()


def test_it_ends_with_its_main_process(start: Callable[[list[str]], Cluster]) -> None:
    sleeping = start(SLEEP)
    assert sleeping.main_lives
    assert sleeping.pids() == {sleeping.session}
    sleeping.stop()
    assert not sleeping.main_lives


def test_orphans_are_found_and_killed(start: Callable[[list[str]], Cluster]) -> None:
    orphans = start(ORPHANS)
    until(lambda: not orphans.main_lives)
    assert len(orphans.pids()) == 2
    orphans.kill()
    assert not orphans.pids()


def test_what_does_not_stop_is_killed_in_time(
    start: Callable[[list[str]], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "MAIN_ASKED", 0.1)
    monkeypatch.setattr(cluster, "WORKERS_ASKED", 0.3)
    stubborn = start(STUBBORN)
    until(lambda: len(stubborn.pids()) > 1)
    began = time.monotonic()
    stubborn.stop()
    assert time.monotonic() - began < 2
    assert not stubborn.pids()


def test_a_lost_process_is_noticed_once(start: Callable[[list[str]], Cluster]) -> None:
    brief = start(["bash", "-c", "sleep 0.3 & sleep 60"])
    until(lambda: len(brief.pids()) == 3 or len(brief.pids()) == 2)
    assert not brief.has_lost_one()
    until(brief.has_lost_one)
    assert not brief.has_lost_one()


def test_the_name_of_a_foreign_process_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder, stat in (
        ("7", b"7 (\xd0\xff\xfe) S 1 7 5 0"),
        ("8", b""),
        ("9", b"9 (a) b) S 7 9 5 0"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "stat").write_bytes(stat)
    monkeypatch.setattr(cluster, "PROC", tmp_path)
    monkeypatch.setattr(process_table, "PROC", tmp_path)
    assert sorted(cluster._processes()) == [(7, 5, 1), (9, 5, 7)]
    assert process_table.children(7) == [9]
    assert process_table.program(9) == "a) b"
    assert process_table.program(7)
    assert process_table.program(8) is None


def test_a_main_process_that_ended_is_a_problem(start: Callable[[list[str]], Cluster]) -> None:
    watched = Watched(start(["true"]))
    until(lambda: not watched.cluster.main_lives)
    assert watched.check() == "the workers' main process ended"


def test_a_missing_heartbeat_is_a_problem_until_the_next_one(
    start: Callable[[list[str]], Cluster], settings: Settings
) -> None:
    settings.RAINBO_HEARTBEAT_TIMEOUT = 0
    watched = Watched(start(SLEEP))
    Heartbeat.objects.create(worker=f"{watched.cluster.place}:{watched.cluster.session}", at=Now())
    assert watched.check() == ""
    assert "no heartbeat from the workers" in watched.check()
    Heartbeat.objects.update(at=Now() + timedelta(seconds=1))
    assert watched.check() == ""


def test_the_beat_of_another_cluster_is_no_sign(
    start: Callable[[list[str]], Cluster], settings: Settings
) -> None:
    settings.RAINBO_HEARTBEAT_TIMEOUT = 0
    watched = Watched(start(SLEEP))
    pid, where = watched.cluster.session, watched.cluster.place
    for other in (
        f"{where}:{os.getpid()}",
        f"elsewhere:{pid}",
        f"{HOST}:{pid}",
        f"{HOST}/1f:{pid}",
    ):
        Heartbeat.objects.create(worker=other, at=Now())
    assert watched.check()


def test_each_cluster_calls_itself_by_a_name_of_its_own(
    start: Callable[[list[str]], Cluster], tmp_path: Path
) -> None:
    said = [tmp_path / "first", tmp_path / "second"]
    found = [start(["bash", "-c", f'echo "{HOST}/$RAINBO_CLUSTER" > {path}']) for path in said]
    until(lambda: all(path.exists() and path.read_text() for path in said))
    assert [path.read_text().strip() for path in said] == [one.place for one in found]
    assert found[0].place != found[1].place


def test_a_renewed_lease_is_a_sign(
    start: Callable[[list[str]], Cluster], settings: Settings
) -> None:
    settings.RAINBO_HEARTBEAT_TIMEOUT = 0
    watched = Watched(start(SLEEP))
    record = SyncRun.objects.create(
        sync="probe",
        state=RunState.RUNNING,
        trigger=Trigger.SCHEDULE,
        host=watched.cluster.place,
        pid=watched.cluster.session,
    )
    Lease.objects.create(sync="probe", run=record, renewed_at=Now())
    assert watched.check() == ""
    assert watched.check()


def test_no_cluster_is_judged_while_the_database_is_away(
    start: Callable[[list[str]], Cluster], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.RAINBO_HEARTBEAT_TIMEOUT = 0
    watched = Watched(start(SLEEP))

    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(heartbeat, "latest", away)
    monkeypatch.setattr(supervisor, "connection", type("Closed", (), {"close": lambda: None}))
    assert watched.check() == ""


def test_beats_go_out_at_their_pace(
    start: Callable[[list[str]], Cluster], settings: Settings
) -> None:
    watched = Watched(start(SLEEP))
    watched.check()
    watched.check()
    task = SignedPackage.loads(OrmQ.objects.get().payload)
    assert task["func"] == tasks.ANSWER_HEARTBEAT
    assert task["args"][:2] == (watched.cluster.place, watched.cluster.session)
    settings.RAINBO_HEARTBEAT_INTERVAL = 0
    watched.check()
    assert OrmQ.objects.count() == 2


def soon() -> str:
    return (database_now() + timedelta(minutes=1)).isoformat()


def test_a_beat_that_came_back_goes_no_further() -> None:
    tasks.answer_heartbeat(HOST, os.getsid(0), soon())
    assert worker_state().last_heartbeat
    assert not OrmQ.objects.exists()


def test_a_beat_of_another_cluster_is_handed_on_for_a_while() -> None:
    tasks.answer_heartbeat(HOST, 1, soon())
    assert OrmQ.objects.count() == 1
    tasks.answer_heartbeat(HOST, 1, (database_now() - timedelta(seconds=1)).isoformat())
    assert OrmQ.objects.count() == 1


def test_what_was_fetched_is_given_out_anew() -> None:
    OrmQ.objects.create(key="rainbo", payload="x", lock=Now() + timedelta(minutes=35))
    waiting = OrmQ.objects.create(key="rainbo", payload="x", lock=Now() - timedelta(minutes=1))
    assert heartbeat.requeue_fetched() == 1
    assert not OrmQ.objects.filter(lock__gt=Now()).exists()
    lock = waiting.lock
    waiting.refresh_from_db()
    assert waiting.lock < database_now() - timedelta(seconds=59), lock


def test_a_cluster_that_ends_is_started_anew_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "CHECK_INTERVAL", 0.05)
    work = Supervisor(["true"])
    monkeypatch.setattr(work, "_wait", lambda _: setattr(work, "stopping", True))
    work.run()
    event = WorkerEvent.objects.get()
    assert event.host == HOST
    assert event.message.startswith("the workers' main process ended: ")
    assert event.message in caplog.text


def test_one_that_starts_slowly_gets_more_time_until_one_has_worked(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    """Killed again and again while it starts, it would never come to work on a busy machine."""
    settings.RAINBO_HEARTBEAT_TIMEOUT = 10
    monkeypatch.setattr(supervisor, "CHECK_INTERVAL", 0)
    lived: list[int] = []

    def watch(watched: Watched) -> str:
        if len(lived) == 4:  # the fifth one works
            place, pid = watched.cluster.place, watched.cluster.session
            Heartbeat.objects.create(worker=f"{place}:{pid}", at=Now())
            assert watched.check() == ""
        for lasted in range(5, 100, 10):
            watched._last_heartbeat = time.monotonic() - lasted
            if why := watched.check():
                lived.append(lasted)
                return why
        raise AssertionError("it was given all the time of the world")

    work = Supervisor(SLEEP)
    monkeypatch.setattr(work, "_watch", watch)
    monkeypatch.setattr(work, "_wait", lambda _: setattr(work, "stopping", len(lived) == 6))
    work.run()
    assert lived == [15, 25, 45, 45, 15, 15]


def test_a_stop_waits_for_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As psycopg waits: what a signal's handler raises ends it."""
    work = Supervisor(SLEEP)
    monkeypatch.setattr(heartbeat, "latest", lambda *_: time.sleep(60))
    before = signal.signal(signal.SIGALRM, work.stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        began = time.monotonic()
        work.run()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < 5
    assert work.stopping


def test_a_cluster_that_cannot_live_is_not_started_in_a_rush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []
    work = Supervisor(["true"])
    work.stopping = True
    for age in (1.0, 1.0, 1.0, 100.0, 1.0):
        work._wait(age)
        pauses.append(work._pause)
    assert pauses == [1.0, 2.0, 4.0, 0.0, 1.0]
