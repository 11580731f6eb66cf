"""After RAINBO's database was restored to an older copy, another run may have an old one's id."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from psycopg import sql

from syncs.engine import runs
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.errors import LeaseLost
from syncs.models import (
    HeldChange,
    RunLog,
    RunState,
    RunTarget,
    SyncRun,
    TargetState,
    Trigger,
)
from tests.caches import query
from tests.syncs.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)
CHANGES = [("removed", "1", "a"), ("removed", "2", "b")]
PLANNED = sql.SQL(
    "SELECT 'removed' AS kind, '1' AS source_id, 'a' AS detail, "
    "'2' AS tenant_instance, '7' AS tenant"
)


def in_a_batch(run: Run) -> None:
    with run.batched():
        run.log("one")
        run.log("two")
        run.record_outcome("1", TargetState.SUCCEEDED)


STORING: dict[str, Callable[[Run], object]] = {
    "a log line": lambda run: run.log("stale"),
    "an outcome": lambda run: run.record_outcome("1", TargetState.SUCCEEDED),
    "a batch": in_a_batch,
    "further targets": lambda run: run.expect([Target("2", "two"), Target("3", "three")]),
    "held changes": lambda run: run._keep("1", CHANGES),
}


def exchange(record: SyncRun) -> None:
    """Let another run have the id, with a part of the same target."""
    target = RunTarget.objects.get(run=record, target="1")
    record.targets.all().delete()
    SyncRun.objects.filter(pk=record.pk).delete()
    other = SyncRun.objects.create(
        pk=record.pk, sync="probe", trigger=Trigger.COMMAND, state=RunState.RUNNING
    )
    RunTarget.objects.create(pk=target.pk, run=other, target="1", label="the other's")


def execute(make_sync: Make, function: Callable[[Run], object]) -> SyncRun:
    def sync(run: Run) -> None:
        run.expect([Target("1", "one")])
        function(run)

    make_sync(sync)
    return runs.execute(runs.request("probe", Options(), Trigger.COMMAND))


@pytest.mark.parametrize("what", STORING)
def test_nothing_is_stored_with_another_run(make_sync: Make, what: str) -> None:
    raised = []

    def stale(run: Run) -> None:
        exchange(run.record)
        with pytest.raises(LeaseLost) as error:
            STORING[what](run)
        raised.append(error)
        raise error.value

    record = execute(make_sync, stale)
    assert raised
    (part,) = RunTarget.objects.filter(run=record.pk)
    assert (part.label, part.state) == ("the other's", TargetState.WAITING)
    assert not RunLog.objects.filter(run=record.pk).exists()
    assert not HeldChange.objects.filter(run=record.pk).exists()
    assert SyncRun.objects.get(pk=record.pk).state == RunState.RUNNING


def test_a_planned_set_is_not_held_for_another_run(make_sync: Make) -> None:
    def stale(run: Run) -> None:
        exchange(run.record)
        assert run._keep("1", PLANNED).counts == {}

    execute(make_sync, stale)
    assert not HeldChange.objects.exists()


def test_a_run_whose_row_is_gone_ends_without_a_trace(make_sync: Make) -> None:
    def stale(run: Run) -> None:
        query("DELETE FROM syncs_runtarget")
        query("DELETE FROM syncs_syncrun")
        run.log("stale")

    execute(make_sync, stale)
    assert not SyncRun.objects.exists()
    assert not RunLog.objects.exists()


def test_its_own_are_stored(make_sync: Make) -> None:
    def own(run: Run) -> None:
        in_a_batch(run)
        STORING["further targets"](run)
        of_seven = {"largest": [["2", "7", {"removed": 1}]], "others": 0, "changes": 0}
        assert run._keep("1", PLANNED) == ({"removed": 1}, of_seven)
        assert run._keep("1", CHANGES) == ({"removed": 2}, None)
        for key in ("2", "3"):
            run.record_outcome(key, TargetState.SUCCEEDED)

    record = execute(make_sync, own)
    assert record.state == RunState.SUCCEEDED, record.error
    assert record.targets.count() == 3
    assert [line.message for line in record.log.all()] == ["one", "two"]
    assert HeldChange.objects.filter(run=record).count() == 3
