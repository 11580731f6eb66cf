"""The console's pages of instances."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.signals import got_request_exception
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone
from django.views.debug import ExceptionReporter
from django_q.models import OrmQ
from pytest_django import Settings

from common.encryption import encrypt
from syncs.errors import ConnectionFailed
from syncs.models import RunState, SyncRun, Trigger
from tenants.fleet import connections
from tenants.models import InstanceCheck, RdsInstance, Tenant
from tenants.models.instance import Health
from tests.caches import query, register
from tests.certificates import Authority
from tests.instances import InstanceFleet
from tests.pages import said, text_of
from tests.rows import confirmation, instance_row

LIST = "/admin/tenants/rdsinstance/"
SECRET = "s3cret-of-the-instance"

pytestmark = pytest.mark.django_db


def page(instance: RdsInstance, way: str = "change") -> str:
    return f"{LIST}{instance.pk}/{way}/"


def form(**fields: Any) -> dict[str, Any]:
    known = {
        "id": 7,
        "name": "rds7",
        "host": "rds.example.com",
        "port": 5432,
        "database": "app",
        "user": "rainbo",
        "new_password": "",
        "ssl_mode": "verify-full",
        "ssl_ca": "",
        "require_auth": "scram-sha-256",
        "app_url": "",
        "notes": "",
        "save_anyway": "on",
    }
    return {key: value for key, value in (known | fields).items() if value is not None}


@pytest.fixture
def instance() -> RdsInstance:
    row = instance_row(7)
    row.set_password(SECRET)
    row.save()
    return row


def test_the_list_shows_state_and_age(admin_client: Client, instance: RdsInstance) -> None:
    now = timezone.now()
    checked = {"health": Health.DOWN, "last_check_at": now, "latency_ms": 12.34}
    RdsInstance.objects.filter(pk=7).update(**checked, last_error="refused", is_master=True)
    with time_machine.travel(now, tick=False):
        shown = text_of(admin_client.get(LIST))
    for expected in ("7 rds7", "down", "0 s ago", "12 ms", "refused", "master"):
        assert expected in shown


def test_an_instance_is_added_with_a_chosen_id(admin_client: Client) -> None:
    admin_client.post(f"{LIST}add/", form(id=42, new_password=SECRET))
    added = RdsInstance.objects.get()
    assert (added.pk, added.reveal_password()) == (42, SECRET)


def test_a_new_instance_needs_a_password(admin_client: Client) -> None:
    answer = admin_client.post(f"{LIST}add/", form())
    assert "This field is required" in text_of(answer)
    assert not RdsInstance.objects.exists()


def test_a_refused_form_names_each_field_at_its_top(admin_client: Client) -> None:
    answer = admin_client.post(f"{LIST}add/", form(host="", port="no", new_password=SECRET))
    note = answer.content.decode().partition('role="alert"')[2].partition("</div>")[0]
    said = " ".join(re.sub("<[^>]+>", " ", note).replace(" :", ":").split())
    assert said.endswith("Host: This field is required. Port: Enter a whole number.")
    assert 'href="#id_port"' in note
    user = admin_client.post("/admin/auth/user/add/", {"username": "!", "usable_password": "true"})
    assert re.search(r"Correct .*: Username : Enter a valid username", text_of(user))


def test_a_taken_id_is_refused(admin_client: Client, instance: RdsInstance) -> None:
    answer = admin_client.post(f"{LIST}add/", form(name="other", new_password="x"))
    assert "already exists" in text_of(answer)
    assert RdsInstance.objects.get().name == "rds7"


def test_the_next_free_id_is_offered(admin_client: Client, instance: RdsInstance) -> None:
    assert 'value="8"' in admin_client.get(f"{LIST}add/").content.decode()


def test_the_id_stays(admin_client: Client, instance: RdsInstance) -> None:
    admin_client.post(page(instance, "settings"), form(id=9, notes="moved"))
    assert list(RdsInstance.objects.values_list("pk", "notes")) == [(7, "moved")]


def test_the_password_is_never_shown(admin_client: Client, instance: RdsInstance) -> None:
    answer = admin_client.get(page(instance, "settings")).content.decode()
    assert SECRET not in answer
    assert instance.password.token not in answer
    wrong = admin_client.post(
        page(instance, "settings"), form(name="", new_password="typed-in-vain")
    )
    assert "typed-in-vain" not in wrong.content.decode()


def test_the_history_has_no_password(admin_client: Client, instance: RdsInstance) -> None:
    admin_client.post(page(instance, "settings"), form(new_password="another-one"))
    entry = LogEntry.objects.get()
    assert "another-one" not in f"{entry.change_message}{entry.object_repr}"
    assert "Password" in entry.get_change_message()


def test_an_edit_keeps_the_stored_password(admin_client: Client, instance: RdsInstance) -> None:
    admin_client.post(page(instance, "settings"), form(name="renamed"))
    instance.refresh_from_db()
    assert (instance.name, instance.reveal_password()) == ("renamed", SECRET)


@pytest.mark.parametrize(
    "change",
    [
        {"host": "elsewhere.example.com"},
        {"port": 6432},
        {"user": "somebody"},
        {"ssl_mode": "require"},
        {"ssl_ca": Authority.make().pem},
        {"require_auth": "md5"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_server_needs_the_password_again(
    admin_client: Client, instance: RdsInstance, change: dict[str, Any]
) -> None:
    answer = admin_client.post(page(instance, "settings"), form(**change))
    assert "enter it again" in text_of(answer)
    instance.refresh_from_db()
    assert instance.reveal_password() == SECRET
    admin_client.post(page(instance, "settings"), form(**change, new_password="entered"))
    instance.refresh_from_db()
    assert instance.reveal_password() == "entered"


def test_line_ends_of_the_browser_leave_the_ca_as_it_is(admin_client: Client) -> None:
    ca = Authority.make().pem
    row = instance_row(7, ssl_ca=ca)
    admin_client.post(page(row, "settings"), form(ssl_ca=ca.replace("\n", "\r\n"), notes="new"))
    row.refresh_from_db()
    assert (row.ssl_ca, row.notes) == (ca, "new")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"host": "one.example.com,two.example.com"}, "one host name, address"),
        ({"ssl_mode": "verify-ca"}, "verify-ca needs a CA"),
        ({"ssl_ca": "no certificate"}, "contains no certificates"),
    ],
)
def test_settings_of_no_use_are_refused_in_words(
    admin_client: Client, instance: RdsInstance, change: dict[str, Any], expected: str
) -> None:
    answer = admin_client.post(page(instance, "settings"), form(**change, new_password="entered"))
    assert expected in text_of(answer)
    instance.refresh_from_db()
    assert instance.reveal_password() == SECRET


def test_what_is_out_of_use_is_no_master(admin_client: Client) -> None:
    row = instance_row(7, is_active=False)
    answer = admin_client.post(page(row, "settings"), form(is_master="on"))
    assert "can't be the master while it is inactive" in text_of(answer)


def test_a_new_instance_may_be_out_of_use(admin_client: Client) -> None:
    admin_client.post(f"{LIST}add/", form(new_password=SECRET))
    assert not RdsInstance.objects.get().is_active


def test_the_worst_come_first(admin_client: Client) -> None:
    healths = [Health.HEALTHY, Health.UNKNOWN, Health.DEGRADED, Health.DOWN]
    for number, health in enumerate(healths, 1):
        instance_row(number, health=health)
    instance_row(5, health=Health.DOWN, is_active=False)
    rows = admin_client.get(LIST).context["cl"].result_list
    assert [row.pk for row in rows] == [4, 3, 2, 1, 5]


def test_the_list_tells_how_fresh_each_sync_has_it(
    admin_client: Client, instance: RdsInstance
) -> None:
    confirmation("tenant_summaries", "7", ago=timedelta(minutes=7), rows=1234)
    shown = text_of(admin_client.get(LIST))
    assert re.search(r"tenants 7 min ago .*ghosts never unknown", shown)
    assert "1,234" in shown


def test_what_was_never_read_is_unknown(admin_client: Client, instance: RdsInstance) -> None:
    row = admin_client.get(LIST).context["cl"].result_list[0]
    assert row.tenant_count is None


def test_an_instance_is_found_by_its_id(admin_client: Client, instance: RdsInstance) -> None:
    instance_row(8)
    shown = text_of(admin_client.get(LIST, {"q": "8"}))
    assert "8 rds8" in shown
    assert "7 rds7" not in shown


def test_a_stronger_ssl_mode_binds_the_password_to_it(admin_client: Client) -> None:
    row = instance_row(7, ssl_mode="require")
    admin_client.post(page(row, "settings"), form(ssl_mode="verify-full"))
    answer = admin_client.post(page(row, "settings"), form(ssl_mode="require"))
    assert "enter it again" in text_of(answer)


def test_a_missing_privilege_is_told_with_its_grant(
    admin_client: Client, registered: InstanceFleet
) -> None:
    registered[2].execute("REVOKE SELECT ON locations FROM rainbo")
    answer = admin_client.post(f"{LIST}2/test-connection/", follow=True)
    assert "GRANT SELECT" in said(answer)


def test_an_edit_leaves_a_password_that_was_rotated_meanwhile(
    admin_client: Client, instance: RdsInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RdsInstance.save
    rotated = encrypt("rotated", instance.binding)

    def rotation_comes_between(self: RdsInstance, *args: Any, **kwargs: Any) -> None:
        RdsInstance.objects.filter(pk=7).update(password=rotated)
        save(self, *args, **kwargs)

    monkeypatch.setattr(RdsInstance, "save", rotation_comes_between)
    admin_client.post(page(instance, "settings"), form(notes="new"))
    row = RdsInstance.objects.get()
    assert (row.notes, row.reveal_password()) == ("new", "rotated")


def test_a_new_master_takes_over(admin_client: Client, instance: RdsInstance) -> None:
    instance_row(1, is_master=True)
    assert admin_client.post(page(instance, "settings"), form(is_master="on")).status_code == 302
    masters = RdsInstance.objects.filter(is_master=True)
    assert [row.pk for row in masters] == [instance.pk]


def test_the_only_master_is_not_cleared(admin_client: Client, instance: RdsInstance) -> None:
    RdsInstance.objects.filter(pk=instance.pk).update(is_master=True)
    shown = text_of(admin_client.post(page(instance, "settings"), form()))
    assert "mark another instance as the master" in shown
    assert RdsInstance.objects.get(pk=instance.pk).is_master


def test_an_edit_leaves_what_checks_found_meanwhile(
    admin_client: Client, instance: RdsInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = RdsInstance.save

    def check_comes_between(self: RdsInstance, *args: Any, **kwargs: Any) -> None:
        RdsInstance.objects.filter(pk=7).update(health="down", system_identifier="123")
        save(self, *args, **kwargs)

    monkeypatch.setattr(RdsInstance, "save", check_comes_between)
    admin_client.post(page(instance, "settings"), form(host="new.example.com", new_password="x"))
    row = RdsInstance.objects.get()
    assert (row.host, row.health, row.system_identifier) == ("new.example.com", "down", "123")


def test_an_instance_with_tenants_stays(admin_client: Client, instance: RdsInstance) -> None:
    Tenant.objects.create(instance=instance, remote_id="1", cache_refreshed_at=timezone.now())
    answer = admin_client.post(page(instance, "delete"), {"post": "yes"}, follow=True)
    assert "1 of its tenants and 0 ghost users" in said(answer)
    assert RdsInstance.objects.exists()


def test_an_instance_without_tenants_goes(admin_client: Client, instance: RdsInstance) -> None:
    InstanceCheck.objects.create(instance=instance, minute=timezone.now(), health="down")
    assert "Health checks: 1" in text_of(admin_client.get(page(instance, "delete")))
    admin_client.post(page(instance, "delete"), {"post": "yes"})
    assert not RdsInstance.objects.exists()


def test_no_list_of_instances_is_deleted_at_once(admin_client: Client) -> None:
    instance_row(1)
    data = {"action": "delete_selected", "_selected_action": ["1"], "post": "yes"}
    admin_client.post(LIST, data)
    assert RdsInstance.objects.exists()


def test_a_viewer_sees_no_password_field(
    client: Client, instance: RdsInstance, person: Callable[..., User]
) -> None:
    person("view_rdsinstance")
    shown = text_of(client.get(page(instance, "settings")))
    assert "rds.example.com" in shown
    assert "password" not in shown.partition("Connection")[2].lower()
    assert "Test connection" not in text_of(client.get(page(instance)))


@pytest.mark.parametrize("way", ["test-connection", "check-now"])
def test_checks_take_a_post(admin_client: Client, instance: RdsInstance, way: str) -> None:
    assert admin_client.get(page(instance, way)).status_code == 405
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize("way", ["test-connection", "check-now"])
def test_checks_take_their_permission(
    client: Client, instance: RdsInstance, way: str, person: Callable[..., User]
) -> None:
    person("view_rdsinstance", "change_rdsinstance")
    assert client.post(page(instance, way)).status_code == 403
    assert not SyncRun.objects.exists()


@pytest.mark.parametrize("action", ["test_connections", "check_now"])
def test_actions_of_the_list_take_their_permission(
    client: Client, instance: RdsInstance, action: str, person: Callable[..., User]
) -> None:
    person("view_rdsinstance", "change_rdsinstance")
    client.post(LIST, {"action": action, "_selected_action": ["7"]})
    assert not SyncRun.objects.exists()


def test_check_now_requests_a_run_and_rings(
    client: Client, instance: RdsInstance, person: Callable[..., User]
) -> None:
    person("view_rdsinstance", "check_instance", "view_syncrun")
    answer = client.post(page(instance, "check-now"), follow=True)
    run = SyncRun.objects.get()
    assert (run.sync, run.state, run.trigger) == (
        "instance_health",
        RunState.QUEUED,
        Trigger.BUTTON,
    )
    assert (run.actor, run.options) == ("ann", {"targets": ["7"]})
    assert OrmQ.objects.count() == 1
    assert f"/admin/syncs/syncrun/{run.pk}/change/" in said(answer)


def test_check_now_takes_several_at_once(admin_client: Client) -> None:
    for number in (1, 2):
        instance_row(number)
    instance_row(3, is_active=False)
    data = {"action": "check_now", "_selected_action": ["1", "2", "3"]}
    answer = admin_client.post(LIST, data, follow=True)
    assert SyncRun.objects.get().options == {"targets": ["1", "2"]}
    assert "instance 3 (rds3) is not active" in said(answer)


@pytest.mark.django_db(transaction=True)
def test_a_good_connection_is_told(admin_client: Client, fleet: InstanceFleet) -> None:
    row = register(fleet[2])
    answer = admin_client.post(page(row, "test-connection"), follow=True)
    assert re.search(
        r"instance 2 \(rds2\): ssl mode disable .* reached, not encrypted", said(answer)
    )
    row.refresh_from_db()
    assert (row.identity, row.last_check_at) == ("", None)


@pytest.mark.django_db(transaction=True)
def test_a_bad_connection_is_told_without_its_password(
    admin_client: Client, fleet: InstanceFleet
) -> None:
    row = register(fleet[2], password=SECRET)
    answer = admin_client.post(page(row, "test-connection"), follow=True)
    assert "rejected the password for role" in said(answer)
    assert SECRET not in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_silent_server_is_given_up_in_time(
    admin_client: Client, fleet: InstanceFleet, black_hole: tuple[str, int]
) -> None:
    host, port = black_hole
    row = register(fleet[2], host=host, port=port)
    started = timezone.now()
    answer = admin_client.post(page(row, "test-connection"), follow=True)
    assert (timezone.now() - started).total_seconds() < 10
    assert "instance 2" in said(answer)


@pytest.mark.django_db(transaction=True)
def test_an_instance_is_connected_to_before_it_is_saved(
    admin_client: Client, fleet: InstanceFleet
) -> None:
    """And its page then offers the first sync of it."""
    there = fleet[2]
    given = form(host=there.host, port=there.port, database=there.database, user=there.user)
    given |= {"ssl_mode": "disable", "save_anyway": ""}
    refused = admin_client.post(f"{LIST}add/", given | {"new_password": SECRET})
    shown = text_of(refused)
    assert "Not saved: instance 7 (rds7) rejected the password for role" in shown
    assert "choose to save without connecting. Enter the password again" in shown
    assert SECRET not in refused.content.decode()
    assert not RdsInstance.objects.exists()
    good = given | {"new_password": there.rainbo_password, "is_active": "on"}
    good |= {"has_tenants": "on", "has_ghosts": "on"}
    added = admin_client.post(f"{LIST}add/", good, follow=True)
    row = RdsInstance.objects.get()
    assert added.redirect_chain[-1][0] == page(row)
    assert row.identity
    assert "Nothing of it has been read yet. “Sync now” requests its first syncs" in text_of(added)
    admin_client.post(page(row, "sync-now"))
    asked = SyncRun.objects.order_by("pk").values_list("sync", "state", "options")
    only = {"targets": ["7"]}
    assert list(asked) == [
        ("instance_health", "queued", only),
        ("tenant_summaries", "queued", only | {"force": True}),
        ("ghost_users", "queued", only),
    ]
    first = SyncRun.objects.earliest("pk").pk
    waits = text_of(admin_client.get(page(row)))
    assert f"Its first syncs were requested: run {first} (Health checks, queued), run" in waits
    assert "Nothing of it has been read yet" not in waits


@pytest.mark.django_db(transaction=True)
def test_another_password_is_tried_and_another_note_is_not(
    admin_client: Client, fleet: InstanceFleet
) -> None:
    row = register(fleet[2])
    kept = {name: getattr(row, name) for name in ("id", "name", "host", "port", "database", "user")}
    given = form(**kept, ssl_mode="disable", save_anyway="", is_active="on")
    assert "rejected the password" in text_of(
        admin_client.post(page(row, "settings"), given | {"new_password": SECRET})
    )
    fleet[2].server.stop()
    assert admin_client.post(page(row, "settings"), given | {"notes": "moved"}).status_code == 302
    assert RdsInstance.objects.get().notes == "moved"
    assert (
        "can't be reached"
        in (
            shown := text_of(
                admin_client.post(
                    page(row, "settings"), given | {"database": "other", "new_password": "typed"}
                )
            )
        )
        or "refused the connection" in shown
    )


def test_too_many_tests_at_once_are_refused(admin_client: Client) -> None:
    for number in range(1, 10):
        instance_row(number)
    data = {"action": "test_connections", "_selected_action": [str(n) for n in range(1, 10)]}
    assert "at most 8" in said(admin_client.post(LIST, data, follow=True))


def test_the_form_refuses_a_password_in_clear_without_encryption(admin_client: Client) -> None:
    given = form(new_password=SECRET, ssl_mode="prefer", require_auth="password")
    assert "in clear text needs an ssl mode that encrypts" in text_of(
        admin_client.post(f"{LIST}add/", given)
    )
    assert not RdsInstance.objects.exists()


@pytest.fixture
def reports(client: Client) -> Iterator[list[str]]:
    """What is reported of errors in pages, as text and as a page."""
    made: list[str] = []

    def report(request: HttpRequest, **_: object) -> None:
        kind, error, trace = sys.exc_info()
        reporter = ExceptionReporter(request, kind, error, trace, is_email=True)
        made.extend([reporter.get_traceback_text(), reporter.get_traceback_html()])

    got_request_exception.connect(report)
    yield made
    got_request_exception.disconnect(report)


@pytest.mark.parametrize("way", ["add", "7/settings"])
def test_a_report_of_a_failed_save_has_no_password(
    admin_client: Client, instance: RdsInstance, reports: list[str], way: str
) -> None:
    query(
        "CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'boom'; END $$"
    )
    query("CREATE TRIGGER boom BEFORE INSERT OR UPDATE ON rds_instances EXECUTE FUNCTION boom()")
    admin_client.raise_request_exception = False
    given = form(id=8, name="other", host="other.example.com", new_password="typed-in-vain")
    assert admin_client.post(f"{LIST}{way}/", given).status_code == 500
    assert len(reports) == 2
    for report in reports:
        assert "boom" in report
        assert "typed-in-vain" not in report


def test_a_report_of_a_failed_sealing_has_no_password(
    admin_client: Client, reports: list[str], settings: Settings
) -> None:
    settings.RAINBO_CREDENTIAL_KEYS = ["not a key"]
    admin_client.raise_request_exception = False
    answer = admin_client.post(f"{LIST}add/", form(new_password="typed-in-vain"))
    assert (answer.status_code, len(reports)) == (500, 2)
    for report in reports:
        assert "set_password" in report
        assert "typed-in-vain" not in report


def test_a_report_of_a_failed_connection_has_no_password(registered: InstanceFleet) -> None:
    registered[2].server.stop()
    with (
        pytest.raises(ConnectionFailed) as raised,
        connections.connect(RdsInstance.objects.get(pk=2), "test"),
    ):
        pass
    reporter = ExceptionReporter(None, raised.type, raised.value, raised.tb)
    assert registered[2].rainbo_password not in reporter.get_traceback_html()
