"""From a held run to its acceptance: the button's run does what the command's does."""

from __future__ import annotations

from django.test import Client

from syncs.engine import runs
from syncs.models import RunState, SyncRun, Trigger
from tests.caches import counts, run_sync, shown_emails
from tests.instances import Instance
from tests.pages import text_of

ROWS = 50
WHY = {"reason": "tenant 88 left"}


def fill(master: Instance) -> None:
    master.execute(
        "INSERT INTO user_email_routing (id, email, tenant_id, user_id, status) "
        "SELECT n, 'user' || n || '@example.com', 1, n, 'Active' "
        "FROM generate_series(1, %s) AS n",
        [ROWS],
    )


def page(run: SyncRun) -> str:
    return f"/admin/syncs/syncrun/{run.pk}"


def test_what_a_guard_held_is_accepted_on_its_page(master: Instance, admin_client: Client) -> None:
    fill(master)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing WHERE id <= 30")
    held = run_sync("user_routing")
    assert held.state == RunState.HELD
    assert "Accept: remove 30" in text_of(admin_client.get(f"{page(held)}/change/"))
    admin_client.post(f"{page(held)}/accept/", WHY)
    accepting = SyncRun.objects.get(trigger=Trigger.BUTTON)
    assert runs.execute(accepting).state == RunState.SUCCEEDED
    assert counts(accepting) == (20, 0, 0, 30, 0)
    assert len(shown_emails()) == 20
    shown = text_of(admin_client.get(f"{page(held)}/change/"))
    said = f"admin accepted them: tenant 88 left. Run {accepting.pk} published them."
    assert said in shown
    shown = text_of(admin_client.get(f"{page(accepting)}/change/"))
    assert f"accepts run {held.pk}: tenant 88 left" in shown


def test_more_than_what_was_accepted_is_held_again(master: Instance, admin_client: Client) -> None:
    fill(master)
    run_sync("user_routing")
    master.execute("DELETE FROM user_email_routing WHERE id <= 30")
    held = run_sync("user_routing")
    admin_client.post(f"{page(held)}/accept/", WHY)
    master.execute("DELETE FROM user_email_routing WHERE id <= 31")
    again = runs.execute(SyncRun.objects.get(trigger=Trigger.BUTTON))
    assert again.state == RunState.HELD
    assert len(shown_emails()) == ROWS
    assert "1 of the changes were not accepted" in text_of(
        admin_client.get(f"{page(again)}/change/")
    )
