from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from django.core.management import call_command

from syncs.engine import lease, lost_runs, registry, runs
from syncs.engine.options import Options
from syncs.models import RunState, RunTarget, SyncRun, Trigger
from syncs.transfer.session import open_session
from tests.caches import query
from tests.syncs.conftest import Make
from tests.syncs.plans import NOON, plan

pytestmark = pytest.mark.django_db(transaction=True)


def under_way() -> SyncRun:
    """A run of a slot whose process holds the lease."""
    record = SyncRun.objects.create(
        sync="probe", slot=NOON, trigger=Trigger.SCHEDULE, state=RunState.RUNNING
    )
    record.token = lease.claim(record)
    return record


def silent() -> SyncRun:
    record = under_way()
    query("UPDATE syncs_lease SET expires_at = clock_timestamp() - interval '1 s'")
    return record


def state_of(record: SyncRun) -> str:
    record.refresh_from_db()
    return record.state


@pytest.fixture(autouse=True)
def probe(make_sync: Make) -> None:
    make_sync(lambda run: None)
    plan()


def test_a_run_whose_lease_ran_out_is_lost_and_tried_again() -> None:
    record = silent()
    token = record.token or 0
    assert lost_runs.close_lost_runs() == [record]
    assert state_of(record) == RunState.LOST
    assert record.error.startswith("its lease ran out: its process died")
    assert SyncRun.objects.get(state=RunState.QUEUED).attempt == 2
    assert not lease.renew("probe", token), "what wakes up must not go on"


def test_a_run_without_any_lease_is_lost() -> None:
    record = under_way()
    lease.release("probe", record.token or 0)
    assert lost_runs.close_lost_runs() == [record]


def test_a_living_run_is_left_alone() -> None:
    record = under_way()
    assert lost_runs.close_lost_runs() == []
    assert state_of(record) == RunState.RUNNING


def test_one_that_renewed_its_lease_after_the_look_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lost_runs, "_DEAD", "SELECT id FROM syncs_syncrun WHERE %(sync)s IS NULL")
    record = under_way()
    token = record.token or 0
    assert lost_runs.close_lost_runs() == []
    assert state_of(record) == RunState.RUNNING
    assert lease.renew("probe", token)


def test_a_run_that_still_publishes_is_left_alone() -> None:
    record = silent()
    with open_session("test") as session, session.transaction():
        lease.fence(session, "probe", record.token or 0)
        assert lost_runs.close_lost_runs() == []
    assert lost_runs.close_lost_runs() == [record]


def test_a_run_that_was_asked_to_end_is_cancelled_and_not_retried() -> None:
    record = silent()
    query("UPDATE syncs_syncrun SET cancel_requested_at = now(), cancel_requested_by = 'ann'")
    lost_runs.close_lost_runs()
    assert state_of(record) == RunState.CANCELLED
    assert record.error.startswith("cancelled by ann")
    assert SyncRun.objects.count() == 1


def test_the_next_run_takes_over() -> None:
    record = silent()
    taker = runs.execute(runs.request("probe", Options(), Trigger.COMMAND))
    assert taker.state == RunState.SUCCEEDED
    assert state_of(record) == RunState.LOST
    assert record.error == f"its lease ran out; run {taker.pk} took over"
    assert SyncRun.objects.filter(slot=NOON, attempt=2).exists()


def test_a_run_that_the_takeover_itself_marked_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        lost_runs, "_DEAD", "SELECT 1 WHERE %(sync)s IS NULL"
    )  # it dies just after the check
    record = silent()
    runs.execute(runs.request("probe", Options(), Trigger.COMMAND))
    assert state_of(record) == RunState.LOST
    assert SyncRun.objects.filter(slot=NOON, attempt=2).exists()


def left_open(end_sessions: Callable[[str, list[str]], object]) -> SyncRun:
    """An unresponsive run that was at work on instance 2; what ends its session there."""
    registry.register(replace(registry.get("probe"), end_sessions=end_sessions))
    record = silent()
    RunTarget.objects.create(run=record, target="1", label="one", state="succeeded")
    RunTarget.objects.create(run=record, target="2", label="two")
    return record


def test_the_sessions_of_what_was_under_way_are_ended() -> None:
    called = list[tuple[str, list[str]]]()
    record = left_open(lambda *args: called.append(args))
    lost_runs.close_lost_runs()
    lost_runs.wait_for_sessions()
    assert called == [(f"probe/{record.pk}", ["2"])]


@pytest.mark.parametrize("command", ["schedule_run", "cancel_run"])
def test_a_process_that_ends_waits_until_they_are(command: str) -> None:
    ended = list[str]()

    def slowly(purpose: str, _: list[str]) -> None:
        time.sleep(0.5)
        ended.append(purpose)

    record = left_open(slowly)
    call_command(command, *(["--quiet"] if command == "schedule_run" else [str(record.pk)]))
    assert ended == [f"probe/{record.pk}"]


def test_it_does_not_wait_for_an_instance_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost_runs, "SESSIONS_TIMEOUT", 0.1)
    let_go = threading.Event()
    left_open(lambda *_: let_go.wait(20))
    lost_runs.close_lost_runs()
    began = time.monotonic()
    lost_runs.wait_for_sessions()
    assert time.monotonic() - began < 5
    let_go.set()
