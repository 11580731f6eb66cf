"""Groups and labels of instances: given on the page and by the command, filtered by in the list."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.forms import BoundField
from django.test import Client

from activity.models import Activity
from alerts.models import Channel
from common.errors import UsageError
from tenants.models import RdsInstance
from tests.pages import text_of
from tests.rows import instance_row

LIST = "/admin/tenants/rdsinstance/"
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("group=eu", {1, 2}),
        ("label=gold", {2, 3}),
        ("group=eu&label=gold", {2}),
        ("group=us", set()),
        ("label=gol", set()),
        ("", {1, 2, 3, 4}),
    ],
)
def test_the_list_is_filtered_by_them(admin_client: Client, query: str, shown: set[int]) -> None:
    instance_row(1, group="eu")
    instance_row(2, group="eu", labels=["gold", "tier=1"])
    instance_row(3, labels=["gold"])
    instance_row(4)
    found = admin_client.get(f"{LIST}?{query}").context["cl"].queryset
    assert {row.pk for row in found} == shown


@pytest.mark.parametrize("bad", ["a b", "-x", "x" * 51, "ä"])
def test_what_is_no_label_is_rejected_at_each_door(bad: str) -> None:
    row = instance_row(2)
    with pytest.raises(UsageError, match="labels"):
        call_command("add_instance", "--update", "--id=2", f"--labels=ok,{bad}", "--no-check")
    with pytest.raises(UsageError, match="group"):
        call_command("add_instance", "--update", "--id=2", f"--group={bad}", "--no-check")
    row.refresh_from_db()
    assert (row.group, row.labels) == ("", [])


def test_the_command_gives_and_takes_them() -> None:
    row = instance_row(2)
    base = ("add_instance", "--update", "--id=2", "--no-check")
    call_command(*base, "--group=eu", "--labels=gold, tier=1,gold,")
    row.refresh_from_db()
    assert (row.group, row.labels) == ("eu", ["gold", "tier=1"])
    call_command(*base, "--labels=")
    row.refresh_from_db()
    assert (row.group, row.labels) == ("eu", [])


def test_the_page_changes_them_and_the_change_is_recorded(admin_client: Client) -> None:
    instance_row(2, labels=["old"])
    url = f"{LIST}2/settings/"
    given = {
        name: field.value() for name, field in _fields(admin_client, url).items() if field.value()
    }
    answer = admin_client.post(url, given | {"group": "eu", "labels": "gold, gold ,tier=1"})
    assert answer.status_code == 302, answer.context["errors"]
    row = RdsInstance.objects.get(pk=2)
    assert (row.group, row.labels) == ("eu", ["gold", "tier=1"])
    assert {"group", "labels"} <= set(Activity.objects.get().after or {})


def _fields(client: Client, url: str) -> dict[str, BoundField]:
    bound = client.get(url).context["adminform"].form
    return {name: bound[name] for name in bound.fields}


def test_a_channel_takes_groups_and_labels_that_instances_have(admin_client: Client) -> None:
    instance_row(2, group="eu", labels=["gold"])
    given = {
        "name": "ops",
        "level": "3",
        "per_hour": "20",
        "zone": "UTC",
        "new_address": "https://hooks.example/x",
        "only_groups": "eu",
        "only_labels": "gold, silver",
    }
    answer = admin_client.post("/admin/alerts/channel/add/", given)
    assert "No instance has the label silver." in text_of(answer)
    admin_client.post("/admin/alerts/channel/add/", given | {"only_labels": "gold, gold"})
    row = Channel.objects.get()
    assert (row.groups, row.labels) == (["eu"], ["gold"])
    RdsInstance.objects.update(labels=[])
    again = given | {"only_labels": "gold", "new_address": ""}
    admin_client.post(f"/admin/alerts/channel/{row.pk}/change/", again | {"only_groups": ""})
    row.refresh_from_db()
    assert (row.groups, row.labels) == ([], ["gold"])
    assert "gold" in text_of(admin_client.get("/admin/alerts/channel/"))
