"""Signing in: who fails too often waits, nobody is locked out from elsewhere, all is recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from pytest_django import Settings

from activity.models import Activity
from rainbo.auth.lockout import counted_address
from tests.pages import text_of
from tests.rows import staff

pytestmark = pytest.mark.django_db

LOGIN = "/admin/login/"
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def ann() -> User:
    return staff("ann", password="right")


def try_it(client: Client, name: str = "ann", password: str = "wrong", at: str = HERE) -> Any:
    given = {"username": name, "password": password, "next": "/admin/"}
    return client.post(LOGIN, given, REMOTE_ADDR=at)


def fail(client: Client, times: int, **how: str) -> Any:
    for _ in range(times):
        answer = try_it(client, **how)
    return answer


def recorded() -> list[tuple[str, str]]:
    return list(Activity.objects.order_by("id").values_list("action", "actor"))


def test_the_fifth_failure_locks_and_the_page_says_until_when(client: Client, ann: User) -> None:
    with time_machine.travel(NOW, tick=False):
        assert fail(client, 4).status_code == 200
        locked = fail(client, 1)
    assert locked.status_code == 429
    assert locked["Retry-After"] == "900"
    page = locked.content.decode()
    assert "12:15:00 UTC" in page
    assert "15 minutes from now" in page


def test_while_locked_the_right_password_is_refused_too(client: Client, ann: User) -> None:
    fail(client, 5)
    assert try_it(client, password="right").status_code == 429
    assert client.get("/admin/").status_code == 302


def test_the_lock_ends_and_trying_meanwhile_does_not_make_it_longer(
    client: Client, ann: User
) -> None:
    with time_machine.travel(NOW, tick=False) as clock:
        fail(client, 5)
        clock.shift(timedelta(minutes=14))
        assert try_it(client, password="right").status_code == 429
        clock.shift(timedelta(minutes=1, seconds=1))
        assert try_it(client, password="right").status_code == 302


def test_nobody_is_locked_out_from_elsewhere(client: Client, ann: User) -> None:
    fail(client, 6, at=ELSEWHERE)
    assert try_it(client, password="right", at=HERE).status_code == 302


def test_a_lock_on_one_name_leaves_the_colleagues_of_the_same_office_alone(
    client: Client, ann: User
) -> None:
    staff("ben", password="right")
    fail(client, 6, name="ann")
    assert try_it(client, name="ben", password="right").status_code == 302


def test_one_address_that_tries_many_names_is_locked(client: Client, ann: User) -> None:
    for number in range(49):
        assert try_it(client, name=f"name{number}").status_code == 200
    assert try_it(client, name="name50").status_code == 429
    assert try_it(client, password="right").status_code == 429


def test_a_success_forgives_only_the_own_tries(client: Client, ann: User) -> None:
    staff("ben", password="right")
    fail(client, 4, name="ben")
    fail(client, 4)
    assert try_it(client, password="right").status_code == 302
    assert fail(client, 4).status_code == 200
    assert fail(client, 1, name="ben").status_code == 429


def test_another_browser_at_the_same_place_is_locked_as_well(client: Client, ann: User) -> None:
    fail(client, 5)
    given = {"username": "ann", "password": "right"}
    other = Client(headers={"User-Agent": "another"}).post(LOGIN, given, REMOTE_ADDR=HERE)
    assert other.status_code == 429


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", None),
    ],
)
def test_a_host_cannot_change_its_address_to_be_counted_anew(
    rf: RequestFactory, address: str, counted: str | None
) -> None:
    assert counted_address(rf.get("/", REMOTE_ADDR=address)) == counted


@pytest.mark.parametrize("header", ["203.0.113.9, 192.0.2.1", "192.0.2.1"])
def test_behind_a_proxy_the_last_hop_counts(
    rf: RequestFactory, settings: Settings, header: str
) -> None:
    settings.RAINBO_BEHIND_PROXY = True
    request = rf.get("/", REMOTE_ADDR="127.0.0.1", headers={"X-Forwarded-For": header})
    assert counted_address(request) == "192.0.2.1"


def test_without_a_proxy_nobody_chooses_their_address(rf: RequestFactory) -> None:
    request = rf.get("/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": "203.0.113.9"})
    assert counted_address(request) == "192.0.2.1"


def test_sign_in_and_out_are_recorded(client: Client, ann: User) -> None:
    try_it(client, password="right")
    client.post("/admin/logout/")
    assert recorded() == [("person.signed_in", "ann"), ("person.signed_out", "ann")]
    first = Activity.objects.earliest("id")
    assert (first.actor_id, first.address, first.subject_id) == (ann.pk, HERE, str(ann.pk))


def test_failures_and_the_lock_are_recorded_once_each(client: Client, ann: User) -> None:
    fail(client, 8)
    assert recorded() == [("person.sign_in_failed", "ann")] * 5 + [("person.locked_out", "ann")]


@pytest.mark.parametrize("typed", ["hunter2-my-password", "x" * 150, "ann "])
def test_a_password_in_the_field_of_the_name_is_stored_nowhere(
    client: Client, ann: User, typed: str
) -> None:
    try_it(client, name=typed if typed != "ann " else "hunter2 ")
    assert recorded() == [("person.sign_in_failed", "unknown user")]
    attempt = AccessAttempt.objects.get()
    stored = " ".join(map(str, vars(attempt).values()))
    assert typed not in stored
    assert "wrong" not in stored


@pytest.mark.parametrize("name", ["nul\0name", "", "é" * 300])
def test_strange_names_are_refused_quietly(client: Client, name: str) -> None:
    assert try_it(client, name=name).status_code == 200


def test_nothing_of_the_locks_own_tables_is_in_the_console() -> None:
    shown = {model._meta.app_label for model in admin.site._registry}
    assert not shown & {"axes", "django_otp", "otp_totp", "rainbo"}


def test_the_lock_page_shows_nothing_of_the_console(client: Client, ann: User) -> None:
    page = fail(client, 5).content.decode()
    assert "/admin/tenants/" not in page
    assert "<main" in page


def test_the_sign_in_page_has_a_main_part(client: Client) -> None:
    assert "<main>" in client.get(LOGIN).content.decode()
    assert "Username" in text_of(client.get(LOGIN))
