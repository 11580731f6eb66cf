from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from common.errors import RainboError, UsageError
from syncs.engine import lease, runs
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.models import Lease, RunState, SyncRun, TargetState, Trigger
from tests.syncs.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)
SLOT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def request(**options: object) -> SyncRun:
    return runs.request("probe", Options(**options), Trigger.COMMAND, "ops")  # type: ignore[arg-type]


def settling(*states: TargetState) -> Callable[[Run], None]:
    def function(run: Run) -> None:
        run.expect(Target(str(n), f"instance {n}") for n in range(len(states)))
        for number, state in enumerate(states):
            run.record_outcome(str(number), state)

    return function


def raising(error: BaseException) -> Callable[[Run], None]:
    def function(run: Run) -> None:
        run.expect([Target("1", "instance 1")])
        raise error

    return function


def test_a_request_waits_as_queued(make_sync: Make) -> None:
    make_sync(settling())
    record = request(targets=("2",), force=True)
    assert (record.state, record.actor) == (RunState.QUEUED, "ops")
    assert record.options == {"targets": ("2",), "force": True}
    record.refresh_from_db()
    assert Options.from_json(record.options) == Options(targets=("2",), force=True)


def test_an_unknown_sync_is_refused() -> None:
    with pytest.raises(UsageError, match="no sync is named 'nothing'"):
        runs.request("nothing", Options(), Trigger.COMMAND)


def test_a_slot_has_one_run(make_sync: Make) -> None:
    make_sync(settling())
    first, second = (
        runs.request("probe", Options(), Trigger.SCHEDULE, slot=SLOT) for _ in range(2)
    )
    assert first == second


def test_a_run_is_executed_once(make_sync: Make) -> None:
    calls: list[int] = []
    make_sync(lambda run: calls.append(run.record.pk))
    record = request()
    again = SyncRun.objects.get(pk=record.pk)
    runs.execute(record)
    runs.execute(record)
    token = Lease.objects.get().token
    assert runs.execute(again).state == RunState.SUCCEEDED
    assert calls == [record.pk]
    assert Lease.objects.get().token == token, "it took the lease for nothing"


@pytest.mark.parametrize(
    ("states", "final"),
    [
        ((), RunState.SUCCEEDED),
        ((TargetState.SUCCEEDED, TargetState.SKIPPED), RunState.SUCCEEDED),
        ((TargetState.SUCCEEDED, TargetState.FAILED), RunState.PARTIAL),
        ((TargetState.SUCCEEDED, TargetState.HELD), RunState.PARTIAL),
        ((TargetState.HELD, TargetState.FAILED), RunState.HELD),
        ((TargetState.HELD, TargetState.WAITING), RunState.HELD),
        ((TargetState.HELD, TargetState.FAILED, TargetState.SUCCEEDED), RunState.PARTIAL),
        ((TargetState.HELD, TargetState.HELD), RunState.HELD),
        ((TargetState.FAILED, TargetState.SKIPPED), RunState.FAILED),
        ((TargetState.WAITING,), RunState.FAILED),
        ((TargetState.FAILED, TargetState.WAITING), RunState.FAILED),
    ],
)
def test_the_targets_make_the_verdict(
    make_sync: Make, states: tuple[TargetState, ...], final: RunState
) -> None:
    make_sync(settling(*states))
    assert runs.execute(request()).state == final


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RainboError("rds2 is on fire"), "rds2 is on fire"),
        (ValueError("password=hunter2"), "unexpected ValueError; the log of the server"),
        (SystemExit(1), "stopped by SystemExit"),
        (KeyboardInterrupt(), "stopped by KeyboardInterrupt"),
    ],
)
def test_a_run_closes_whatever_happens(make_sync: Make, error: BaseException, words: str) -> None:
    make_sync(raising(error))
    record = request()
    if isinstance(error, Exception):
        runs.execute(record)
    else:
        with pytest.raises(type(error)):
            runs.execute(record)
    record.refresh_from_db()
    assert record.state == RunState.FAILED
    assert words in record.error
    assert "hunter2" not in record.error
    assert record.finished_at
    assert Lease.objects.get().expires_at is None


def test_a_request_that_meets_a_run_is_skipped_and_names_it(make_sync: Make) -> None:
    make_sync(settling())
    holder = request()
    lease.claim(holder)
    record = runs.execute(request())
    assert (record.state, record.met) == (RunState.SKIPPED, holder)
    assert record.error == f"run {holder.pk} is running already"


def test_a_run_delivered_twice_at_once_is_not_skipped_by_itself(make_sync: Make) -> None:
    make_sync(settling())
    record = request()
    lease.claim(record)
    assert runs.execute(SyncRun.objects.get(pk=record.pk)).state == RunState.QUEUED


def test_a_run_whose_lease_was_taken_stays_lost(make_sync: Make) -> None:
    def lose(run: Run) -> None:
        Lease.objects.update(expires_at=None)
        lease.claim(request())
        with run.publishing() as session:
            session.execute("DELETE FROM auth_user")

    make_sync(lose)
    record = runs.execute(request())
    assert record.state == RunState.LOST
    assert "The lease went to another run" in record.log.get().message


def test_what_is_settled_together_takes_no_more_statements_for_more_targets(
    make_sync: Make,
) -> None:
    taken: list[int] = []

    def function(run: Run) -> None:
        targets = run.options.targets
        run.expect(Target(key, f"instance {key}") for key in targets)
        with CaptureQueriesContext(connection) as queries, run.batched():
            for key in targets:
                run.log("done", key)
                run.record_outcome(key, TargetState.SUCCEEDED, read=int(key), total=int(key))
        taken.append(len(queries))

    make_sync(function)
    for targets in (("1", "2"), ("1", "2", "3", "4")):
        record = runs.execute(request(targets=targets))
        assert record.state == RunState.SUCCEEDED
        assert list(record.targets.values_list("target", "state", "read", "total")) == [
            (key, TargetState.SUCCEEDED, int(key), int(key)) for key in targets
        ]
        assert record.log.count() == len(targets)
    assert taken[0] == taken[1]


def test_what_is_settled_together_is_announced_when_it_is_committed(make_sync: Make) -> None:
    def function(run: Run) -> None:
        run.expect(Target(key, f"instance {key}") for key in ("1", "2"))
        with run.batched():
            run.record_outcome("1", TargetState.SUCCEEDED)
            run.record_outcome("2", TargetState.SUCCEEDED)

    announced: list[tuple[str, bool]] = []
    make_sync(function)
    runs.execute(
        request(), lambda part: announced.append((part.target, connection.in_atomic_block))
    )
    assert announced == [("1", False), ("2", False)]


def test_what_was_settled_together_before_an_error_is_recorded(make_sync: Make) -> None:
    def function(run: Run) -> None:
        run.expect(Target(key, f"instance {key}") for key in ("1", "2"))
        with run.batched():
            run.record_outcome("1", TargetState.FAILED, error=RainboError("broken"))
            raise RainboError("over")

    make_sync(function)
    record = runs.execute(request())
    assert (record.state, record.error) == (RunState.FAILED, "over")
    states = list(record.targets.values_list("state", flat=True))
    assert states == [TargetState.FAILED, TargetState.WAITING]
    assert record.log.get(level="error").message == "broken"


def test_a_dry_run_publishes_nothing(make_sync: Make) -> None:
    def publish(run: Run) -> None:
        with run.publishing() as session:
            run.confirm(session, "1", run.now())

    make_sync(publish)
    from syncs.models import Confirmation

    runs.execute(request(dry_run=True))
    assert not Confirmation.objects.exists()
    runs.execute(request())
    assert Confirmation.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accept_held": 12345, "reason": "x"}, "probe has no run 12345"),
        ({"failed_from": 12345}, "probe has no run 12345"),
    ],
)
def test_options_that_name_no_run_are_refused(
    make_sync: Make, options: dict[str, object], words: str
) -> None:
    make_sync(settling())
    with pytest.raises(UsageError, match=words):
        request(**options)


def test_only_a_held_run_can_be_accepted_and_with_a_reason(make_sync: Make) -> None:
    make_sync(settling(TargetState.SUCCEEDED))
    done = runs.execute(request())
    with pytest.raises(UsageError, match="needs a reason"):
        request(accept_held=done.pk)
    with pytest.raises(UsageError, match=f"run {done.pk} holds nothing"):
        request(accept_held=done.pk, reason="fine")


def test_an_open_run_can_not_be_repeated(make_sync: Make) -> None:
    make_sync(settling())
    with pytest.raises(UsageError, match="has not ended yet"):
        request(failed_from=request().pk)
