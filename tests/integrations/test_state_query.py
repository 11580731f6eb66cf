"""The states by SQL are those that `due` judges, case by case."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from common.clock import database_now
from integrations import state_query, states
from integrations.due import State
from integrations.models import Connection
from syncs.models import Lease, RunState, SyncRun, Trigger

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
SOON = timedelta(minutes=5)
FACTS: dict[str, tuple[Any, ...]] = {
    "paused_until": (None, HOUR),
    "reconnect_since": (None, -HOUR),
    "last_successful_update_at": (None, -HOUR, -SOON),
    "last_triggered_at": (None, -2 * HOUR, -SOON / 2),
    "not_before": (None, -SOON, SOON, HOUR),
    "attempt": (0, 1, 4),
    "last_error": ("", "status 500"),
}
TIMES = set(FACTS) - {"attempt", "last_error"}


def run(state: RunState, live: bool | None = None) -> SyncRun:
    """live: its lease; None: it has none."""
    found = SyncRun.objects.create(sync="github", state=state, trigger=Trigger.SCHEDULE)
    if live is not None:
        ends = database_now() + (SOON if live else -SOON)
        Lease.objects.update_or_create(
            sync="github", defaults={"run": found, "token": 1, "expires_at": ends}
        )
    return found


def rows_of(number: int, **given: Any) -> list[Connection]:
    """One for each combination of the facts."""
    now, common = database_now(), {"base_url": "https://x.example", "update_frequency_minutes": 15}
    made: list[Connection] = []
    for values in product(*FACTS.values()):
        facts = dict(zip(FACTS, values, strict=True))
        facts |= {name: now + facts[name] for name in TIMES if facts[name] is not None}
        name = f"{number} {len(made)}"
        made.append(Connection(**{"service": "github", "name": name} | common | facts | given))
    return Connection.objects.bulk_create(made)


def test_each_is_counted_in_the_state_that_it_is_judged_to_be_in(settings: Any) -> None:
    people = get_user_model().objects
    ann = people.create_user("ann")
    left = people.create_user("left", is_active=False)
    settings.PRICING_SYNC_ENABLED = False  # models are then fetched on request
    runs = [None, run(RunState.QUEUED), run(RunState.SUCCEEDED), run(RunState.RUNNING)]
    runs.append(run(RunState.RUNNING, live=True))
    for number, one in enumerate(runs):
        rows_of(number, owner=ann, run=one)
    rows_of(8, owner=ann, service="llm_models")
    Connection.objects.bulk_create(
        Connection(
            owner=owner,
            service="github",
            name=f"off {enabled}",
            base_url="https://x.example",
            update_frequency_minutes=15,
            enabled=enabled,
        )
        for owner, enabled in product((ann, left), (True, False))
    )
    now = database_now()
    rows = list(state_query.with_state(Connection.objects.select_related("owner"), now))
    judged = states.judge(rows, now)
    for row in rows:
        found = getattr(row, state_query.NAME)
        assert found == str(judged[row.pk].state), vars(row)
    counts = state_query.count(state_query.with_state(Connection.objects.all(), now))
    assert list(counts) == list(State), "the most pressing first"
    assert sum(counts.values()) == len(rows)
