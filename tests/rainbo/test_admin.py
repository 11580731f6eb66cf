"""The console as a whole: who sees what, and what nobody sees."""

from __future__ import annotations

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission
from django.test import Client

from rainbo.navigation import ROOMS
from tests.pages import text_of
from tests.rows import staff

pytestmark = pytest.mark.django_db

MODELS = list(dict.fromkeys(model for items in ROOMS.values() for _, model, *_ in items))


def test_the_sidebar_leads_to_every_page_of_the_console() -> None:
    registered = {model._meta.label_lower for model in admin.site._registry}
    assert registered == set(MODELS)


@pytest.mark.parametrize("model", MODELS)
def test_every_list_opens_and_loads_nothing_from_elsewhere(
    admin_client: Client, model: str
) -> None:
    page = admin_client.get(f"/admin/{model.replace('.', '/')}/").content.decode()
    assert 'href="/static/rainbo/console.css"' in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>", page)
    assert ">Show all</a>)" not in page, "offers to end a search that nobody made"


@pytest.mark.parametrize("model", MODELS)
def test_every_list_takes_its_own_permission(client: Client, model: str) -> None:
    app, name = model.split(".")
    user = staff()
    client.force_login(user)
    assert client.get(f"/admin/{app}/{name}/").status_code == 403
    permission = Permission.objects.get(content_type__app_label=app, codename=f"view_{name}")
    user.user_permissions.add(permission)
    page = client.get(f"/admin/{app}/{name}/")
    assert page.status_code == 200
    navigation = page.context["sidebar_navigation"]
    shown = [item["link"] for group in navigation for item in group["items"]]
    found = f"/admin/{app}/{name}/"
    pages = {
        "tenants.userroute": ["/admin/find/", found],
        "syncs.syncrun": [found, "/admin/monitoring/"],
    }
    assert shown == ["/admin/", *pages.get(model, [found])]


def test_the_queues_own_pages_are_gone(admin_client: Client) -> None:
    queued = list(apps.get_app_config("django_q").get_models())
    assert queued
    assert not [model for model in queued if admin.site.is_registered(model)]
    assert admin_client.get("/admin/django_q/schedule/").status_code == 404


def test_icons_are_of_the_themes_own_font(admin_client: Client) -> None:
    page = admin_client.get("/admin/").content.decode()
    for items in ROOMS.values():
        for title, _, icon, *_ in items:
            assert title in page
            assert re.search(rf"material-symbols-outlined[^>]*>\s*{icon}\s*<", page)


def test_the_list_of_users_says_who_may_what(client: Client) -> None:
    client.force_login(staff("root", is_superuser=True))
    support = staff("support")
    support.user_permissions.add(Permission.objects.get(codename="impersonate"))
    viewer = staff("viewer", first_name="Vera", last_name="Viewer")
    viewer.groups.add(Group.objects.get(name="read_only"))
    staff("nobody")
    staff("leaver", is_active=False, is_superuser=True)
    found = client.get("/admin/auth/user/").context["cl"].result_list
    may = {user.username: user.impersonates for user in found}
    assert may == {"root": True, "support": True, "viewer": False, "nobody": False, "leaver": False}
    html = client.get("/admin/auth/user/").content.decode()
    assert html.count('data-label="active">yes</td>') == 4
    assert html.count('data-label="active"><span class="quiet">no</span></td>') == 1
    page = text_of(client.get("/admin/auth/user/"))
    assert all(column in page for column in ("Name", "Roles", "Active", "May impersonate"))
    held = dict(re.findall(r">(\w+)</a></th>.*?data-label=\"roles\">(.*?)</td>", html, re.DOTALL))
    assert held == {
        "root": "superuser",
        "leaver": "superuser",
        "support": "single permissions",
        "viewer": "read_only",
        "nobody": "none",
    }


@pytest.mark.parametrize("there", ["", "?next="])
def test_signing_in_leads_to_the_console(client: Client, there: str) -> None:
    staff("ann", password="not a secret")
    answer = client.post(
        f"/admin/login/{there}", {"username": "ann", "password": "not a secret"}, follow=True
    )
    assert answer.redirect_chain == [("/admin/", 302)]
    assert answer.status_code == 200


def test_the_login_page_offers_no_other_site(client: Client) -> None:
    assert "Return to site" not in text_of(client.get("/admin/login/"))
