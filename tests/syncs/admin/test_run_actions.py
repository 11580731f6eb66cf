"""What a person does about a run from its page, and what is rejected, with its message."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from activity.models import Activity
from common.errors import UsageError
from syncs.engine import held, runs
from syncs.engine.options import Options
from syncs.models import Heartbeat, Lease, RunState, SyncRun, TargetState, Trigger
from tests.pages import said, text_of
from tests.rows import ended_run, run_part, staff

pytestmark = pytest.mark.django_db

WHY = {"reason": "looked at"}


def held_run(**fields: Any) -> SyncRun:
    run = ended_run("tenant_summaries", state=RunState.HELD, **fields)
    run_part(run, state=TargetState.HELD, held_counts={"removed": 300})
    return run


def failed_run(**fields: Any) -> SyncRun:
    run = ended_run("tenant_summaries", state=RunState.PARTIAL, **fields)
    run_part(run, "1")
    run_part(run, "2", state=TargetState.FAILED)
    return run


def press(client: Client, what: str, run: SyncRun, **data: str) -> str:
    """The message that the user sees."""
    url = reverse(f"admin:syncs_syncrun_{what}", args=[run.pk])
    return said(client.post(url, data, follow=True))


def asked() -> list[SyncRun]:
    return list(SyncRun.objects.filter(trigger=Trigger.BUTTON))


def signed_in(client: Client, *permissions: str) -> User:
    user = staff("bob")
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return user


MANY = 250_000


def test_more_than_a_thousand_rows_are_confirmed_by_their_number(admin_client: Client) -> None:
    run = held_run()
    SyncRun.objects.get(pk=run.pk).targets.update(held_counts={"removed": MANY, "moved": 3})
    url = reverse("admin:syncs_syncrun_change", args=[run.pk])
    box = f'name="rows" value="{MANY + 3}" form="run-decide" required'
    assert box in admin_client.get(url).content.decode()
    for given in ({}, {"rows": "300"}):
        refused = press(admin_client, "accept", run, **WHY, **given)
        assert refused == f"Not accepted: confirm that it changes {MANY + 3:,} rows."
    assert not asked()
    press(admin_client, "accept", run, **WHY, rows=str(MANY + 3))
    assert len(asked()) == 1


def test_a_few_rows_need_no_confirmation(admin_client: Client) -> None:
    run = held_run()
    url = reverse("admin:syncs_syncrun_change", args=[run.pk])
    assert 'name="rows"' not in admin_client.get(url).content.decode()


@pytest.mark.parametrize("what", ["accept", "discard", "retry", "cancel", "withheld", "held"])
def test_looking_does_nothing_and_says_so(admin_client: Client, what: str) -> None:
    url = reverse(f"admin:syncs_syncrun_{what}", args=[held_run().pk])
    answer = admin_client.get(url)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert "Use the button on the page" in answer.content.decode()
    assert not asked()


@pytest.mark.parametrize(("what", "left"), [("accept", "accepted"), ("discard", "discarded")])
def test_a_decision_needs_a_reason(admin_client: Client, what: str, left: str) -> None:
    for reason in ("", "  \n", "\0"):
        assert press(admin_client, what, held_run(), reason=reason).startswith(f"Not {left}: ")
    assert not asked()


@pytest.mark.parametrize("what", ["accept", "discard"])
def test_a_reason_is_short_enough_to_be_read(admin_client: Client, what: str) -> None:
    shown = press(admin_client, what, held_run(), reason="x" * 256)
    assert shown.endswith("the reason is longer than 255 characters.")
    assert not asked()
    assert press(admin_client, what, held_run(), reason="x" * 255)
    assert Activity.objects.count() == 1


def test_no_door_takes_a_longer_reason() -> None:
    wish = Options(accept_held=held_run().pk, reason="x" * 256)
    with pytest.raises(UsageError, match="longer than 255 characters"):
        runs.request("tenant_summaries", wish, Trigger.COMMAND, "ann")
    assert SyncRun.objects.count() == 1


@pytest.mark.parametrize("what", ["accept", "discard"])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"options": {"dry_run": True}}, "was a dry run"),
        ({"accepted_by": True}, "was accepted by run"),
        ({"superseded_by": True}, "has published what run"),
        ({"discarded_by": "ann", "discarded_at": "2026-01-01T00:00Z"}, "was discarded by ann"),
        ({"state": RunState.RUNNING}, "has not ended yet"),
    ],
)
def test_what_waits_for_nobody_is_refused(
    admin_client: Client, what: str, fields: dict[str, Any], expected: str
) -> None:
    run, other = held_run(), ended_run()
    values = {name: other if value is True else value for name, value in fields.items()}
    SyncRun.objects.filter(pk=run.pk).update(**values)
    assert expected in press(admin_client, what, run, **WHY)
    assert not asked()
    assert not Activity.objects.exists()


def test_the_activity_reads_held_and_then_accepted(admin_client: Client) -> None:
    assert press(admin_client, "accept", held_run(), **WHY)
    entry = Activity.objects.get(action="run.accepted")
    assert "state: held → accepted" in entry.changes_in_words


@pytest.mark.parametrize(
    ("what", "make", "words"),
    [("accept", held_run, "holds."), ("retry", failed_run, "retries what failed.")],
)
def test_who_presses_learns_whether_a_worker_is_there(
    admin_client: Client, what: str, make: Callable[[], SyncRun], words: str
) -> None:
    why = "No worker is there to take it: none ever was. To start workers: "
    assert f"{words} {why}python manage.py schedule_work." in press(
        admin_client, what, make(), **WHY
    )
    at = timezone.now() - timedelta(hours=2)
    Heartbeat.objects.create(worker="host:1", at=at)
    shown = press(admin_client, what, make(), **WHY)
    assert re.search(rf"none has reported since ([-\d]+ )?{at:%H:%M:%S} UTC", shown)
    Heartbeat.objects.update(at=timezone.now())
    assert press(admin_client, what, make(), **WHY).endswith(f"{words} A worker will start it.")


def test_a_run_that_waits_says_why(admin_client: Client) -> None:
    run = SyncRun.objects.create(sync="user_routing", trigger=Trigger.BUTTON)
    page = reverse("admin:syncs_syncrun_change", args=[run.pk])
    no_worker = "has waited for a worker for 0 s. No worker is there to take it: none ever was."
    assert no_worker in text_of(admin_client.get(page))
    Heartbeat.objects.create(worker="host:1", at=timezone.now())
    assert "for 0 s. A worker will start it." in text_of(admin_client.get(page))
    busy = ended_run(state=RunState.RUNNING, sync="tenant_summaries", host="host", pid=1)
    later = timezone.now() + timedelta(minutes=1)
    Lease.objects.create(sync=busy.sync, token=1, run=busy, expires_at=later)
    assert f"Workers are busy with run {busy.pk}." in text_of(admin_client.get(page))


def test_a_run_that_holds_nothing(admin_client: Client) -> None:
    assert "holds nothing" in press(admin_client, "accept", ended_run(), **WHY)


def test_who_may_run_may_not_decide(client: Client) -> None:
    signed_in(client, "view_syncrun", "run_sync")
    run = held_run()
    for what in ("accept", "discard"):
        url = reverse(f"admin:syncs_syncrun_{what}", args=[run.pk])
        assert client.post(url, WHY).status_code == 403
    assert not asked()


def test_of_many_who_decide_at_once_one_wins(transactional_db: None) -> None:
    run = held_run()

    def decide(number: int) -> str:
        try:
            if number % 2:
                held.discard(run.pk, f"person {number}", "no")
            else:
                wish = Options(accept_held=run.pk, reason="yes")
                runs.request(run.sync, wish, Trigger.BUTTON, f"person {number}")
        except UsageError as error:
            return str(error)
        finally:
            connection.close()
        return ""

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(decide, range(8)))
    assert answers.count("") == 1
    assert all("discarded by" in a or "is being accepted" in a for a in answers if a)


def test_the_failed_instances_are_retried_once(admin_client: Client) -> None:
    run = failed_run(options={"force": True})
    press(admin_client, "retry", run)
    (new,) = asked()
    assert new.options == {"force": True, "failed_from": run.pk}
    rejected = press(admin_client, "retry", run)
    assert rejected == f"Not retried: run {new.pk} already retries it and is queued."
    page = text_of(admin_client.get(reverse("admin:syncs_syncrun_change", args=[run.pk])))
    assert f"Run {new.pk} is retrying what failed" in page


@pytest.mark.parametrize(
    ("state", "expected"),
    [(RunState.RUNNING, "has not ended yet"), (RunState.SUCCEEDED, "nothing failed in run")],
)
def test_what_did_not_fail_is_not_retried(
    admin_client: Client, state: RunState, expected: str
) -> None:
    assert expected in press(admin_client, "retry", ended_run(state=state))
    assert not asked()


def test_to_retry_an_acceptance_takes_the_right_to_accept(client: Client) -> None:
    run = failed_run(options={"accept_held": held_run().pk, "reason": "yes"})
    user = signed_in(client, "view_syncrun", "run_sync")
    url = reverse("admin:syncs_syncrun_retry", args=[run.pk])
    assert client.post(url).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="accept_held"))
    client.post(url)
    (new,) = asked()
    assert new.options == run.options | {"failed_from": run.pk}


def test_a_forgotten_sync_is_refused(admin_client: Client) -> None:
    run = ended_run("forgotten", state=RunState.FAILED)
    assert "no sync is named 'forgotten'" in press(admin_client, "retry", run)
