"""What anybody may type behind the address of a list: it tells nothing, and breaks nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from tests.rows import instance_row, staff

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
