from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from common import shared
from syncs.dispatch import reconcile
from syncs.models import Confirmation
from syncs.schedules import store
from syncs.status import queries
from tests.rows import instance_row

pytestmark = [
    pytest.mark.django_db(transaction=True),  # each change in a transaction of its own
    pytest.mark.usefixtures("shared_for_a_minute"),
]


def test_it_is_read_once_for_all_who_ask_within_a_second(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    first = queries.shared_status()
    with django_assert_num_queries(1):
        assert queries.shared_status() is first
    monkeypatch.setattr(shared, "SECONDS", 0.0)
    assert queries.shared_status() is not first


def test_whoever_saw_a_run_end_sees_what_it_confirmed() -> None:
    instance_row(1, is_master=True)
    assert states() == {"unknown"}
    confirmed = Confirmation.objects.create(sync="user_routing", target="1", at=timezone.now())
    assert states() == {"on_time", "unknown"}
    Confirmation.objects.filter(pk=confirmed.pk).update(at=timezone.now() - timedelta(days=1))
    assert states() == {"stale", "unknown"}
    Confirmation.objects.all().delete()
    assert states() == {"unknown"}


def test_a_pause_is_seen_at_once() -> None:
    reconcile.reconcile()
    assert paused() == [None]
    store.pause("user_routing", timezone.now() + timedelta(hours=1), "upgrade", "ann")
    assert paused() != [None]


def states() -> set[str]:
    return {str(sync.state) for sync in queries.shared_status().syncs}


def paused() -> list[object]:
    return [sync.pause for sync in queries.shared_status().syncs if sync.name == "user_routing"]
