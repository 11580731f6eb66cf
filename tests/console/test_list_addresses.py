"""What anybody may type behind the address of a list: it reveals nothing, and breaks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.admin import FieldListFilter
from django.test import Client, RequestFactory
from django.urls import reverse

from rainbo.time_zone import COOKIE
from tests.activity.rows import entry
from tests.rows import ended_run, instance_row, staff

pytestmark = pytest.mark.django_db
Pages = Any  # what Django calls a model admin
LINKS = (
    "activity/activity/?of=tenants.rdsinstance%3A1",
    "activity/activity/?at_from=2026-11-01&at_to=2026-11-02&action=run.requested&since=7",
    "auth/user/?groups__id__exact=1&is_active__exact=1",
    "syncs/syncrun/?sync=user_routing&actor=ann&state=held&dry=no&trigger=api&instance=1",
    "syncs/syncrun/?created_at_from=2026-11-01&p=1",
    "tenants/ghostuser/all/?instance__id__exact=1&confirmed__exact=refused&o=1",
    "tenants/ghostuser/all/?q=7",
    "tenants/rdsinstance/?health__exact=down&is_active__exact=1&ssl_mode__exact=require",
    "tenants/tenant/?instance__id__exact=1&fresh=stale&status=trial&trial=7&vanished=yes&q=a",
    "tenants/userroute/?instance=1&tenant=7&readers=withheld&q=ann*",
)

TYPED = (
    *("", "\0", "a\0b", "-1", "9" * 60, "2147483648", "nan", "²", "no-ip", "'\"\\%%"),
    *("9999-12-31", "x" * 3_000),
)
ZONES = ("UTC", "America/Los_Angeles", "Pacific/Kiritimati")


def lists() -> list[tuple[str, Pages]]:
    """The address of every list, with its pages."""
    found = [
        (reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"), pages)
        for model, pages in admin.site._registry.items()
    ]
    return [
        (url.replace("ghostuser/", "ghostuser/all/"), pages)  # else the matrix leads there
        for url, pages in found
    ]


def test_a_password_is_not_told_letter_by_letter(client: Client) -> None:
    instance_row()
    reader = staff("reader", is_superuser=True)
    client.force_login(reader)
    for start in ("", "v", "nothing that is stored"):
        answer = client.get(f"/admin/tenants/rdsinstance/?password__startswith={start}")
        assert answer.status_code == 400, start


def test_no_list_takes_a_field_that_it_has_no_filter_for(admin_client: Client) -> None:
    taken = [
        f"{url}?{field.name}"
        for url, pages in lists()
        for field in pages.model._meta.concrete_fields
        if admin_client.get(f"{url}?{field.name}__gte=1").status_code == 200
    ]
    assert taken == []


@pytest.mark.parametrize("link", LINKS)
def test_what_pages_lead_to_is_taken(admin_client: Client, link: str) -> None:
    instance_row()
    assert admin_client.get(f"/admin/{link}").status_code == 200


def parameters(pages: Pages) -> Iterator[str]:
    """What the list can be asked, and two that it can't."""
    yield from ("q", "o", "p", "e", "_to_field", "nonsense")
    request, model = RequestFactory().get("/"), pages.model
    for chosen in pages.get_list_filter(request):
        if isinstance(chosen, str):
            field = model._meta.get_field(chosen)
            made = FieldListFilter.create(field, request, {}, model, pages, chosen)
            yield from filter(None, made.expected_parameters())
        elif isinstance(chosen, tuple):
            yield from (f"{chosen[0]}_from", f"{chosen[0]}_to")
        else:
            yield chosen.parameter_name


@pytest.mark.soak
@pytest.mark.parametrize(("url", "pages"), lists())
def test_nothing_that_is_typed_breaks_a_list(admin_client: Client, url: str, pages: Pages) -> None:
    admin_client.raise_request_exception = False
    asked = [f"{url}?{name}={quote(text)}" for name in parameters(pages) for text in TYPED]
    broken = [link for link in asked if admin_client.get(link).status_code >= 500]
    assert broken == []


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("page", ["syncs/syncrun/?created_at", "activity/activity/?at"])
def test_the_first_and_the_last_day_of_all_are_days(
    admin_client: Client, page: str, zone: str
) -> None:
    ended_run()
    entry()
    admin_client.cookies[COOKIE] = zone
    days = {
        "from=0001-01-01": 1,
        "to=0001-01-01": 0,
        "from=9999-12-31": 0,
        "to=9999-12-31": 1,
    }
    for day, found in days.items():
        answer = admin_client.get(f"/admin/{page}_{day}")
        assert len(answer.context["cl"].result_list) == found, day


def test_an_export_of_what_makes_no_sense_breaks_nothing(admin_client: Client) -> None:
    for query in ("at_to=9999-12-31", "of=%00", "actor=a%00b", "q=%00"):
        assert admin_client.post(f"/admin/activity/activity/export/?{query}").status_code == 200


@pytest.mark.parametrize("way", ["change", "delete", "history"])
@pytest.mark.parametrize("key", ["%00", "9_0000000", "9" * 30])
def test_no_object_has_such_an_id(admin_client: Client, key: str, way: str) -> None:
    for url, _ in lists():
        page = f"{url.replace('/all/', '/')}{key}/{way}/"
        for ask in (admin_client.get, admin_client.post):
            assert ask(page).status_code in (302, 403, 404), page


def test_an_empty_field_to_look_by_is_none(admin_client: Client) -> None:
    row = instance_row()
    page = f"/admin/tenants/rdsinstance/{row.pk}/change/?_to_field="
    assert admin_client.get(page).status_code == 200
