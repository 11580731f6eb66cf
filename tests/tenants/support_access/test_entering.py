"""The button of a tenant's page, as a browser presses it; and attempts that have to fail."""

from __future__ import annotations

import csv
import logging
import re
import time
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from pytest_django import Settings

from activity.models import Activity
from common import two_factor
from common.clock import database_now
from common.encryption import Encrypted
from rainbo.auth.roles import ROLES
from rainbo.models import Authenticator
from tenants.models import RdsInstance, SupportKey, SupportOptOut, SupportSession, UserRoute
from tenants.support_access import sessions
from tests.instances import InstanceFleet
from tests.pages import said, text_of
from tests.rows import staff, support_session
from tests.tenants.support_access.test_sessions import ISSUER, REASON, Place

FORM = {"reason": REASON, "ticket": "SUP-7", "minutes": "30", "read_only": "on"}


@pytest.fixture
def place(set_up: InstanceFleet, settings: Settings) -> Place:
    settings.RAINBO_CONSOLE_URL = ISSUER
    place = Place(set_up)
    place.user.groups.add(Group.objects.get(name="support_admin"))
    return place


def signed_in(client: Client, user: User, ago: int = 0) -> Client:
    """As after the password and a code so many seconds ago."""
    device = Authenticator.of(user) or Authenticator.objects.create(
        user=user, secret=Encrypted("x"), name="authenticator"
    )
    client.force_login(user)
    session = client.session
    session["otp_device_id"] = device.persistent_id
    session["two_factor_at"] = int(time.time()) - ago
    session.save()
    return client


def page_of(place: Place) -> str:
    return f"/admin/tenants/tenant/{place.tenant.pk}/"


def enter(client: Client, place: Place, **given: str) -> Any:
    return client.post(f"{page_of(place)}enter/", FORM | given)


def assertion_of(page: Any) -> str:
    found = re.search(r'name="assertion" value="([^"]+)"', page.content.decode())
    return unescape(found[1]) if found else ""


def test_the_way_from_the_tenants_page_into_the_application(place: Place, client: Client) -> None:
    signed_in(client, place.user)
    tenant = client.get(f"{page_of(place)}change/")
    assert f'href="{page_of(place)}enter/"' in tenant.content.decode()
    form = client.get(f"{page_of(place)}enter/")
    assert "Tenant 42 on instance 2 (rds2)" in text_of(form)
    assert "no-store" in form["Cache-Control"]
    assert "app.example" not in form["Content-Security-Policy"]
    page = enter(client, place)
    assert (page.status_code, page["Referrer-Policy"]) == (200, "no-referrer")
    assert "no-store" in page["Cache-Control"]
    policy = dict(part.strip().split(" ", 1) for part in page["Content-Security-Policy"].split(";"))
    assert policy["form-action"] == "'self' https://app.example"
    assert policy["script-src"] == "'self' 'unsafe-eval'"
    html = page.content.decode()
    forms = re.findall(r"<form[^>]*>.*?</form>", html, re.DOTALL)
    (leaving,) = [form for form in forms if "app.example" in form]
    assert 'action="https://app.example/base/rainbo/enter"' in leaving
    assert "application https://app.example " in text_of(page), "a person sees where it goes"
    assert "csrfmiddlewaretoken" not in leaving, "RAINBO's own secret stays here"
    assert "?" not in re.findall('action="([^"]+)"', leaving)[0]
    assert not re.search(r"<script(?![^>]*\bsrc=)", html), "no script of the page presses it"
    row = SupportSession.objects.get()
    assert (row.read_only, row.session_seconds, row.ticket) == (True, 1800, "SUP-7")
    issued = sessions.Issued(row, "", assertion_of(page))
    assert place.enter(issued)
    assert not place.enter(issued)
    entry = Activity.objects.get(action="tenant.entered")
    assert (entry.actor, entry.subject, entry.address) == (
        "ann",
        "Acme (tenant 42 on instance 2)",
        "127.0.0.1",
    )
    assert {"reason": REASON, "session": str(row.jti)}.items() <= (entry.after or {}).items()
    trail = client.get(f"/admin/tenants/supportsession/{row.pk}/change/")
    assert "issued to ann" in text_of(trail)
    over = client.post(f"/admin/tenants/supportsession/{row.pk}/end/", follow=True)
    assert said(over) == "The session is over: rainbo: ann."
    assert "refused attempts 1" in text_of(over)
    assert "ended by rainbo: ann" in text_of(over)
    assert not place.goes_on(issued)


def test_an_accounts_page_leads_there_too(place: Place, client: Client) -> None:
    key = {"email": "a@b.c", "email_key": "a@b.c", "remote_instance_id": "2", "on_master": False}
    there = {"remote_tenant_id": "42", "remote_user_id": "9", "changed_at": database_now()}
    UserRoute.objects.create(source_id="1", **key, **there)
    link = f'href="{page_of(place)}enter/"'
    for role, leads in (("read_only", False), ("support_admin", True)):
        place.user.groups.set([Group.objects.get(name=role)])
        place.user.user_permissions.clear()
        client.force_login(place.user)
        html = client.get("/admin/tenants/userroute/1/change/").content.decode()
        assert (link in html) is leads


def test_finds_rows_lead_there_where_one_may_enter(place: Place, client: Client) -> None:
    """Of an e-mail, of its beginning, and of a tenant's name; no link for what is closed."""
    there = {"remote_instance_id": "2", "on_master": False, "changed_at": database_now()}
    for number, tenant in enumerate(("42", "43", "99")):
        key = {"email": "a@b.c", "email_key": "a@b.c", "remote_tenant_id": tenant}
        UserRoute.objects.create(source_id=str(number), remote_user_id=str(number), **key, **there)
    SupportOptOut.objects.create(instance_id=2, tenant_id="43", reason="their wish", by="bob")
    link = re.compile(r'href="(/admin/tenants/tenant/\d+/enter/)"')
    reader = staff("reader")
    reader.groups.add(Group.objects.get(name="read_only"))
    for user, leads in ((reader, []), (place.user, [f"{page_of(place)}enter/"])):
        client.force_login(user)
        for term in ("a@b.c", "a@b", "Acme"):
            page = client.get("/admin/find/", {"q": term})
            assert link.findall(page.content.decode()) == leads, (user, term)
            assert ('data-label="support"' in page.content.decode()) is bool(leads)
    RdsInstance.objects.filter(pk=2).update(health="down")
    assert not link.findall(client.get("/admin/find/", {"q": "a@b.c"}).content.decode())


def test_a_session_may_write_if_that_was_asked_for(place: Place, client: Client) -> None:
    signed_in(client, place.user)
    given = {name: value for name, value in FORM.items() if name != "read_only"}
    client.post(f"{page_of(place)}enter/", given)
    assert SupportSession.objects.get().read_only is False


class TestTwoFactor:
    def test_a_stale_code_is_asked_again_and_leads_back(self, place: Place, client: Client) -> None:
        signed_in(client, place.user, ago=two_factor.RECENT + 1)
        for answer in (client.get(f"{page_of(place)}enter/"), enter(client, place)):
            assert answer.status_code == 302
            assert answer["Location"].startswith("/admin/second-factor/code/?next=%2Fadmin")
        assert not SupportSession.objects.exists()
        asked = client.get(answer["Location"])
        assert "Enter the six-digit code" in text_of(asked)
        assert "Enter a code again" in text_of(asked)

    def test_a_recent_one_suffices(self, place: Place, client: Client) -> None:
        signed_in(client, place.user, ago=two_factor.RECENT - 5)
        assert assertion_of(enter(client, place))

    def test_a_time_to_come_is_no_proof(self, place: Place, client: Client) -> None:
        signed_in(client, place.user, ago=-3600)
        assert enter(client, place).status_code == 302

    def test_without_it_nobody_enters(self, place: Place, client: Client) -> None:
        client.force_login(place.user)
        answer = enter(client, place)
        assert answer["Location"].startswith("/admin/second-factor/enrol/")
        session = client.session
        session["two_factor_at"] = int(time.time())  # a proof of a device that is gone
        session.save()
        assert enter(client, place).status_code == 302
        assert not SupportSession.objects.exists()


class TestRefused:
    @pytest.mark.parametrize("role", ["nobody", *ROLES])
    def test_every_role_presses_the_button(self, place: Place, client: Client, role: str) -> None:
        person = staff("other")
        if role in ROLES:
            person.groups.add(Group.objects.get(name=role))
        signed_in(client, person)
        answer = enter(client, place)
        if role in ("system_admin", "support_admin"):
            assert "not confirmed on instance 2" in text_of(answer), "a ghost user of their own"
        else:
            assert answer.status_code == 403
        assert not SupportSession.objects.exists()
        assert not SupportKey.objects.exists()

    def test_another_site_can_not_press_it(self, place: Place) -> None:
        client = signed_in(Client(enforce_csrf_checks=True), place.user)
        evil = {"origin": "https://evil.example", "referer": "https://evil.example/"}
        for headers in ({}, evil, {"origin": "null"}):
            answer = client.post(f"{page_of(place)}enter/", FORM, headers=headers)
            assert answer.status_code == 403
        token = re.search(
            r'name="csrfmiddlewaretoken" value="(\w+)"',
            client.get(f"{page_of(place)}enter/").content.decode(),
        )
        assert token
        with_token = FORM | {"csrfmiddlewaretoken": token[1]}
        url = f"{page_of(place)}enter/"
        assert client.post(url, with_token, headers=evil).status_code == 403
        assert not SupportSession.objects.exists()
        assert assertion_of(client.post(url, with_token)), "the attempts failed for their origin"

    def test_a_get_issues_nothing(self, place: Place, client: Client) -> None:
        signed_in(client, place.user)
        assert not assertion_of(client.get(f"{page_of(place)}enter/", FORM))
        assert not SupportSession.objects.exists()

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"reason": "aaaaaaaaaaaaaaaa"}, "Give a reason that the tenant will understand."),
            ({"reason": "short"}, "at least 10 characters"),
            ({"reason": ""}, "This field is required."),
            ({"minutes": "61"}, "not one of the available choices"),
            ({"minutes": "600"}, "not one of the available choices"),
            ({"ticket": "x" * 101}, "at most 100 characters"),
        ],
    )
    def test_what_is_typed_is_checked(
        self, place: Place, client: Client, given: dict[str, str], words: str
    ) -> None:
        signed_in(client, place.user)
        answer = enter(client, place, **given)
        assert words in text_of(answer)
        assert not SupportSession.objects.exists()

    def test_an_instance_without_the_table_says_so(self, place: Place, client: Client) -> None:
        place.there.execute("DROP TABLE rainbo_support_sessions")
        signed_in(client, place.user)
        assert "support access is not set up on instance 2" in text_of(enter(client, place))
        assert client.get(f"{page_of(place)}change/").status_code == 200


class TestDoNotEnter:
    def test_the_mark_ends_what_is_open_and_survives_a_tenant_read_again(
        self, place: Place, client: Client
    ) -> None:
        issued = place.issue()
        place.enter(issued)
        signed_in(client, place.user)
        answer = client.post(f"{page_of(place)}opt-out/", {"reason": "their wish"}, follow=True)
        assert "Do not enter: their wish (ann" in text_of(answer)
        assert "Enter as support" not in text_of(answer)
        assert not place.goes_on(issued)
        place.tenant.delete()
        place.tenant.pk = None
        place.tenant.save()
        assert "marked do not enter: their wish" in text_of(client.get(f"{page_of(place)}enter/"))

    def test_to_remove_it_takes_another_permission(self, place: Place, client: Client) -> None:
        SupportOptOut.objects.create(instance_id=2, tenant_id="42", reason="their wish", by="bob")
        signed_in(client, place.user)
        assert client.post(f"{page_of(place)}opt-in/").status_code == 403
        place.user.groups.add(Group.objects.get(name="system_admin"))
        client.post(f"{page_of(place)}opt-in/")
        assert not SupportOptOut.objects.exists()
        assert Activity.objects.filter(action="tenant.opened_to_support").exists()


class TestTrail:
    def test_the_list_is_filtered_and_exported(self, place: Place, client: Client) -> None:
        support_session(reason="=cmd|' /C calc'!A0")
        support_session(tenant_id="8", tenant_name="Other", person="yan")
        signed_in(client, place.user)
        shown = text_of(client.get("/admin/tenants/supportsession/?actor=zoe"))
        assert "Acme (42)" in shown
        assert "Other (8)" not in shown
        answer: Any = client.post("/admin/tenants/supportsession/export/?actor=zoe")
        header, row = csv.reader(
            b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
        )
        cells = dict(zip(header, row, strict=True))
        assert (cells["who"], cells["tenant name"], cells["state"]) == ("zoe", "Acme", "issued")
        assert cells["reason"].startswith("'="), "no formula for a spreadsheet"
        entry = Activity.objects.get(action="support_sessions.exported")
        assert entry.after == {"filter": {"actor": "zoe"}}

    def test_someone_elses_session_takes_the_permission(self, place: Place, client: Client) -> None:
        row = place.issue().session
        reader = staff("reader")
        reader.groups.add(Group.objects.get(name="read_only"))
        client.force_login(reader)
        url = f"/admin/tenants/supportsession/{row.pk}/"
        assert "End this session" not in text_of(client.get(f"{url}change/"))
        assert client.post(f"{url}end/").status_code == 403
        row.refresh_from_db()
        assert row.end_requested_at is None


def test_no_secret_is_anywhere_but_in_the_one_page(
    place: Place, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The assertion and the private key: in no log, no table, no other page."""
    caplog.set_level(logging.DEBUG)
    signed_in(client, place.user)
    page = enter(client, place)
    signed = assertion_of(page)
    signature = signed.rsplit(".", 1)[1]
    assert signature
    row = SupportSession.objects.get()
    others = [
        f"/admin/tenants/supportsession/{row.pk}/change/",
        "/admin/tenants/supportsession/",
        f"{page_of(place)}change/",
        "/admin/activity/activity/",
        "/admin/",
    ]
    shown = "".join(client.get(url).content.decode() for url in others)
    with connection.cursor() as cursor:
        stored = ""
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT t::text FROM "{table}" AS t')
            stored += str(cursor.fetchall())
    there = str(place.there.execute("SELECT s::text FROM rainbo_support_sessions AS s"))
    for where in (shown, stored, there, caplog.text):
        assert signature not in where
    assert signature in page.content.decode()
