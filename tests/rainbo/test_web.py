from __future__ import annotations

import re

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from rainbo.time_zone import COOKIE, display_zone
from tests.rows import staff


def test_the_root_leads_to_the_console(client: Client) -> None:
    response = client.get("/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")


@pytest.mark.django_db
def test_the_login_page_is_ours_and_loads_nothing_from_elsewhere(client: Client) -> None:
    response = client.get("/admin/login/")
    page = response.content.decode()
    assert "RAINBO" in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page)


@pytest.mark.django_db
def test_the_content_policy_is_no_looser_than_the_theme_needs(client: Client) -> None:
    policy = client.get("/admin/login/")["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'self'"
    assert directives["script-src"] == "'self' 'unsafe-eval'"
    assert directives["style-src"] == "'self' 'unsafe-inline'"
    assert directives["frame-ancestors"] == "'none'"


@pytest.mark.parametrize("page", ["auth/user/", "auth/user/add/", "auth/group/", ""])
def test_the_consoles_own_pages_open(admin_client: Client, page: str) -> None:
    assert admin_client.get(f"/admin/{page}").status_code == 200


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("America/New_York", "America/New_York"),
        (None, "Asia/Tokyo"),
        ("Mars/Olympus", "Asia/Tokyo"),
        ("../../etc/passwd", "Asia/Tokyo"),
    ],
)
def test_people_see_the_time_of_their_zone(
    settings: Settings, zone: str | None, shown: str
) -> None:
    settings.RAINBO_TIME_ZONE = "Asia/Tokyo"
    seen = []

    def view(_: HttpRequest) -> HttpResponse:
        seen.append(timezone.get_current_timezone_name())
        return HttpResponse()

    request = HttpRequest()
    request.COOKIES = {COOKIE: zone} if zone else {}
    display_zone(view)(request)
    assert seen == [shown]
    assert timezone.get_current_timezone_name() == "UTC"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "code", "expected"),
    [
        ("/nowhere", 404, "Page not found"),
        ("/admin/nowhere/", 404, "Page not found"),
        ("/admin/tenants/userroute/?email__contains=x", 400, "Bad request"),
    ],
)
def test_an_error_page_looks_like_the_console_and_leads_back(
    admin_client: Client, address: str, code: int, expected: str
) -> None:
    response = admin_client.get(address)
    assert response.status_code == code
    page = response.content.decode()
    assert expected in page
    assert 'href="/admin/"' in page
    assert "/static/rainbo/console.css" in page


@pytest.mark.django_db
def test_who_lacks_a_permission_is_told_so(client: Client) -> None:
    client.force_login(staff())
    response = client.get("/admin/auth/user/")
    assert response.status_code == 403
    assert "Permission denied" in response.content.decode()


@pytest.mark.django_db
def test_an_old_form_is_told_so() -> None:
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "ann"})
    assert response.status_code == 403
    assert "The form has expired" in response.content.decode()
