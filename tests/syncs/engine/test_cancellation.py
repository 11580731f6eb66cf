from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db.models.functions import Now
from django.test import Client
from pytest_django import Settings

from common.errors import RainboError, UsageError
from syncs.engine import cancellation, lease, lost_runs, runs
from syncs.engine.cancellation import CancelOutcome
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.models import Confirmation, RunState, SyncRun, TargetState, Trigger
from tests.caches import query
from tests.pages import said, text_of
from tests.rows import ended_run, staff
from tests.syncs.conftest import Make
from tests.syncs.plans import NOON, of_slot, plan

pytestmark = pytest.mark.django_db(transaction=True)


def asked(record: SyncRun) -> CancelOutcome:
    return cancellation.cancel(SyncRun.objects.get(pk=record.pk), "ann")


def in_progress() -> SyncRun:
    """A run whose process holds the lease."""
    record = ended_run(state=RunState.RUNNING)
    lease.claim(record)
    return record


def run_slot() -> SyncRun:
    plan()
    return runs.execute(runs.request("probe", Options(), Trigger.SCHEDULE, slot=NOON))


def call(run: int, *words: str) -> int:
    try:
        call_command("cancel_run", run, *words)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_run_that_waits_is_cancelled_at_once(make_sync: Make) -> None:
    make_sync(lambda run: None)
    record = of_slot(NOON, RunState.QUEUED)
    assert asked(record) is CancelOutcome.CANCELLED
    record.refresh_from_db()
    assert (record.state, record.error) == (
        RunState.CANCELLED,
        "cancelled by ann before it began",
    )
    assert runs.execute(record).state == RunState.CANCELLED


def test_a_run_that_ended_stays_as_it_is() -> None:
    record = ended_run()
    assert asked(record) is CancelOutcome.ENDED
    record.refresh_from_db()
    assert record.state == RunState.SUCCEEDED
    assert record.cancel_requested_at is None


def checking(run: Run) -> None:
    run.check_lease()


def publishing(run: Run) -> None:
    with run.publishing() as session:
        run.confirm(session, "1", run.now())


def settling_around(run: Run) -> None:
    """As syncs do: what goes wrong with a target is settled with it."""
    run.expect([Target("1", "one")])
    try:
        publishing(run)
    except RainboError as error:
        run.record_outcome("1", TargetState.FAILED, error=error)


@pytest.mark.parametrize("act", [checking, publishing, settling_around])
def test_a_run_stops_at_its_next_safe_point(make_sync: Make, act: Any) -> None:
    def function(run: Run) -> None:
        assert asked(run.record) is CancelOutcome.ASKED
        act(run)

    make_sync(function)
    record = run_slot()
    assert record.state == RunState.CANCELLED
    assert record.error == "cancelled by ann; nothing was published after that"
    assert not Confirmation.objects.exists()
    assert SyncRun.objects.count() == 1, "it is not retried"


def test_the_renewals_notice_the_request(make_sync: Make, settings: Settings) -> None:
    settings.RAINBO_LEASE_RENEWAL = 0.05

    def function(run: Run) -> None:
        # As `cancel` notes it, which takes the lease from a run that missed two such renewals.
        SyncRun.objects.update(cancel_requested_at=Now(), cancel_requested_by="ann")
        while True:
            time.sleep(0.02)
            run.cancellation_point()
            assert lease.renew("probe", run.renewal.token)

    make_sync(function)
    record = run_slot()
    assert record.state == RunState.CANCELLED
    assert record.error == "cancelled by ann; nothing was published after that"


def test_a_run_that_failed_on_its_way_out_is_not_retried(make_sync: Make) -> None:
    def function(run: Run) -> None:
        asked(run.record)
        raise SystemExit(1)

    make_sync(function)
    with pytest.raises(SystemExit):
        run_slot()
    assert SyncRun.objects.get().state == RunState.FAILED


def test_a_run_that_has_published_all_succeeds(make_sync: Make) -> None:
    def function(run: Run) -> None:
        run.expect([Target("1", "one")])
        publishing(run)
        asked(run.record)
        run.record_outcome("1", TargetState.SUCCEEDED)

    make_sync(function)
    assert run_slot().state == RunState.SUCCEEDED


def test_the_command_tells_what_it_did(capsys: pytest.CaptureFixture[str]) -> None:
    waits, runs_now = of_slot(NOON, RunState.QUEUED), in_progress()
    assert call(waits.pk) == 0
    assert call(runs_now.pk) == 0
    out = capsys.readouterr().out
    assert f"Run {waits.pk} of probe is cancelled: it had not begun." in out
    assert f"Run {runs_now.pk} of user_routing was asked to end" in out


def test_what_has_ended_can_not_be_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    record = ended_run()
    assert call(record.pk) == 1
    assert f"Run {record.pk} of user_routing ended before: it is succeeded." in (
        capsys.readouterr().err
    )


def test_the_command_answers_as_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    record = in_progress()
    assert call(record.pk, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["run"], document["state"], document["answer"]) == (
        record.pk,
        "running",
        "asked",
    )
    assert document["cancel_requested_at"]


def test_an_unknown_run_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no run 4711"):
        call(4711)


def page(record: SyncRun) -> str:
    return f"/admin/syncs/syncrun/{record.pk}/change/"


def viewer() -> Any:
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_syncrun"))
    return user


def post(client: Client, record: SyncRun) -> Any:
    return client.post(f"/admin/syncs/syncrun/{record.pk}/cancel/", follow=True)


def test_the_button_cancels(admin_client: Client) -> None:
    record = of_slot(NOON, RunState.QUEUED)
    assert "It has not started." in text_of(admin_client.get(page(record)))
    assert "is cancelled" in said(post(admin_client, record))
    record.refresh_from_db()
    assert (record.state, record.cancel_requested_by) == (RunState.CANCELLED, "admin")


def test_the_page_tells_who_asked(admin_client: Client) -> None:
    record = in_progress()
    asked(record)
    shown = text_of(admin_client.get(page(record)))
    assert "ann requested cancellation" in shown
    assert "cancellation requested by ann" in shown


def test_a_run_that_ended_has_no_button(admin_client: Client) -> None:
    record = ended_run()
    assert "/cancel/" not in admin_client.get(page(record)).content.decode()
    assert "ended before" in said(post(admin_client, record))


def test_who_may_only_look_can_not_cancel(client: Client) -> None:
    client.force_login(viewer())
    record = of_slot(NOON, RunState.QUEUED)
    assert "/cancel/" not in client.get(page(record)).content.decode()
    assert post(client, record).status_code == 403
    record.refresh_from_db()
    assert record.state == RunState.QUEUED


def test_who_may_run_syncs_can_cancel(client: Client) -> None:
    user = viewer()
    user.user_permissions.add(Permission.objects.get(codename="run_sync"))
    client.force_login(user)
    record = of_slot(NOON, RunState.QUEUED)
    assert "is cancelled" in said(post(client, record))


def test_looking_cancels_nothing(admin_client: Client) -> None:
    record = of_slot(NOON, RunState.QUEUED)
    assert admin_client.get(f"/admin/syncs/syncrun/{record.pk}/cancel/").status_code == 405


def running_without_renewals(seconds: float) -> SyncRun:
    plan()
    record = of_slot(NOON, RunState.RUNNING)
    lease.claim(record)
    query(
        "UPDATE syncs_lease SET renewed_at = clock_timestamp() - make_interval(secs => %s::float) "
        "RETURNING 1",
        str(seconds),
    )
    return record


@pytest.mark.parametrize(("missed", "outcome"), [(1.9, "asked"), (2.01, "abandoned")])
def test_a_run_that_misses_two_renewals_is_cancelled_at_once(
    make_sync: Make, settings: Settings, missed: float, outcome: str
) -> None:
    settings.RAINBO_LEASE_TTL, settings.RAINBO_LEASE_RENEWAL = 6000, 1000  # a slow test is no miss
    make_sync(lambda run: None)
    record = running_without_renewals(missed * settings.RAINBO_LEASE_RENEWAL)
    assert asked(record) == outcome
    record.refresh_from_db()
    is_over = outcome == "abandoned"
    assert (record.state == RunState.CANCELLED) is is_over
    if is_over:
        assert record.error.endswith("its process no longer answered")
        assert runs.execute(runs.request("probe", Options(), Trigger.BUTTON)).state == "succeeded"


def test_without_a_request_a_run_keeps_its_lease_for_its_time_to_live(
    make_sync: Make, settings: Settings
) -> None:
    make_sync(lambda run: None)
    record = running_without_renewals(3 * settings.RAINBO_LEASE_RENEWAL)
    assert lost_runs.close_lost_runs() == []
    record.refresh_from_db()
    assert record.state == RunState.RUNNING
