"""A run's page as a person uses it: it moves by itself, and its buttons do what they say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from pytest_django import Settings

from activity.models import Activity
from syncs.engine import lease
from syncs.models import HeldChange, RunState, RunTarget, SyncRun, TargetState, Trigger, WithheldRow
from tenants.models import Tenant
from tests.console import accessibility
from tests.console.browser import DARK, NARROW, Window
from tests.console.conftest import Enter
from tests.rows import ended_run, instance_row, run_part, staff

PART = "**/live/"
EVERY = 2_000  # milliseconds between refreshes
REASON = "#run-reason"
WIDER = "part => part.scrollWidth > part.clientWidth"
HIDES = f"() => [...document.querySelectorAll('.wide')].some({WIDER})"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _unhurried(settings: Settings) -> None:
    """Nobody renews the lease of `running`: it lives for as long as a browser may take."""
    settings.RAINBO_LEASE_TTL, settings.RAINBO_LEASE_RENEWAL = 3600, 600


def page_of(run: SyncRun) -> str:
    return f"/admin/syncs/syncrun/{run.pk}/change/"


def running(instances: int = 3) -> SyncRun:
    now = timezone.now()
    run = SyncRun.objects.create(
        sync="tenant_summaries", state=RunState.RUNNING, trigger=Trigger.BUTTON, started_at=now
    )
    for number in range(1, instances + 1):
        run_part(run, str(number), state=TargetState.WAITING)
    lease.claim(run)
    return run


def held() -> SyncRun:
    run = ended_run("tenant_summaries", state=RunState.HELD)
    counts = {"removed": 300, "moved": 4}
    tenants = {"largest": [["1", "7", counts]], "others": 0, "changes": 0}
    part: dict[str, Any] = {"note": "too many", "held_counts": counts, "held_tenants": tenants}
    run_part(run, state=TargetState.HELD, **part)
    HeldChange.objects.create(run=run, target="1", kind="removed", source_id="7", detail="Acme")
    return run


def at(window: Window, run: SyncRun) -> Window:
    """Its page, on a clock that only the test moves on."""
    window.do(lambda page: page.clock.install())
    window.open(page_of(run))
    return window


def refresh(window: Window) -> None:
    window.let_refresh(PART, EVERY)


def press(window: Window, message: str) -> None:
    window.click(f"button:text('{message}')")


def press_with_enter(page: Any, message: str) -> None:
    page.focus(f"button:text('{message}')")
    with page.expect_navigation():
        page.keyboard.press("Enter")


def last_action() -> tuple[str, Any, Any]:
    last = Activity.objects.order_by("-id")[0]
    return last.action, last.before, last.after


def test_progress_moves_and_keeps_focus_and_scroll(window: Window) -> None:
    run = running(30)
    at(window, run)
    assert "0 of 30 instances done" in window.text()
    window.do(lambda page: page.focus("button:text('Cancel')"))
    window.script("() => scrollTo(0, 300)")
    RunTarget.objects.filter(target="1").update(state=TargetState.SUCCEEDED, read=12)
    refresh(window)
    window.wait_for("() => document.querySelector('progress').value === 1")
    assert "1 of 30 instances done" in window.text()
    assert window.do(lambda page: page.inner_text("#live-news")).endswith("instances done.")
    focused = "() => document.activeElement.textContent"
    assert (window.script(focused), window.script("() => scrollY")) == ("Cancel", 300)


def test_a_run_that_ends_shows_what_to_do_and_is_refreshed_no_more(window: Window) -> None:
    run = running()
    at(window, run)
    RunTarget.objects.filter(target="1").update(state=TargetState.FAILED, error="refused")
    SyncRun.objects.filter(pk=run.pk).update(state=RunState.PARTIAL, seconds=3)
    refresh(window)
    window.wait_for("() => document.querySelector('#live-status').textContent.includes('ended')")
    asked: list[str] = []
    window.do(lambda page: page.on("request", lambda request: asked.append(request.url)))
    window.do(lambda page: page.clock.fast_forward(5 * EVERY))
    assert not asked
    assert not window.is_shown("#live-pause")
    press(window, "Retry the 3 instances that failed")
    new = SyncRun.objects.latest("pk")
    assert window.path == page_of(new)
    assert (new.options, new.trigger) == ({"failed_from": run.pk}, Trigger.BUTTON)
    assert last_action()[0] == "run.retried"


def test_a_run_that_ends_held_asks_at_once(window: Window) -> None:
    run = running(1)
    at(window, run)
    RunTarget.objects.filter(run=run).update(state=TargetState.HELD, held_counts={"removed": 2})
    SyncRun.objects.filter(pk=run.pk).update(state=RunState.HELD)
    refresh(window)
    window.wait_for(f"() => document.querySelector('{REASON}')")
    window.fill(REASON, "looked at")
    press(window, "Discard")
    run.refresh_from_db()
    assert (run.discard_reason, run.discarded_by) == ("looked at", "admin")


def test_a_held_run_is_accepted_with_a_reason(window: Window) -> None:
    run = held()
    window.open(page_of(run))
    window.do(lambda page: page.click("button:text('Accept: remove 300, move 4')"))
    assert not SyncRun.objects.filter(trigger=Trigger.BUTTON).exists(), "a reason is required"
    window.fill(REASON, "tenant 88 left")
    press(window, "Accept")
    new = SyncRun.objects.latest("pk")
    assert window.path == page_of(new)
    assert new.options == {"accept_held": run.pk, "reason": "tenant 88 left"}
    assert last_action() == (
        "run.accepted",
        {"state": "held"},
        {
            "state": "accepted",
            "accepted by run": new.pk,
            "reason": "tenant 88 left",
            "would": "remove 300, move 4",
        },
    )
    window.open(page_of(run))
    assert f"Run {new.pk} will publish them and is queued" in window.text()
    assert not window.is_shown(REASON)


@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("button", ["Accept", "Discard"])
def test_only_its_button_decides(
    enter: Enter, admin_user: User, button: str, *, scripts: bool
) -> None:
    run = held()
    window = enter(admin_user, scripts=scripts)
    window.open(page_of(run))
    window.fill(REASON, "looked at")
    window.press("Enter")
    window.do(lambda page: page.wait_for_timeout(500))
    run.refresh_from_db()
    assert (run.discarded_at, SyncRun.objects.count()) == (None, 1)
    window.do(lambda page: press_with_enter(page, button))
    assert last_action()[0] == f"run.{button.lower()}ed"


def test_of_two_people_who_decide_one_wins(enter: Enter, admin_user: User) -> None:
    run = held()
    first, second = enter(admin_user), enter(staff("bob", is_superuser=True))
    for window in (first, second):
        window.open(page_of(run))
        window.fill(REASON, "looked at")
    press(first, "Accept")
    press(second, "Discard")
    new = SyncRun.objects.latest("pk")
    assert f"run {run.pk} is being accepted: run {new.pk}, which admin asked for" in second.text()
    run.refresh_from_db()
    assert run.discarded_at is None


def test_a_held_run_is_discarded_and_says_so(window: Window) -> None:
    run = held()
    window.open(page_of(run))
    window.fill(REASON, "a wrong backup")
    press(window, "Discard")
    assert "admin discarded them: a wrong backup" in window.text()
    assert last_action()[0] == "run.discarded"
    window.open("/admin/syncs/syncrun/?state=held")
    assert "discarded by admin" in window.text()


def test_support_retries_and_accepts_nothing(enter: Enter) -> None:
    user = staff("sue")
    user.groups.add(Group.objects.get(name="support_admin"))
    run = held()
    run_part(run, "2", state=TargetState.FAILED)
    window = enter(user)
    window.open(page_of(run))
    assert window.is_shown("button:text('Retry the 1 instance that failed')")
    assert not window.is_shown(REASON)
    assert "Users with the permission to accept held changes" in window.text()


def test_a_run_is_cancelled(window: Window) -> None:
    run = running()
    at(window, run)
    press(window, "Cancel")
    assert "admin requested cancellation" in window.text()
    assert last_action()[0] == "run.cancelled"


def test_withheld_rows_are_listed_and_taken_as_a_file(window: Window) -> None:
    run = ended_run("tenant_summaries")
    run_part(run, withheld=60)
    WithheldRow.objects.bulk_create(
        WithheldRow(sync=run.sync, target="1", source_id=f"=cmd{n}", row_hash=n, reason="no e-mail")
        for n in range(60)
    )
    window.open(page_of(run))
    assert "These are the first 50." in window.text()

    def work(page: Any) -> bytes:
        with page.expect_download() as download:
            page.click("#run-withheld ~ p button")
        return bytes(download.value.path().read_bytes())

    lines = window.do(work).decode("utf-8-sig").splitlines()
    assert len(lines) == 61
    assert lines[1].startswith("instance 1,'=cmd0,can't be stored,no e-mail,")
    assert last_action()[0] == "run.exported"


def test_the_page_works_without_scripts(enter: Enter, admin_user: User) -> None:
    run = running()
    window = enter(admin_user, scripts=False)
    window.open(page_of(run))
    RunTarget.objects.filter(target="1").update(state=TargetState.SUCCEEDED)
    window.click("#live-still a")
    assert "1 of 3 instances done" in window.text()
    press(window, "Cancel")
    assert "admin requested cancellation" in window.text()


def long_words() -> SyncRun:
    """A held run whose every value is one long word, of a hidden direction too."""
    run = held()
    word = "y" * 300
    RunTarget.objects.filter(run=run).update(note=word, label=f"instance 1 ({word[:200]})")
    SyncRun.objects.filter(pk=run.pk).update(actor=word[:150])
    for detail in (word, f"{word}@x.example: name '\u202e{word}' → 'Bob'"):
        HeldChange.objects.create(run=run, target="1", kind="moved", source_id=word, detail=detail)
    return run


def test_nothing_scrolls_sideways_on_a_phone(window: Window) -> None:
    name = "y" * 300
    row = {"remote_id": "7", "name": name, "cache_refreshed_at": timezone.now()}
    Tenant.objects.create(instance=instance_row(1), status="active", **row)
    window.look(NARROW, DARK)
    for path in (page_of(long_words()), page_of(running()), "/admin/syncs/syncrun/"):
        window.open(path)
        assert window.script("() => document.scrollingElement.scrollWidth") <= NARROW, path
        hides = (
            "() => [...document.querySelectorAll('.wide')].map(e => e.scrollWidth - e.clientWidth)"
        )
        assert not any(window.script(hides)), path


def test_a_long_value_hides_not_what_follows_it(window: Window) -> None:
    window.open(page_of(long_words()))
    assert not window.script(HIDES)
    detail = "() => [...document.querySelectorAll('[data-key=held-rows] td')].at(-1).innerText"
    shown = window.script(detail)
    assert shown.endswith("…: name '\\u202e" + "y" * 72 + "… → 'Bob'"), shown


@pytest.mark.parametrize("run", [running, held])
def test_a_run_is_for_everyone(window: Window, run: Callable[[], SyncRun]) -> None:
    window.open(page_of(run()))
    assert list(accessibility.complaints(window)) == []
