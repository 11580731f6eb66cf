from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import chain, repeat
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F
from django.utils import timezone

from syncs import hooks
from syncs.engine import pruning
from syncs.engine.pruning import PruningBusy
from syncs.models import (
    Heartbeat,
    HeldChange,
    Periodic,
    RunLog,
    RunState,
    SyncRun,
    TargetState,
    Trigger,
    WorkerEvent,
)
from tenants.models import RdsInstance
from tests.rows import confirmation, ended_run, instance_row, run_part

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def prune(capsys: pytest.CaptureFixture[str], days: int = 30) -> str:
    call_command("prune_runs", "--older-than", str(days))
    return capsys.readouterr().out


def left() -> set[int]:
    return set(SyncRun.objects.values_list("pk", flat=True))


@pytest.fixture(autouse=True)
def master() -> None:
    instance_row(1, is_master=True)


def old(**fields: Any) -> SyncRun:
    return ended_run(ago=40 * DAY, **fields)


def held(**fields: Any) -> SyncRun:
    run = old(state=RunState.HELD, **fields)
    run_part(run, state=TargetState.HELD)
    HeldChange.objects.create(run=run, target="1", kind="removed", source_id="7")
    return run


def test_old_runs_go_with_all_that_is_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    run = old(state=RunState.FAILED)
    run_part(run, state=TargetState.FAILED)
    RunLog.objects.create(run=run, message="words")
    young = ended_run(ago=29 * DAY)
    out = prune(capsys)
    assert out.startswith("Deleted records older than 30 days: runs 1, heartbeats 0")
    assert left() == {young.pk}
    assert not RunLog.objects.exists()


def test_open_runs_stay(capsys: pytest.CaptureFixture[str]) -> None:
    queued = SyncRun.objects.create(sync="user_routing", trigger=Trigger.API)
    running = old(state=RunState.RUNNING)
    SyncRun.objects.update(created_at=timezone.now() - 40 * DAY)
    prune(capsys)
    assert left() == {queued.pk, running.pk}


def test_held_runs_that_wait_for_a_person_stay(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = held()
    prune(capsys)
    assert left() == {waiting.pk}


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_master": False}])
def test_held_runs_of_an_instance_that_takes_no_part_go(
    capsys: pytest.CaptureFixture[str], change: dict[str, bool]
) -> None:
    held()
    RdsInstance.objects.update(**change)
    prune(capsys)
    assert not left()


def test_held_runs_that_someone_dealt_with_go(capsys: pytest.CaptureFixture[str]) -> None:
    held(accepted_by=old())
    held(superseded_by=old())
    held(discarded_at=timezone.now())
    assert ": runs 5," in prune(capsys)
    assert not HeldChange.objects.exists()


def test_of_a_decided_run_that_stays_the_changes_go(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever decided, and about how many changes, can still be read."""
    waiting, decided = held(), held(discarded_at=timezone.now(), discarded_by="ann")
    confirmation(run=decided)
    prune(capsys)
    assert left() == {waiting.pk, decided.pk}
    assert list(HeldChange.objects.values_list("run", flat=True)) == [waiting.pk]


def test_the_run_that_accepted_one_that_stays_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """Else the held run would wait for a person again."""
    acceptor = old()
    accepted = held(accepted_by=acceptor)
    confirmation(run=accepted)
    prune(capsys)
    assert left() == {accepted.pk, acceptor.pk}


def test_a_run_that_a_confirmation_names_stays(capsys: pytest.CaptureFixture[str]) -> None:
    run = old()
    confirmation(run=run)
    prune(capsys)
    assert left() == {run.pk}


def test_what_the_guard_compares_with_stays(capsys: pytest.CaptureFixture[str]) -> None:
    forgotten, before_a_day = old(), old()
    recent = ended_run(ago=DAY / 2)
    for run in (forgotten, before_a_day, recent):
        run_part(run, total=100)
    prune(capsys)
    assert left() == {before_a_day.pk, recent.pk}


def test_the_newest_planned_time_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """Else it would be made up for."""
    times = [timezone.now() - 42 * DAY, timezone.now() - 41 * DAY]
    _, newest, other = (
        old(slot=slot, sync=sync)
        for slot, sync in [(times[0], "probe"), (times[1], "probe"), (times[0], "other")]
    )
    prune(capsys)
    assert left() == {newest.pk, other.pk}


def test_many_are_deleted_in_batches(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    for _ in range(5):
        old()
    assert ": runs 5," in prune(capsys)


def test_old_heartbeats_go(capsys: pytest.CaptureFixture[str]) -> None:
    Heartbeat.objects.create(worker="old:1", at=timezone.now() - 40 * DAY)
    Heartbeat.objects.create(worker="new:1", at=timezone.now())
    assert "heartbeats 1" in prune(capsys)
    assert Heartbeat.objects.get().worker == "new:1"


def test_a_sync_s_target_is_compared_with_its_own_parts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, others = old(), ended_run(ago=2 * DAY, sync="tenant_summaries")
    for run in (ours, others):
        run_part(run, total=100)
    prune(capsys)
    assert ours.pk in left()


def test_parts_without_totals_or_success_are_not_compared_with(
    capsys: pytest.CaptureFixture[str],
) -> None:
    compared = old()
    run_part(compared, total=100)
    run_part(old(), total=None)
    run_part(ended_run(ago=2 * DAY), state=TargetState.FAILED, total=100)
    prune(capsys)
    assert compared.pk in left()
    assert SyncRun.objects.count() == 2


def test_kept_runs_do_not_stop_what_comes_after_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    kept = [held() for _ in range(3)]
    old()
    assert ": runs 1," in prune(capsys)
    assert left() == {run.pk for run in kept}


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """One turn of what is called periodically."""
    known = f"{pruning.__name__}.prune_by_itself"
    monkeypatch.setattr(hooks, "_periodic", {known: hooks._periodic[known]})
    return hooks.run_periodic


def test_old_runs_go_by_themselves_once_a_day(turn: Callable[[], None], settings: Any) -> None:
    settings.RAINBO_RUN_RETENTION_DAYS = 30
    old()
    young = ended_run(ago=29 * DAY)
    turn()
    assert left() == {young.pk}
    again = old()
    turn()
    assert left() == {young.pk, again.pk}
    Periodic.objects.update(claimed_at=F("claimed_at") - DAY)
    turn()
    assert left() == {young.pk}


def test_what_takes_longer_goes_on_at_the_next_turn(
    turn: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "AT_A_TIME", -1)
    ended_run(ago=100 * DAY)
    turn()
    assert len(left()) == 1
    monkeypatch.setattr(pruning, "AT_A_TIME", 10)
    turn()
    assert not left()


def test_no_batch_begins_after_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    for _ in range(5):
        old()
    clock = chain([0, 1], repeat(11))
    monkeypatch.setattr(pruning, "time", Mock(monotonic=lambda: next(clock)))
    runs, *others = pruning.prune(timezone.now(), 30, seconds=10)
    assert (runs.count, runs.complete, len(left())) == (2, False, 3)
    assert {other.complete for other in others} == {False}


def test_one_prunes_at_a_time(turn: Callable[[], None], settings: Any) -> None:
    settings.RAINBO_RUN_RETENTION_DAYS = 30
    gone = old()
    with pruning._alone():
        with pytest.raises(PruningBusy, match="already"):
            call_command("prune_runs", "--older-than", "30")
        turn()
        assert left() == {gone.pk}
    turn()  # and not a day later
    assert not left()


def test_rows_that_another_deleted_first_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [old(), old()]

    def delete_first(*_: object, **__: object) -> set[int]:
        SyncRun.objects.filter(pk=others[0].pk).delete()
        return set()

    monkeypatch.setattr(pruning, "_ids", delete_first)
    runs, *_ = pruning.prune(timezone.now(), 30)
    assert (runs.count, left()) == (1, set())


def test_what_is_recorded_is_what_is_deleted() -> None:
    """Both or neither, whatever fails."""
    kept = old()

    def fail(_: object) -> None:
        raise RuntimeError("no record")

    with pytest.raises(RuntimeError):
        pruning.prune(timezone.now(), 30, record=fail)
    assert left() == {kept.pk}


def test_without_a_retention_all_stays(turn: Callable[[], None], settings: Any) -> None:
    settings.RAINBO_RUN_RETENTION_DAYS = 0
    kept = ended_run(ago=4_000 * DAY)
    turn()
    assert left() == {kept.pk}


@pytest.mark.parametrize("days", ["0", "-1", "x", "1.5", "99999"])
def test_what_is_no_number_of_days_is_refused(days: str) -> None:
    with pytest.raises(CommandError, match="not a number of days"):
        call_command("prune_runs", f"--older-than={days}")


def test_days_must_be_given() -> None:
    with pytest.raises(CommandError, match="--older-than"):
        call_command("prune_runs")


def test_old_worker_events_go(capsys: pytest.CaptureFixture[str]) -> None:
    WorkerEvent.objects.create(host="one", message="was restarted", at=timezone.now() - 40 * DAY)
    WorkerEvent.objects.create(host="one", message="was restarted again")
    assert "worker events 1" in prune(capsys)
    assert WorkerEvent.objects.get().message == "was restarted again"
