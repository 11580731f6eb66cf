"""What was done to one object, as its own page shows it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.template.loader import render_to_string

from activity import queries
from common.model_admin import activity_page
from tests.activity.rows import entry
from tests.rows import instance_row

pytestmark = pytest.mark.django_db

MAY = {"activity": {"view_activity": True}}


def shown(**context: Any) -> str:
    return " ".join(render_to_string("activity/history.html", {"perms": MAY} | context).split())


def test_the_latest_of_one_object_come_first() -> None:
    instance = instance_row(3)
    entry("instance.tested", subject_id="4")
    for days, action in ((3, "registered"), (2, "changed"), (1, "disabled")):
        entry(f"instance.{action}", days_ago=days)
    found = [row.action for row in queries.of_row(instance, limit=2)]
    assert found == ["instance.disabled", "instance.changed"]
    assert queries.of("tenants.rdsinstance", 3, limit=2) == queries.of_row(instance, limit=2)


def test_a_page_shows_them_in_words() -> None:
    entry(before={"is_active": True}, after={"is_active": False})
    page = shown(entries=queries.of("tenants.rdsinstance", 3), all=activity_page("a.b", 3))
    assert "ann disabled an instance: is_active: yes → no" in page
    assert 'href="/admin/activity/activity/?of=a.b%3A3"' in page
    assert "No activity yet." in shown(entries=[])


def test_a_page_shows_nothing_to_those_who_may_not() -> None:
    assert "ann" not in shown(entries=[SimpleNamespace(actor="ann")], perms={})
