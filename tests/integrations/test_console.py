"""The console's pages of connections and records."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from activity.models import Activity
from integrations import look, states
from integrations.due import State
from integrations.models import Connection, ExternalRecord
from localfleet.services.github import GitHub
from syncs.models import SyncRun, Trigger
from tests.integrations.rows import TOKEN, connection, fetch
from tests.rows import staff

pytestmark = pytest.mark.django_db(transaction=True)

LIST = reverse("admin:integrations_connection_changelist")
RECORDS = reverse("admin:integrations_externalrecord_changelist")


def person(name: str, *permissions: str) -> User:
    user = staff(name)
    wanted = Permission.objects.filter(
        content_type__app_label="integrations", codename__in=permissions
    )
    user.user_permissions.set(wanted)
    return user


OWN = ("view_connection", "add_connection", "change_connection", "delete_connection")
OWNER = (*OWN, "view_externalrecord")


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def page(row: Connection) -> str:
    return reverse("admin:integrations_connection_change", args=[row.pk])


def button(row: Connection, what: str) -> str:
    return reverse(f"admin:integrations_connection_{what}", args=[row.pk])


def text(answer: Any) -> str:
    return str(answer.content.decode())


def record(row: Connection, title: str = "a mark", **fields: Any) -> ExternalRecord:
    times = {"first_seen_at": timezone.now(), "changed_at": timezone.now()}
    known = {"kind": "issue", "external_id": title, "title": title, "body": {"mark": 1}}
    return ExternalRecord.objects.create(connection=row, **times | known | fields)


def test_what_needs_a_hand_comes_first() -> None:
    connection(name="fine", last_successful_update_at=timezone.now())
    connection(name="retried", attempt=1, not_before=timezone.now(), last_error="status 500")
    connection(name="rejected", reconnect_since=timezone.now(), last_error="401")
    shown = text(signed_in(staff("root", is_superuser=True)).get(LIST))
    listed = shown[shown.index('id="result_list"') :]
    places = [listed.index(f": {name}") for name in ("rejected", "retried", "fine")]
    assert places == sorted(places)
    assert "needs to be connected again" in shown


def test_the_list_counts_each_state_and_shows_those_of_one() -> None:
    bob, now = person("bob", *OWNER), timezone.now()
    connection(name="fine", owner=bob, last_successful_update_at=now)
    connection(name="well", owner=bob, last_successful_update_at=now)
    connection(name="rejected", owner=bob, reconnect_since=now, last_error="401")
    connection(name="of another", reconnect_since=now)
    client = signed_in(bob)
    counts = re.findall(
        r'<a href="(.*?)"><span class="badge badge-\w+">(.*?)</span> (.*?)</a>',
        text(client.get(LIST)),
    )
    shown = [(url, state, strip_tags(number)) for url, state, number in counts]
    assert shown == [
        ("?state=reconnect", "needs to be connected again", "1"),
        ("?state=connected", "connected", "2"),
    ]
    found = text(client.get(f"{LIST}?state=connected"))
    assert [name in found for name in ("fine", "well", "rejected")] == [True, True, False]
    assert "?state=reconnect" in found, "counted whatever is shown"
    assert "fine" not in text(client.get(f"{LIST}?state=typo"))


def test_a_page_says_the_state_the_next_time_and_why(hub: GitHub) -> None:
    hub.add_repository("home")
    owner = person("bob", *OWNER)
    row = connection(hub.url, owner=owner)
    fetch(row)
    shown = text(signed_in(owner).get(page(row)))
    for said in ("It is fetched every 15 min.", "connected", "added 1", "All records", "Sync now"):
        assert said in shown


def test_an_account_is_connected_by_a_form_and_its_token_is_shown_nowhere() -> None:
    owner = person("bob", *OWNER)
    client = signed_in(owner)
    data = {"service": "github", "name": "work", "token": TOKEN, "account": "", "minutes": "20"}
    answer = client.post(reverse("admin:integrations_connection_add"), data)
    row = Connection.objects.get()
    assert answer.status_code == 302, text(answer)
    assert (row.owner, row.update_frequency_minutes) == (owner, 20)
    assert row.reveal_credentials() == {"token": TOKEN}
    entry = Activity.objects.get(action="connection.added")
    pages = [text(client.get(url)) for url in (LIST, page(row), RECORDS)]
    assert TOKEN not in "".join([*pages, str(entry.before), str(entry.after)])


@pytest.mark.parametrize(
    "wrong", [{"token": "two words"}, {"base_url": "http://x.example"}, {"service": "nowhere"}]
)
def test_a_form_that_is_wrong_connects_nothing_and_repeats_no_token(wrong: Any) -> None:
    data = {"service": "github", "name": "work", "token": TOKEN} | wrong
    client = signed_in(person("bob", *OWNER))
    answer = client.post(reverse("admin:integrations_connection_add"), data)
    assert answer.status_code == 200
    assert TOKEN not in text(answer)
    assert not Connection.objects.exists()


def test_a_private_connection_is_seen_by_its_owner_and_who_manages_all() -> None:
    row = connection(owner=person("ann", *OWNER), name="private one")
    other, manager = person("bob", *OWNER), person("eve", *OWNER, "manage_connections")
    assert "private one" not in text(signed_in(other).get(LIST))
    assert signed_in(other).post(button(row, "fetch")).status_code == 404
    assert "private one" in text(signed_in(manager).get(LIST))
    assert signed_in(manager).get(page(row)).status_code == 200


def test_records_of_a_private_connection_are_its_owners_alone() -> None:
    owner = person("ann", *OWNER)
    row = connection(owner=owner)
    mark = record(row)
    address = reverse("admin:integrations_externalrecord_change", args=[mark.pk])
    for name in ("manager", "root"):
        user = person(name, *OWNER, "manage_connections")
        user.is_superuser = name == "root"
        user.save()
        client = signed_in(user)
        assert "a mark" not in text(client.get(RECORDS)) + text(client.get(address, follow=True))
    assert "a mark" in text(signed_in(owner).get(RECORDS))
    Connection.objects.update(is_shared=True)
    assert "a mark" in text(signed_in(User.objects.get(username="manager")).get(RECORDS))


def test_records_are_found_by_title_and_by_connection() -> None:
    owner = person("ann", *OWNER)
    one, two = connection(owner=owner), connection(owner=owner, name="two")
    record(one, "first of one")
    record(one, "second of one", gone_at=timezone.now())
    record(two, "first of two")
    client = signed_in(owner)
    found = text(client.get(RECORDS, {"q": "first", "connection": str(one.pk)}))
    assert "first of one" in found
    assert "first of two" not in found
    assert "second of one" in text(client.get(RECORDS, {"gone": "only"}))


def test_a_link_that_a_service_made_up_runs_no_script() -> None:
    owner = person("ann", *OWNER)
    row = record(connection(owner=owner), "<script>alert(1)</script>", link="javascript:alert(2)")
    address = reverse("admin:integrations_externalrecord_change", args=[row.pk])
    shown = text(signed_in(owner).get(address))
    assert "<script>alert(1)" not in shown
    assert 'href="javascript' not in shown


def test_sync_now_requests_a_run_of_this_connection_alone() -> None:
    owner = person("ann", *OWNER)
    row = connection(owner=owner)
    signed_in(owner).post(button(row, "fetch"))
    run = SyncRun.objects.get()
    assert (run.sync, run.trigger, run.options) == (
        "github",
        Trigger.BUTTON,
        {"targets": [row.key]},
    )


def test_a_pause_keeps_it_from_being_due_and_ends_by_itself() -> None:
    owner = person("ann", *OWNER)
    row = connection(owner=owner)
    client = signed_in(owner)
    client.post(button(row, "pause"), {"hours": "24", "reason": "holidays"})
    assert not look.look()
    assert "holidays" in text(client.get(page(row)))
    client.post(button(row, "resume"))
    assert look.look()
    actions = Activity.objects.filter(action__startswith="connection.").order_by("pk")
    assert [a.action for a in actions] == ["connection.paused", "connection.resumed"]


def test_a_pause_without_a_reason_pauses_nothing() -> None:
    owner = person("ann", *OWNER)
    row = connection(owner=owner)
    signed_in(owner).post(button(row, "pause"), {"hours": "24", "reason": " "})
    row.refresh_from_db()
    assert row.paused_until is None


def test_connecting_again_makes_it_due() -> None:
    owner = person("ann", *OWNER)
    row = connection(owner=owner, reconnect_since=timezone.now(), last_error="401")
    signed_in(owner).post(button(row, "reconnect"), {"token": "another-token"})
    row.refresh_from_db()
    assert row.reveal_credentials() == {"token": "another-token"}
    assert states.judge([row], timezone.now())[row.pk].state is State.DUE


def test_a_deleted_connection_takes_its_records_along() -> None:
    owner = person("ann", *OWNER)
    row = connection(owner=owner)
    record(row)
    url = reverse("admin:integrations_connection_delete", args=[row.pk])
    signed_in(owner).post(url, {"post": "yes"})
    assert not Connection.objects.exists()
    assert not ExternalRecord.objects.exists()
    assert Activity.objects.filter(action="connection.deleted").exists()


def test_what_a_person_who_left_connected_rests() -> None:
    row = connection(owner=person("ann", *OWNER))
    User.objects.update(is_active=False)
    assert not look.look()
    row.refresh_from_db()
    assert states.judge([row], timezone.now())[row.pk].why == "its owner is deactivated"


def test_the_first_page_names_connections_that_need_a_person() -> None:
    row = connection(reconnect_since=timezone.now() - timedelta(hours=1), last_error="401")
    shown = text(signed_in(staff("root", is_superuser=True)).get(reverse("admin:index")))
    assert f"connection {row.pk} (github) needs to be connected again" in shown.replace("C", "c")
    assert page(row) in shown


def test_who_may_not_read_records_is_led_to_none() -> None:
    row = connection(owner=person("ann", *OWNER))
    manager = person("eve", *OWNER, "manage_connections")
    records = f"{RECORDS}?connection={row.pk}"
    assert records not in text(signed_in(manager).get(page(row)))
    assert records in text(signed_in(row.owner).get(page(row)))


def test_another_address_needs_its_credentials_again(hub: GitHub) -> None:
    """Nothing that was entered for one host is ever sent to another."""
    owner = person("bob", *OWNER)
    row = connection("https://github.example/api", owner=owner, cursor={"since": "x"})
    client, stored = signed_in(owner), Connection.objects.filter(pk=row.pk)
    data = {"name": "mine", "account": "", "update_frequency_minutes": "15", "enabled": "on"}
    for address, token, said in (
        (hub.url, "", "a token has 1 to"),
        ("http://github.example", TOKEN, "https"),
        (f"{hub.url}/?a=1", TOKEN, "the address ends with its path"),
    ):
        answer = client.post(page(row), data | {"base_url": address, "token": token})
        assert said.lower() in text(answer).lower()
        assert TOKEN not in text(answer)
        assert stored.get().base_url == row.base_url
    same = data | {"base_url": row.base_url, "token": "", "name": "renamed"}
    assert client.post(page(row), same).status_code == 302
    kept = stored.get()
    assert (kept.name, kept.generation, kept.cursor) == ("renamed", row.generation, row.cursor)
    assert kept.reveal_credentials() == {"token": TOKEN}
    moved = same | {"base_url": hub.url, "token": "other"}
    assert client.post(page(row), moved).status_code == 302
    kept = stored.get()
    assert (kept.base_url, kept.generation, kept.cursor) == (hub.url, row.generation + 1, None)
    assert kept.reveal_credentials() == {"token": "other"}
    entry = Activity.objects.filter(action="connection.changed").latest("pk")
    assert (entry.before, entry.after) == (
        {"base_url": "https://github.example/api"},
        {"base_url": hub.url},
    )


def test_a_service_with_one_address_has_no_other() -> None:
    owner = person("bob", *OWNER)
    row = connection("https://www.googleapis.com", owner=owner, service="google_calendar")
    data = {"name": "mine", "account": "", "update_frequency_minutes": "15", "enabled": "on"}
    other = data | {"base_url": "https://elsewhere.example", "token": TOKEN}
    assert signed_in(owner).post(page(row), other).status_code == 302
    row.refresh_from_db()
    assert row.base_url == "https://www.googleapis.com"
    assert row.reveal_credentials() == {"token": TOKEN}
