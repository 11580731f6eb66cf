"""Two-factor authentication: required where it must be, each code once, optional elsewhere."""

from __future__ import annotations

import re
from base64 import b32decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client
from django_otp.oath import totp
from pytest_django import Settings

from activity.models import Activity
from common.errors import UsageError
from common.key_rotation import rotate_all
from rainbo.auth import second_factor
from rainbo.auth.second_factor import Offer
from rainbo.models import Authenticator, RecoveryCodes
from tests.pages import said, text_of
from tests.rows import staff

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 2, 12, 0, 5, tzinfo=UTC)
OWN = "/admin/second-factor/"
CODE, ENROL = f"{OWN}code/", f"{OWN}enrol/"
SECRET = b"12345678901234567890"


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def ann() -> User:
    return staff("ann", is_superuser=True)


@pytest.fixture
def codes(ann: User) -> list[str]:
    """Ann's recovery codes; she has an authenticator, and signed in by password alone."""
    found = second_factor.enrol(ann, Offer(SECRET, ann.pk), shown())
    Authenticator.objects.update(last_step=-1)
    assert found
    return found


def shown(secret: bytes = SECRET) -> str:
    """What the authenticator shows now."""
    return f"{totp(secret, t0=0):06d}"


def wrong() -> str:
    return f"{(int(shown()) + 1) % 1_000_000:06d}"


def enter(client: Client, code: str, **more: str) -> Any:
    return client.post(CODE, {"code": code} | more)


def actions() -> list[str]:
    return list(Activity.objects.order_by("id").values_list("action", flat=True))


def is_in(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def test_who_has_one_sees_nothing_before_the_code(
    client: Client, ann: User, codes: list[str]
) -> None:
    client.force_login(ann)
    for page in ("", "auth/user/", "second-factor/", "password_change/", "nowhere/"):
        answer = client.get(f"/admin/{page}")
        assert answer["Location"].startswith(f"{CODE}?next="), page
    client.post("/admin/auth/group/add/", {"name": "intruder"})
    assert not Group.objects.filter(name="intruder").exists()


def test_the_page_of_the_code_shows_nothing_of_the_console(
    client: Client, ann: User, codes: list[str]
) -> None:
    client.force_login(ann)
    page = client.get(CODE).content.decode()
    assert "/admin/tenants/" not in page
    assert "Signed in as <strong>ann</strong>" in page


def test_the_right_code_opens_the_console_where_one_wanted_to_go(
    client: Client, ann: User, codes: list[str]
) -> None:
    client.force_login(ann)
    before = client.session.session_key
    answer = enter(client, shown(), next="/admin/auth/user/")
    assert answer["Location"] == "/admin/auth/user/"
    assert is_in(client)
    assert client.session.session_key != before
    assert actions() == ["person.second_factor_passed"]


def test_it_leads_to_no_other_site(client: Client, ann: User, codes: list[str]) -> None:
    client.force_login(ann)
    assert enter(client, shown(), next="https://evil.example/")["Location"] == "/admin/"


def test_a_wrong_code_is_refused_and_recorded(client: Client, ann: User, codes: list[str]) -> None:
    client.force_login(ann)
    assert "That code is wrong" in text_of(enter(client, wrong()))
    assert not is_in(client)
    assert actions() == ["person.second_factor_failed"]


def test_a_code_is_good_once(client: Client, ann: User, codes: list[str], clock: Any) -> None:
    client.force_login(ann)
    code = shown()
    assert enter(client, code).status_code == 302
    another = Client()
    another.force_login(ann)
    assert enter(another, code).status_code == 200
    clock.shift(timedelta(seconds=30))
    assert enter(another, shown()).status_code == 302


@pytest.mark.parametrize(("seconds", "taken"), [(-30, True), (30, True), (-60, False), (60, False)])
def test_clocks_may_differ_by_one_code(
    client: Client, ann: User, codes: list[str], seconds: int, taken: bool
) -> None:
    client.force_login(ann)
    code = f"{totp(SECRET, t0=-seconds):06d}"
    assert (enter(client, code).status_code == 302) is taken


def test_each_failure_doubles_the_wait(
    client: Client, ann: User, codes: list[str], clock: Any
) -> None:
    client.force_login(ann)
    for seconds in (1, 2, 4):
        enter(client, wrong())
        assert "Too many wrong codes: wait until" in text_of(enter(client, shown()))
        clock.shift(timedelta(seconds=seconds))
    assert enter(client, shown()).status_code == 302
    assert actions().count("person.second_factor_failed") == 3


def test_the_wait_has_an_end(ann: User, codes: list[str], clock: Any) -> None:
    device = Authenticator.of(ann)
    for _ in range(50):
        device.throttle_increment()
    clock.shift(timedelta(minutes=18))
    assert second_factor.wait_until(ann, shown()) is None


@pytest.mark.parametrize("typed", [str.lower, lambda code: code.replace("-", " ")])
def test_a_recovery_code_lets_in_once(
    client: Client, ann: User, codes: list[str], typed: Any
) -> None:
    client.force_login(ann)
    answer = client.post(CODE, {"code": typed(codes[0])}, follow=True)
    assert "9 are left" in said(answer)
    another = Client()
    another.force_login(ann)
    assert enter(another, codes[0]).status_code == 200
    entry = Activity.objects.get(action="person.second_factor_passed")
    assert entry.after == {"by": "recovery code", "left": 9}


def test_nothing_readable_is_stored(ann: User, codes: list[str]) -> None:
    device, kept = Authenticator.of(ann), RecoveryCodes.of(ann)
    assert SECRET.hex() not in device.secret.token
    assert not {code for code in codes if code in str(kept.digests)}
    assert len(set(kept.digests)) == 10


def test_a_secret_moved_to_another_person_opens_nothing(
    client: Client, ann: User, codes: list[str]
) -> None:
    ben = staff("ben")
    Authenticator.objects.create(user=ben, secret=Authenticator.of(ann).secret)
    client.force_login(ben)
    page = text_of(enter(client, shown()))
    assert "Your authenticator's secret can't be decrypted" in page
    assert not is_in(client)


def test_keys_can_be_rotated_under_a_second_factor(
    ann: User, codes: list[str], settings: Settings
) -> None:
    new = Fernet.generate_key().decode()
    settings.RAINBO_CREDENTIAL_KEYS = [new, *settings.RAINBO_CREDENTIAL_KEYS]
    assert rotate_all().renewed == 1
    settings.RAINBO_CREDENTIAL_KEYS = [new]
    assert second_factor.prove(ann, shown())


def offer_on(page: Any) -> dict[str, str]:
    html = page.content.decode()
    found = re.search(r'name="offer" value="([^"]+)"', html)
    text = re.search(r'<code class="command">([A-Z2-7 ]+)</code>', html)
    assert found
    assert text
    return {"offer": found[1], "code": shown(b32decode(text[1].replace(" ", "")))}


def test_enrolling_takes_a_picture_or_text_and_the_proof(client: Client, ann: User) -> None:
    client.force_login(ann)
    page = client.get(ENROL)
    assert "<svg" in page.content.decode()
    assert (
        "<script"
        not in page.content.decode().partition('class="code-picture"')[2].partition("</svg>")[0]
    )
    done = client.post(ENROL, offer_on(page))
    codes = re.findall(r"<code>([A-Z2-7-]{19})</code>", done.content.decode())
    assert len(set(codes)) == 10
    assert "no-store" in done["Cache-Control"]
    assert is_in(client)
    assert actions() == ["person.second_factor_enrolled"]


def test_nothing_is_enrolled_without_the_proof(client: Client, ann: User) -> None:
    client.force_login(ann)
    given = offer_on(client.get(ENROL))
    page = client.post(ENROL, given | {"code": f"{(int(given['code']) + 1) % 1_000_000:06d}"})
    assert "That code is wrong" in text_of(page)
    assert offer_on(page)["code"] == given["code"], "the same secret: it is in the app already"
    assert not Authenticator.objects.exists()


@pytest.mark.parametrize("whose", ["another's", "old", "forged"])
def test_an_offer_is_for_one_person_and_a_while(
    client: Client, ann: User, clock: Any, whose: str
) -> None:
    client.force_login(ann)
    offer = Offer(SECRET, ann.pk + (whose == "another's")).encrypted()
    if whose == "old":
        clock.shift(timedelta(minutes=31))
    sent = {"offer": "forged" if whose == "forged" else offer, "code": shown()}
    assert "That took too long" in text_of(client.post(ENROL, sent))
    assert not Authenticator.objects.exists()


def test_nobody_enrols_over_a_second_factor(client: Client, ann: User, codes: list[str]) -> None:
    client.force_login(ann)
    assert client.get(ENROL)["Location"].startswith(CODE)
    enter(client, shown())
    sent = {"offer": Offer(b"x" * 20, ann.pk).encrypted(), "code": shown(b"x" * 20)}
    assert client.post(ENROL, sent)["Location"] == OWN
    assert Authenticator.objects.count() == 1


@pytest.mark.parametrize(
    ("names", "group", "superuser", "led"),
    [
        ([], "support_admin", False, False),
        (["support_admin"], "support_admin", False, True),
        (["support_admin"], "read_only", False, False),
        (["support_admin"], "read_only", True, True),
        (["all"], "", False, True),
    ],
)
def test_who_must_have_one_is_led_to_it(
    client: Client, settings: Settings, names: list[str], group: str, superuser: bool, led: bool
) -> None:
    settings.RAINBO_REQUIRE_MFA = names
    user = staff("ben", is_superuser=superuser)
    user.groups.set(Group.objects.filter(name=group))
    client.force_login(user)
    answer = client.get("/admin/")
    assert (answer.status_code == 302) is led
    if led:
        assert answer["Location"] == f"{ENROL}?next=%2Fadmin%2F"
        assert "requires two-factor authentication" in text_of(client.get(ENROL))


def test_who_must_have_one_is_in_once_it_is_set_up(client: Client, settings: Settings) -> None:
    settings.RAINBO_REQUIRE_MFA = ["all"]
    client.force_login(staff("ben"))
    client.post(ENROL, offer_on(client.get(ENROL)))
    assert is_in(client)


def test_a_person_without_one_who_needs_none_notices_nothing(client: Client) -> None:
    client.force_login(staff("ben"))
    assert is_in(client)
    assert "Two-factor authentication is off" in text_of(client.get(OWN))


def test_new_recovery_codes_void_the_old(client: Client, ann: User, codes: list[str]) -> None:
    client.force_login(ann)
    enter(client, codes[0])
    page = client.post(f"{OWN}codes/", {"code": shown()})
    assert len(re.findall(r"<code>[A-Z2-7-]{19}</code>", page.content.decode())) == 10
    assert second_factor.prove(ann, codes[1]) is None
    assert "person.recovery_codes_renewed" in actions()


@pytest.mark.parametrize("what", ["codes", "remove"])
def test_an_open_desk_is_not_enough_to_change_it(
    client: Client, ann: User, codes: list[str], what: str
) -> None:
    client.force_login(ann)
    enter(client, shown())
    answer = client.post(f"{OWN}{what}/", {"code": wrong()}, follow=True)
    assert "That code is wrong" in said(answer)
    assert Authenticator.objects.exists()
    assert second_factor.prove(ann, codes[0])


def test_it_can_be_removed_unless_it_must_be_there(
    client: Client, ann: User, codes: list[str], settings: Settings
) -> None:
    client.force_login(ann)
    enter(client, codes[0])
    settings.RAINBO_REQUIRE_MFA = ["all"]
    client.post(f"{OWN}remove/", {"code": shown()})
    assert Authenticator.objects.exists()
    settings.RAINBO_REQUIRE_MFA = []
    client.post(f"{OWN}remove/", {"code": shown()})
    assert not Authenticator.objects.exists()
    assert not RecoveryCodes.objects.exists()
    assert is_in(client)


def reset(client: Client, user: User) -> Any:
    return client.post(f"/admin/auth/user/{user.pk}/reset-second-factor/", follow=True)


def test_who_looks_after_people_resets_it(client: Client, codes: list[str]) -> None:
    ann = User.objects.get()
    client.force_login(staff("root", is_superuser=True))
    page = text_of(client.get(f"/admin/auth/user/{ann.pk}/change/"))
    assert "Reset two-factor authentication of ann" in page
    assert "10 recovery codes" in page
    assert "Two-factor authentication of ann was reset" in said(reset(client, ann))
    assert not Authenticator.objects.exists()
    entry = Activity.objects.get(action="person.second_factor_reset")
    assert (entry.actor, entry.subject) == ("root", "ann")


def test_nobody_resets_a_superusers_but_a_superuser(client: Client, codes: list[str]) -> None:
    ben = staff("ben")
    ben.user_permissions.set(Permission.objects.filter(codename__in=["change_user", "view_user"]))
    client.force_login(ben)
    assert reset(client, User.objects.get(username="ann")).status_code == 403
    assert Authenticator.objects.exists()


def test_the_last_superuser_is_let_in_from_the_machine(
    codes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("reset_second_factor", "ann")
    assert capsys.readouterr().out == "Two-factor authentication of ann is off.\n"
    assert not Authenticator.objects.exists()
    assert Activity.objects.get().actor == "command line"
    with pytest.raises(UsageError, match="there is no user bob"):
        call_command("reset_second_factor", "bob")


def test_the_gate_costs_no_query(client: Client, django_assert_num_queries: Any) -> None:
    client.force_login(staff("ben"))
    client.get("/admin/password_change/done/")
    with django_assert_num_queries(2):  # the session, and the person
        client.get("/admin/jsi18n/")
