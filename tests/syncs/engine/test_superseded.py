"""Held runs that need no decision any more."""

from __future__ import annotations

import pytest
from django.test import Client

from syncs.engine import held, runs
from syncs.engine.options import Options
from syncs.models import Confirmation, HeldChange, RunState, SyncRun, TargetState, Trigger
from tests.rows import confirmation, ended_run, instance_row, run_part, staff

pytestmark = pytest.mark.django_db


def holding(*targets: str, source_id: str = "7") -> SyncRun:
    run = ended_run(state=RunState.HELD)
    for target in targets:
        run_part(run, target, state=TargetState.HELD, note="too many", held_counts={"removed": 1})
        HeldChange.objects.create(run=run, target=target, kind="removed", source_id=source_id)
    return run


def publishing(*targets: str, also_held: tuple[str, ...] = ()) -> SyncRun:
    run = holding(*also_held) if also_held else ended_run()
    for target in targets:
        run_part(run, target)
        Confirmation.objects.filter(target=target).delete()
        confirmation(target=target, run=run)
    held.supersede_older(run)
    return run


def kept(run: SyncRun) -> list[str]:
    return sorted(HeldChange.objects.filter(run=run).values_list("target", flat=True))


def test_a_run_that_publishes_what_was_held_supersedes_it() -> None:
    older = holding("1", "2")
    newer = publishing("1", "2", "3")
    older.refresh_from_db()
    assert (older.superseded_by, kept(older), held.waiting("user_routing")) == (newer, [], [])
    part = older.targets.get(target="1")
    assert (part.note, part.held_counts) == ("too many", {"removed": 1})
    why = f"run {newer.pk} has published what run {older.pk} holds"
    assert held.why_not_acceptable(older) == why


def test_instances_are_published_one_after_the_other() -> None:
    older = holding("1", "2")
    publishing("1")
    older.refresh_from_db()
    assert (older.superseded_by, kept(older)) == (None, ["2"])
    last = publishing("2")
    older.refresh_from_db()
    assert (older.superseded_by, kept(older)) == (last, [])


def test_what_is_held_again_beside_what_was_published_is_superseded() -> None:
    older = holding("1", "2")
    newer = publishing("1", also_held=("2",))
    older.refresh_from_db()
    assert (older.superseded_by, kept(older), kept(newer)) == (newer, [], ["2"])
    assert held.why_not_acceptable(older).endswith("look at that one")


def test_another_set_of_the_same_instance_supersedes_nothing() -> None:
    older, newer = holding("1"), holding("1", source_id="8")
    held.supersede_older(newer)
    assert held.waiting("user_routing") == [newer, older]
    assert kept(older) == ["1"]


def test_a_failed_run_supersedes_nothing() -> None:
    older = holding("1")
    confirmation(target="1", run=None)
    held.supersede_older(ended_run(state=RunState.FAILED))
    assert held.waiting("user_routing") == [older]


def test_what_is_just_being_accepted_stays() -> None:
    older = holding("1")
    runs.request("user_routing", Options(accept_held=older.pk, reason="x"), Trigger.BUTTON, "bob")
    newer = holding("1")
    held.supersede_older(newer)
    older.refresh_from_db()
    assert (older.superseded_by, kept(older)) == (None, ["1"])


def test_the_page_says_who_published_it(client: Client) -> None:
    instance_row(1, is_master=True)
    older = holding("1")
    newer = publishing("1")
    client.force_login(staff("root", is_superuser=True))
    page = client.get(f"/admin/syncs/syncrun/{older.pk}/change/").content.decode()
    assert "has published these instances since: no decision is needed" in page
    assert f"Run {newer.pk}" in page
