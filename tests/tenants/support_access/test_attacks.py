"""What a reviewer tries on the page that enters a tenant: each attempt is harmless and fails."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import Permission
from django.db import connections
from django.test import Client
from pytest_django import Settings

from tenants.models import GhostUser, RdsInstance, SupportSession, Tenant
from tenants.support_access import sessions
from tenants.support_access.admission import Wanted
from tests.instances import InstanceFleet
from tests.pages import text_of
from tests.rows import staff
from tests.tenants.support_access.test_entering import (
    FORM,
    assertion_of,
    enter,
    page_of,
    place,
    signed_in,
)
from tests.tenants.support_access.test_sessions import ISSUER, Place, enter_able

__all__ = ["place"]

HOSTILE = (
    "<script>alert(1)</script> invoice",
    '"><form action="https://evil.example"> invoice',
    "{{ request.user.password }} {% csrf_token %} invoice",
    "'; DROP TABLE support_sessions; -- invoice",
    '=HYPERLINK("https://evil.example") invoice',
    "a" * 250 + " invoice " + "b" * 230,
)


@pytest.mark.parametrize("reason", HOSTILE)
def test_a_reason_is_text_on_each_page(place: Place, client: Client, reason: str) -> None:
    signed_in(client, place.user)
    page = enter(client, place, reason=reason, ticket=reason[:100])
    row = SupportSession.objects.get()
    assert row.reason == " ".join(reason.split())
    shown = (
        page,
        client.get(f"/admin/tenants/supportsession/{row.pk}/change/"),
        client.get("/admin/tenants/supportsession/"),
        client.get(f"{page_of(place)}change/"),
        client.get("/admin/activity/activity/"),
    )
    for answer in shown:
        html = answer.content.decode()
        assert "<script>alert" not in html
        assert '"><form action="https://evil' not in html
    assert place.enter(sessions.Issued(row, "", assertion_of(page)))
    stored = place.there.execute("SELECT reason FROM rainbo_support_sessions")
    assert stored == [(row.reason,)]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *(
            ("reason", f"Invoice 118 {sign} shows no VAT")
            for sign in "\x00\x07\x1b\x7f\u202e\u2066"
        ),
        *(("ticket", f"SUP{sign}7") for sign in "\x00\x1b\u202e"),
        ("reason", "x y z " * 100),
        ("reason", "Invoice 118 \ud800 shows".encode("utf-8", "surrogatepass").decode("latin-1")),
        ("ticket", "7" * 10_000),
    ],
)
def test_control_characters_and_lengths_are_refused(
    place: Place, client: Client, field: str, text: str
) -> None:
    signed_in(client, place.user)
    answer = enter(client, place, **{field: text})
    assert (answer.status_code, assertion_of(answer)) == (200, "")
    assert not SupportSession.objects.exists()


def test_the_form_decides_neither_who_nor_where(place: Place, client: Client) -> None:
    """What else the form carries is not read: the tenant is the page's, the person signed in."""
    other = staff("other", is_superuser=True)
    signed_in(client, place.user)
    enter(
        client,
        place,
        tenant="43",
        tenant_id="43",
        instance="3",
        sub="1",
        ghost_id="99",
        person_id=str(other.pk),
        session_seconds="360000",
        jti="00000000-0000-0000-0000-000000000000",
        aud="instance:3",
        app_url="https://evil.example",
        next="https://evil.example",
    )
    row = SupportSession.objects.get()
    assert (row.tenant_id, row.instance_id, row.ghost_id, row.person_id, row.session_seconds) == (
        "42",
        2,
        "17",
        place.user.pk,
        1800,
    )


@pytest.mark.parametrize("key", ["0", "999999", "1/../2", "42'--", "99999999999999999999"])
def test_a_tenant_that_is_none(place: Place, client: Client, key: str) -> None:
    signed_in(client, place.user)
    answer = client.post(f"/admin/tenants/tenant/{key}/enter/", FORM)
    assert answer.status_code in (302, 404)
    assert not SupportSession.objects.exists()


def test_nobody_enters_as_anothers_ghost_user(place: Place, client: Client) -> None:
    """Somebody with the permission to enter, whose own ghost user is not confirmed there."""
    bob = enter_able(staff("bob"))
    bob.user_permissions.add(Permission.objects.get(codename="view_tenant"))
    signed_in(client, bob)
    assert "not confirmed" in text_of(enter(client, place))
    GhostUser.objects.create(
        admin_id=bob.pk, instance_id=2, wanted="active", confirmed="active", remote_id=None
    )
    assert "not confirmed" in text_of(enter(client, place)), "one without an id there is none"
    assert not SupportSession.objects.exists()


class TestBetweenTwoSteps:
    """The form is open; then something changes; then it is sent."""

    def test_the_person_was_deactivated(self, place: Place, client: Client) -> None:
        signed_in(client, place.user)
        assert client.get(f"{page_of(place)}enter/").status_code == 200
        type(place.user).objects.filter(pk=place.user.pk).update(is_active=False)
        answer = enter(client, place)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")
        assert not SupportSession.objects.exists()

    def test_the_code_grew_old(self, place: Place, client: Client) -> None:
        signed_in(client, place.user, ago=500)  # of 600 seconds
        assert client.get(f"{page_of(place)}enter/").status_code == 200
        session = client.session
        session["two_factor_at"] -= 101
        session.save()
        assert enter(client, place)["Location"].startswith("/admin/second-factor/code/")
        assert not SupportSession.objects.exists()

    def test_the_address_was_changed(self, place: Place, client: Client) -> None:
        signed_in(client, place.user)
        RdsInstance.objects.filter(pk=2).update(app_url="javascript:alert(1)//https://x.example")
        assert "no address" in text_of(enter(client, place))
        assert not SupportSession.objects.exists()

    def test_two_tabs_send_it(self, place: Place, client: Client) -> None:
        """The later one counts; the earlier one's assertion opens nothing."""
        signed_in(client, place.user)
        first, second = enter(client, place), enter(client, place)
        rows = list(SupportSession.objects.order_by("issued_at"))
        assert not place.enter(sessions.Issued(rows[0], "", assertion_of(first)))
        assert place.enter(sessions.Issued(rows[1], "", assertion_of(second)))
        third = enter(client, place)
        assert "you have an open session in this tenant already" in text_of(third)

    def test_it_was_ended_elsewhere_meanwhile(self, place: Place, client: Client) -> None:
        signed_in(client, place.user)
        issued = place.issue()
        place.enter(issued)
        place.there.execute("UPDATE rainbo_support_sessions SET ended_at = now(), ended_by = 'x'")
        url = f"/admin/tenants/supportsession/{issued.session.pk}/end/"
        assert "The session is over: x." in text_of(client.post(url, follow=True))
        row = place.stored(issued)
        assert row.ended_by == "x", "the first end stays"

    def test_the_end_of_another_tenants_session_takes_its_own_id(
        self, place: Place, client: Client
    ) -> None:
        issued = place.issue()
        thief = staff("thief")
        signed_in(client, thief)
        url = f"/admin/tenants/supportsession/{issued.session.pk}/end/"
        assert client.post(url, {"person_id": str(thief.pk)}).status_code == 403
        assert place.stored(issued).end_requested_at is None


def test_many_at_once_open_one(place: Place) -> None:
    """By the button, in eight tabs at the same moment."""
    # Signed in before the tabs race: all of them share one authenticator.
    tabs = [signed_in(Client(), place.user) for _ in range(8)]

    def press(tab: Client) -> bool:
        try:
            return bool(assertion_of(enter(tab, place)))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert any(pool.map(press, tabs))
    assert sessions.open_sessions().count() == 1
    sessions.follow()
    there = place.there.execute(
        "SELECT count(*) FROM rainbo_support_sessions WHERE ended_at IS NULL"
    )
    assert there == [(0,)]


def test_a_person_of_one_tenant_is_none_of_another(
    set_up: InstanceFleet, settings: Settings
) -> None:
    """The same id on two instances: the mark and the session are of one of them."""
    settings.RAINBO_CONSOLE_URL = ISSUER
    place = Place(set_up)
    twin = Tenant.objects.create(
        instance_id=3,
        remote_id="42",
        name="Twin",
        status="active",
        cache_refreshed_at=place.tenant.cache_refreshed_at,
    )
    with pytest.raises(sessions.Refused, match="not confirmed on instance 3"):
        sessions.issue(
            place.user,
            Tenant.objects.select_related("instance").get(pk=twin.pk),
            Wanted("Invoice 118 shows no VAT"),
            None,
            lambda _: None,
        )
