"""What a run withheld and holds, on its page and as files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from activity.models import Activity
from syncs.admin import withheld_rows
from syncs.engine import registry
from syncs.engine.targets import Hidden, Withheld
from syncs.models import HeldChange, RunState, SyncRun, TargetState, WithheldRow
from tests.pages import text_of
from tests.rows import ended_run, run_part, staff
from tests.syncs.conftest import Make

pytestmark = pytest.mark.django_db
MANY = 20_000


def hidden(count: int) -> Hidden:
    def rows(limit: int | None) -> Iterator[Withheld]:
        for n in range(count)[:limit]:
            yield Withheld("instance 1", str(n), "+ann@x.com", "a later one", timezone.now())

    return Hidden("rows", rows, lambda: "/the/list/", "tenants.view_userroute")


@pytest.fixture
def run(make_sync: Make) -> SyncRun:
    spec = make_sync(lambda run: None)
    registry.register(replace(spec, hidden=hidden(MANY)))
    run = ended_run("probe")
    run_part(run, withheld=3)
    for sync, target in (("probe", "1"), ("probe", "2"), ("user_routing", "1")):
        WithheldRow.objects.create(
            sync=sync, target=target, source_id=f"{sync} {target}", row_hash=1, reason="=1+1"
        )
    return run


def page(client: Client, run: SyncRun) -> str:
    return text_of(client.get(f"/admin/syncs/syncrun/{run.pk}/change/"))


def lines(answer: Any) -> Iterable[list[str]]:
    text = (chunk.decode("utf-8-sig") for chunk in answer.streaming_content)
    return csv.reader(text)


def taken(client: Client, run: SyncRun, what: str) -> list[list[str]]:
    return list(lines(client.post(f"/admin/syncs/syncrun/{run.pk}/{what}/")))


def test_the_page_shows_the_first_and_where_the_others_are(
    admin_client: Client, run: SyncRun
) -> None:
    shown = page(admin_client, run)
    assert "probe 1" in shown
    assert "probe 2" not in shown, "an instance that the run did not take"
    assert "user_routing 1" not in shown
    assert f"These are the first {withheld_rows.SHOWN}." in shown
    assert "The withheld rows" in shown


def test_the_file_has_all_and_no_formula(admin_client: Client, run: SyncRun) -> None:
    rows = taken(admin_client, run, "withheld")
    assert len(rows) == MANY + 2
    assert rows[0] == ["instance", "source row", "what", "reason", "since (UTC)"]
    assert rows[1][:4] == ["instance 1", "probe 1", "can't be stored", "'=1+1"]
    assert rows[2][:4] == ["instance 1", "0", "'+ann@x.com", "a later one"]
    entry = Activity.objects.get()
    assert (entry.action, entry.after) == (
        "run.exported",
        {"file": f"run-{run.pk}-withheld.csv"},
    )


def test_what_is_hidden_takes_its_own_permission(client: Client, run: SyncRun) -> None:
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_syncrun"))
    client.force_login(user)
    shown = page(client, run)
    assert "probe 1" in shown
    assert "ann@x.com" not in shown
    assert "The withheld rows" not in shown
    assert len(taken(client, run, "withheld")) == 2


def test_of_many_rows_the_page_reads_the_first(admin_client: Client, run: SyncRun) -> None:
    run_part(run, "2")
    WithheldRow.objects.bulk_create(
        WithheldRow(sync="probe", target="1", source_id=f"more {n}", row_hash=n, reason="")
        for n in range(withheld_rows.SHOWN)
    )
    shown = page(admin_client, run)
    assert f"more {withheld_rows.SHOWN - 2}" in shown
    assert f"more {withheld_rows.SHOWN - 1}" not in shown
    assert "probe 2" not in shown
    assert "probe 2" in [row[1] for row in taken(admin_client, run, "withheld")]


def test_nothing_withheld_is_no_section(admin_client: Client) -> None:
    run = ended_run("tenant_summaries")
    run_part(run, withheld=0)
    assert "Withheld rows" not in page(admin_client, run)


def test_what_is_held_is_taken_whole(admin_client: Client) -> None:
    run = ended_run("tenant_summaries", state=RunState.HELD)
    run_part(run, state=TargetState.HELD, held_counts={"removed": 3000})
    HeldChange.objects.bulk_create(
        HeldChange(run=run, target="1", kind="removed", source_id=str(n), detail="@SUM(1)")
        for n in range(3000)
    )
    rows = taken(admin_client, run, "held")
    first = ["instance 1", "removed", "0", "'@SUM(1)", "unknown", "unknown"]
    assert (len(rows), rows[1]) == (3001, first)
