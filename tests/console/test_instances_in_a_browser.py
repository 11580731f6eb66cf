"""What a person does to an instance, in Chromium."""

from __future__ import annotations

import pytest

from activity.models import Activity
from syncs.dispatch import reconcile
from syncs.models import SyncRun
from tenants.models import RdsInstance
from tests.caches import register
from tests.console import accessibility
from tests.console.browser import Window
from tests.instances import InstanceFleet
from tests.rows import ended_run, instance_row

PLACED = "() => getComputedStyle(document.querySelector('#submit-row')).position"
SWITCH = "#content-main form button"

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]


def page(instance: RdsInstance, way: str = "change") -> str:
    return f"/admin/tenants/rdsinstance/{instance.pk}/{way}/"


def button(name: str) -> str:
    return f"form[action$='/{name}/'] button"


def test_one_that_answers_is_tested_and_checked(window: Window, fleet: InstanceFleet) -> None:
    found = register(fleet.instances[0])
    window.open(page(found))
    window.click(button("test-connection"))
    assert "Role and privileges Tested" in window.text()
    assert list(accessibility.complaints(window)) == []
    window.click(button("check-now"))
    run = SyncRun.objects.get()
    assert (run.sync, run.options["targets"]) == ("instance_health", [str(found.pk)])
    window.click(f"a[href='/admin/syncs/syncrun/{run.pk}/change/']")
    assert "instances 1" in window.text()
    assert [*Activity.objects.values_list("action", flat=True).order_by("pk")] == [
        "instance.tested",
        "run.requested",
    ]


def test_to_delete_it_is_not_offered_over_its_health(window: Window) -> None:
    window.open(page(instance_row(1)))
    assert not window.is_shown("#submit-row")
    window.open(f"/admin/syncs/syncrun/{ended_run().pk}/change/")
    assert window.script(PLACED) == "static"


def test_one_that_does_not_answer_says_so_in_words(window: Window) -> None:
    found = instance_row(3, name="rds3", host="127.0.0.1", port=1)
    window.open(page(found))
    window.click(button("test-connection"))
    assert "instance 3 (rds3) refused the connection at 127.0.0.1:1" in window.text()
    assert "Traceback" not in window.text()
    assert list(accessibility.complaints(window)) == []


def test_disabling_says_what_it_does_before_it_is_done(window: Window) -> None:
    instance_row(1, is_master=True)
    found = instance_row(2)
    reconcile.reconcile()
    window.open(page(found))
    window.click("a[href$='/disable/']")
    assert "0 tenants and 0 routes stay in the cache" in window.text()
    assert "add_instance --update --id 2 --inactive" in window.text()
    assert RdsInstance.objects.get(pk=2).is_active
    window.click(SWITCH)
    assert not RdsInstance.objects.get(pk=2).is_active
    window.click("a[href$='/enable/']")
    window.click(SWITCH)
    assert RdsInstance.objects.get(pk=2).is_active
    assert list(accessibility.complaints(window)) == []


def test_the_master_is_not_disabled(window: Window) -> None:
    found = instance_row(1, is_master=True)
    window.open(f"/admin/tenants/rdsinstance/{found.pk}/disable/")
    assert "is the master. Without it no route" in window.text()
    assert not window.is_shown(SWITCH)


def test_ghost_users_are_synced_from_their_matrix(window: Window) -> None:
    instance_row(1, is_master=True)
    instance_row(2)
    window.open("/admin/tenants/ghostuser/")
    window.click("form[action$='/ghostuser/sync/']:has([name=instance][value='2']) button")
    run = SyncRun.objects.get()
    assert (run.sync, run.options["targets"]) == ("ghost_users", ["2"])
    assert window.path == f"/admin/syncs/syncrun/{run.pk}/change/"
