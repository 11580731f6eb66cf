"""Scheduled times of a year with both changes of daylight saving time: none twice, none missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import time_machine
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage

from syncs.schedules import crontab, store

YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
# The clocks go forward and back in Berlin and in New York.
CHANGES = [
    datetime(2026, month, day, tzinfo=UTC) for month, day in [(3, 8), (3, 29), (10, 25), (11, 1)]
]
ZONES = ["Europe/Berlin", "America/New_York"]


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The server's own zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("cron", "count"), [("*/15 * * * *", 365 * 96), ("30 1 * * *", 365), ("30 2 * * *", 365)]
)
def test_a_year_has_every_planned_time_once(zone: str, cron: str, count: int) -> None:
    found = crontab.next_slots(cron, YEAR[0] - timedelta(seconds=1), count + 1)
    assert found[count] >= YEAR[1]
    assert found[count - 1] < YEAR[1]
    assert {later - earlier for earlier, later in pairwise(found)} == {(YEAR[1] - YEAR[0]) / count}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("day", CHANGES, ids=lambda day: f"{day:%m-%d}")
def test_the_queues_scheduler_fires_each_once_around_a_change(zone: str, day: datetime) -> None:
    for cron in ("*/30 * * * *", "30 2 * * *"):
        row = store.create("probe", cron)
        Schedule.objects.filter(pk=row.pk).update(next_run=crontab.next_slots(cron, day)[0])
        OrmQ.objects.all().delete()
        with time_machine.travel(day, tick=False) as clock:
            while datetime.now(UTC) < day + timedelta(days=1):
                clock.shift(timedelta(minutes=10, seconds=1))
                scheduler()
        fired = [
            datetime.fromisoformat(SignedPackage.loads(row.payload)["kwargs"]["slot"])
            for row in OrmQ.objects.order_by("pk")
        ]
        expected = [
            slot for slot in crontab.next_slots(cron, day, 50) if slot < day + timedelta(days=1)
        ]
        assert [slot for slot in fired if slot < day + timedelta(days=1)] == expected
        Schedule.objects.all().delete()
