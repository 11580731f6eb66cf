"""Parts that are stored with their outcome: what waits meanwhile, and what a run leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from common.errors import RainboError
from syncs.engine import lost_runs, parts, registry, runs
from syncs.engine.options import Options
from syncs.engine.run import Confirmed, Run
from syncs.engine.targets import Target
from syncs.models import Confirmation, RunState, RunTarget, SyncRun, TargetState, Trigger
from syncs.reports import run_report
from tests.caches import query
from tests.syncs.conftest import Make
from tests.syncs.engine.test_lost_runs import under_way

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = ("1", "2", "10")


@pytest.fixture
def make_late(make_sync: Make) -> Make:
    def make(function: object) -> registry.Sync:
        sync = make_sync(function)  # type: ignore[arg-type]
        return registry.register(replace(sync, late_label=lambda key: f"thing {key}"))

    return make


def expect(run: Run, *keys: str) -> None:
    run.expect(Target(key, f"thing {key}") for key in keys)


def execute(**options: object) -> SyncRun:
    chosen = Options(**{"targets": KEYS, **options})  # type: ignore[arg-type]
    return runs.execute(runs.request("probe", chosen, Trigger.COMMAND))


def stored(record: SyncRun) -> list[tuple[str, str, str]]:
    return sorted(record.targets.values_list("target", "label", "state"))


def test_what_is_named_waits_without_a_row_and_is_shown_all_the_same(make_late: Make) -> None:
    seen: list[Any] = []

    def function(run: Run) -> None:
        expect(run, *KEYS)
        run.record_outcome("2", TargetState.SUCCEEDED, read=3)
        rows = [*run.record.targets.values_list("target", flat=True)]
        document = run_report.document(run.record)
        shown = [(one["target"], one["label"], one["state"]) for one in document["targets"]]
        seen.extend([rows, shown])
        for key in ("1", "10"):
            run.record_outcome(key, TargetState.SUCCEEDED)

    make_late(function)
    record = execute()
    done, first, last = (
        ("2", "thing 2", "succeeded"),
        ("1", "thing 1", "waiting"),
        ("10", "thing 10", "waiting"),
    )
    assert seen == [["2"], [done, first, last]]
    assert (record.state, len(stored(record))) == (RunState.SUCCEEDED, 3)
    assert record.targets.get(target="2").read == 3


def test_what_is_not_named_is_stored_when_it_is_expected(make_late: Make) -> None:
    """Nobody else knows of it, should the process die."""
    seen: list[Any] = []

    def function(run: Run) -> None:
        expect(run, *KEYS, "5")
        seen.extend(run.record.targets.values_list("target", flat=True))
        run.record_outcome("5", TargetState.SUCCEEDED)

    make_late(function)
    execute()
    assert seen == ["5"]


def test_a_run_that_fails_leaves_what_it_did_not_come_to_for_a_retry(make_late: Make) -> None:
    def function(run: Run) -> None:
        expect(run, *KEYS)
        run.record_outcome("2", TargetState.SUCCEEDED)
        raise RainboError("over")

    make_late(function)
    record = execute()
    assert record.state == RunState.FAILED
    assert [state for _, _, state in stored(record)] == ["waiting", "waiting", "succeeded"]
    assert run_report.retry_options(record) == Options(failed_from=record.pk)


def test_a_run_whose_process_died_leaves_them_too(make_late: Make) -> None:
    make_late(lambda run: None)
    record = under_way()
    SyncRun.objects.filter(pk=record.pk).update(options={"targets": KEYS})
    RunTarget.objects.create(run=record, target="2", label="thing 2", state="succeeded")
    query("UPDATE syncs_lease SET expires_at = clock_timestamp() - interval '1 s'")
    assert lost_runs.close_lost_runs() == [record]
    assert stored(record) == [
        ("1", "thing 1", "waiting"),
        ("10", "thing 10", "waiting"),
        ("2", "thing 2", "succeeded"),
    ]


def test_one_that_another_run_takes_over_from_leaves_them_too(make_late: Make) -> None:
    make_late(lambda run: None)
    record = under_way()
    SyncRun.objects.filter(pk=record.pk).update(options={"targets": KEYS})
    query("UPDATE syncs_lease SET expires_at = clock_timestamp() - interval '1 s'")
    assert execute(targets=()).state == RunState.SUCCEEDED
    record.refresh_from_db()
    assert (record.state, len(stored(record))) == (RunState.LOST, 3)


def test_a_success_is_committed_with_what_it_publishes_or_not_at_all(make_late: Make) -> None:
    announced: list[Any] = []

    def function(run: Run) -> None:
        expect(run, *KEYS)
        for key in ("1", "2"):
            try:
                with run.publishing() as session:
                    confirmed = Confirmed(key, run.now(), 7, "by hand")
                    run.succeed(session, confirmed, note="password=hunter2", read=7, seconds=1.5)
                    if key == "2":
                        raise RainboError("no")
            except RainboError as error:
                run.record_outcome(key, TargetState.FAILED, error=error)
            else:
                run.announce(key, read=7, seconds=1.5)
        run.record_outcome("10", TargetState.SUCCEEDED)

    make_late(function)
    record = runs.execute(
        runs.request("probe", Options(targets=KEYS), Trigger.COMMAND),
        lambda part: announced.append((part.target, part.state, part.read)),
    )
    first = record.targets.get(target="1")
    assert (first.state, first.read, first.seconds) == ("succeeded", 7, 1.5)
    assert "hunter2" not in first.note
    assert Confirmation.objects.get().target == "1"
    assert record.targets.get(target="2").state == TargetState.FAILED
    assert record.state == RunState.PARTIAL
    assert announced[0] == ("1", "succeeded", 7)


def test_the_other_syncs_store_all_when_they_expect_it(make_sync: Make) -> None:
    seen: list[Any] = []

    def function(run: Run) -> None:
        expect(run, *KEYS)
        seen.append(run.record.targets.count())
        seen.append(parts.waiting(run.record, set()))
        for key in KEYS:
            run.record_outcome(key, TargetState.SUCCEEDED)

    make_sync(function)
    execute()
    assert seen == [3, []]
