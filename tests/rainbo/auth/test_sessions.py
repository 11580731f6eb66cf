"""Sessions end: idle, after their whole time, and when their person leaves."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from activity.models import Activity
from rainbo.auth.sessions import BEGAN
from tests.pages import text_of
from tests.rows import staff

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SIGN_IN = "/admin/login/?next=/admin/"
BY_ITSELF = {"X-Rainbo-Refresh": "1"}


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def ann(clock: Any, client: Client) -> User:
    user = staff("ann")
    client.force_login(user)
    return user


def is_in(client: Client, **headers: str) -> bool:
    return client.get("/admin/", headers=headers or None).status_code == 200


def pass_minutes(clock: Any, minutes: float) -> None:
    clock.shift(timedelta(minutes=minutes))


def test_an_hour_without_activity_ends_it(client: Client, clock: Any, ann: User) -> None:
    pass_minutes(clock, 59)
    assert is_in(client)
    pass_minutes(clock, 59)
    assert is_in(client)
    pass_minutes(clock, 60)
    assert client.get("/admin/")["Location"] == SIGN_IN
    assert not Session.objects.exists()


def test_activity_does_not_carry_it_beyond_its_whole_time(
    client: Client, clock: Any, ann: User
) -> None:
    for _ in range(23):
        pass_minutes(clock, 30)
        assert is_in(client)
    pass_minutes(clock, 30)
    assert not is_in(client)


def test_a_page_that_refreshes_itself_is_no_activity(client: Client, clock: Any, ann: User) -> None:
    for _ in range(5):
        pass_minutes(clock, 11)
        assert is_in(client, **BY_ITSELF)
    pass_minutes(clock, 5)
    answer = client.get("/admin/", headers=BY_ITSELF)
    assert (answer.status_code, answer.content) == (401, b"signed out")
    assert not is_in(client)


def test_a_page_that_refreshes_itself_is_not_led_to_the_sign_in(client: Client) -> None:
    assert client.get("/admin/", headers=BY_ITSELF).status_code == 401


def test_the_sign_in_says_why(client: Client, clock: Any, ann: User) -> None:
    pass_minutes(clock, 61)
    page = text_of(client.get("/admin/", follow=True))
    assert "You were signed out: 60 min without activity." in page


def test_the_end_is_recorded(client: Client, clock: Any, ann: User) -> None:
    pass_minutes(clock, 61)
    client.get("/admin/")
    entry = Activity.objects.get()
    assert (entry.action, entry.actor) == ("person.session_ended", "ann")
    assert entry.after == {"why": "60 min without activity"}


def test_a_session_whose_beginning_is_unknown_ends(client: Client, ann: User) -> None:
    session = client.session
    del session[BEGAN]
    session.save()
    assert not is_in(client)


def test_the_limits_are_settings(client: Client, clock: Any, ann: User, settings: Settings) -> None:
    settings.RAINBO_SESSION_IDLE = 5 * 60
    pass_minutes(clock, 4)
    assert is_in(client)
    pass_minutes(clock, 5)
    assert not is_in(client)


def test_a_late_post_does_nothing(client: Client, clock: Any) -> None:
    client.force_login(staff("root", is_superuser=True))
    pass_minutes(clock, 61)
    client.post("/admin/auth/group/add/", {"name": "intruder"})
    assert not Activity.objects.filter(action="group.created").exists()


@pytest.mark.parametrize("lost", ["is_active", "is_staff"])
def test_who_is_deactivated_or_no_longer_staff_is_out_at_once(
    client: Client, ann: User, lost: str
) -> None:
    assert is_in(client)
    User.objects.update(**{lost: False})
    assert client.get("/admin/")["Location"] == SIGN_IN
    assert client.get("/admin/second-factor/").status_code == 302


def test_a_new_password_ends_the_other_sessions(client: Client, ann: User) -> None:
    ann.set_password("another")
    ann.save()
    assert not is_in(client)


def test_the_cookie_is_of_this_site_and_no_script_reads_it(client: Client) -> None:
    staff("ben", password="right")
    client.post("/admin/login/", {"username": "ben", "password": "right"})
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_the_database_does_not_hold_what_signs_a_person_in(client: Client, ann: User) -> None:
    assert is_in(client)
    stored = Session.objects.get().session_key
    key = client.cookies["sessionid"].value
    assert key not in str(list(Session.objects.values()))
    client.cookies["sessionid"] = stored
    assert not is_in(client)
    client.cookies["sessionid"] = key
    assert is_in(client)


def test_a_sign_out_removes_the_stored_session(client: Client, ann: User) -> None:
    client.post("/admin/logout/")
    assert not Session.objects.exists()


def test_a_sign_in_ends_the_session_before_it(client: Client, ann: User) -> None:
    before = client.cookies["sessionid"].value
    client.session.cycle_key()
    client.cookies["sessionid"] = before
    assert not is_in(client)
