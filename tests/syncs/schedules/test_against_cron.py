"""Every line of a grid means what crontab(5) says, or is rejected with what to write instead."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from importlib import import_module
from itertools import product

import pytest
from django.apps import apps
from django.db import IntegrityError, connection
from django_q.models import Schedule

from syncs.schedules import crontab, store
from syncs.schedules.descriptions import describe
from tests.syncs.schedules import cron_manual

NOW = datetime(2026, 11, 29, 17, 7, tzinfo=UTC)
DAYS = [
    "*",
    "*/2",
    "*/1",
    "1",
    "31",
    "30-31",
    "30",
    "28-2",
    "25-5/3",
    "1-1",
    "5,*",
    "30-31/2",
    "29",
    "3-9/4",
]
MONTHS = [
    "*",
    "*/2",
    "2",
    "2-2",
    "3-3",
    "4,6,9,11",
    "4-6/2",
    "2-4/3",
    "11-2",
    "11-2/2",
    "12",
    "2,4",
]
WEEKDAYS = ["*", "*/2", "1", "1-1", "0-7", "7", "5-7/2", "6-1", "5-1/2", "7-2", "*,1"]
MINUTES = [
    "*",
    "*/1",
    "*/15",
    "*/40",
    "0",
    "5-5",
    "59",
    "50-10",
    "50-10/7",
    "7,20-40/5",
    "*,3",
    "3,*",
    "0-59/30",
]
HOURS = ["*", "*/6", "5-5", "20-8", "20-8/3", "23-1/2", "6-18/4", "0,12", "*/24"]
DAY_LINES = [f"0 2 {' '.join(fields)}" for fields in product(DAYS, MONTHS, WEEKDAYS)]
TIME_LINES = [f"{minute} {hour} * * *" for minute, hour in product(MINUTES, HOURS)]


def test_the_grid_means_what_the_manual_says() -> None:
    assert len(DAY_LINES) == 1848
    for line in DAY_LINES + TIME_LINES:
        stored = crontab.normalize(line)
        problem = crontab.find_problem(line)
        assert crontab.is_valid(stored) is not bool(problem)
        if not problem:
            after = cron_manual.slots_after(line, NOW, 4)
            assert (line, crontab.next_slots(stored, NOW, len(after))) == (line, after)
            latest, earlier = cron_manual.slots_before(line, NOW, 2)
            assert (line, crontab.previous_slot(stored, NOW)) == (line, latest)
            assert (line, crontab.previous_slot(stored, latest)) == (line, earlier)
        elif "write:" not in problem:
            assert (problem, cron_manual.slots_after(line, NOW, 1)) == (NO_SUCH_DAY, [])


NO_SUCH_DAY = "None of these months has such a day."


def test_only_what_cron_reads_otherwise_is_rejected_with_what_to_write() -> None:
    for line in DAY_LINES + TIME_LINES:
        problem = crontab.find_problem(line)
        if "write:" in problem:
            _, _, day, _, weekday = crontab.normalize(line).split()
            assert "*/2" in (day, weekday)
            assert crontab.is_valid(problem.rpartition(": ")[2])


def test_a_stored_line_is_valid_only_as_it_is_normalized() -> None:
    """What a row holds without `normalize` is evaluated by croniter as it stands."""
    for line in filter(crontab.is_valid, DAY_LINES + TIME_LINES):
        after = cron_manual.slots_after(line, NOW, 4)
        assert (line, crontab.next_slots(line, NOW, len(after))) == (line, after)


def test_lines_of_one_description_have_the_same_times() -> None:
    meanings = defaultdict(set)
    for line in DAY_LINES + TIME_LINES:
        if not crontab.find_problem(line):
            slots = tuple(cron_manual.slots_after(line, NOW, 40, years=3))
            meanings[describe(line)].add(slots)
    assert {text: len(slots) for text, slots in meanings.items() if len(slots) > 1} == {}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("0 5-5 * * *", "every day at 05:00 UTC"),
        ("30 6 * * 1-1", "every Monday at 06:30 UTC"),
        ("15 2 * 3-3 *", "at minute 15 of hour 2 UTC, in March"),
        ("0 4 1-1 * *", "on day 1 of every month at 04:00 UTC"),
        ("*/1 * * * *", "every minute"),
        ("0 22-2 * * *", "at minute 0 of hour 22 to 2 UTC"),
        (
            "0 20-8/3 * * *",
            "at minute 0 of every 3rd hour from 20 to 23 and every 3rd hour from 2 to 8 UTC",
        ),
        (
            "0 2 30-31 4,6 *",
            "at minute 0 of hour 2 UTC, on day 30 to 31 of the month, in April and June",
        ),
    ],
)
def test_descriptions_say_when_it_runs(line: str, text: str) -> None:
    assert describe(line) == text


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("0 0 */2 * 1", "0 0 1-31/2 * 1"),
        ("0 0 1 * */2", "0 0 1 * 0-6/2"),
        ("27/2 * * * *", "27-59/2 * * * *"),
        ("0 0 * * 2/2", "0 0 * * 2-6/2"),
    ],
)
def test_a_rejected_line_comes_with_what_to_write(line: str, instead: str) -> None:
    assert crontab.find_problem(line).endswith(f"rite: {instead}")
    assert crontab.is_valid(instead)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("0 0 30 2 *", NO_SUCH_DAY),
        ("61 * * * *", "“61” is invalid as minute: use * or numbers from 0 to 59"),
        ("0 24 * * *", "“24” is invalid as hour: use * or numbers from 0 to 23"),
        ("* * * * 8", "“8” is invalid as weekday: use * or numbers from 0 to 7"),
        ("5/0 * * * *", "“5/0” is invalid as minute"),
        ("0 5-5/0 * * *", "“5-5/0” is invalid as hour"),
        ("* * *", "A cron expression has five fields"),
        (f"{'1,' * 50}1 * * * *", "A cron expression can have up to 100 characters."),
    ],
)
def test_what_is_wrong_is_named(line: str, problem: str) -> None:
    assert crontab.find_problem(line).startswith(problem)


@pytest.mark.django_db
def test_the_constraint_judges_every_line_alike() -> None:
    lines = [*DAY_LINES, *TIME_LINES, "", "x", "0 0 * *", "* * * * *\n", "27/2 * * * *"]
    lines += ["0 0 * * 7-0", "0 0 * * 7-2", "05 0 * * *", "0 0 31 2 1", "99999999999 0 * * *"]
    lines += [crontab.normalize(line) for line in lines]
    with connection.cursor() as cursor:
        cursor.execute("SELECT line, syncs_is_cron(line) FROM unnest(%s::text[]) AS line", [lines])
        judged = dict(cursor.fetchall())
    assert judged == {line: crontab.is_valid(line) for line in lines}


@pytest.mark.django_db
@pytest.mark.parametrize("cron", ["0 5-5 * * *", "0 0 */2 * 1", "0 20-8/3 * * *", "27/2 * * * *"])
def test_a_row_that_croniter_reads_otherwise_is_refused(cron: str) -> None:
    row = store.create("user_routing", "*/15 * * * *")
    row.cron = cron
    with pytest.raises(IntegrityError, match="only_rhythms_that_come"):
        row.save(update_fields=["cron"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("stored", "rewritten"),
    [
        ("0 5-5 * * *", "0 5 * * *"),
        ("0 0 */2 * 1", "0 0 1-31/2 * 1"),
        ("7,27/2 * * * *", "7,27-59/2 * * * *"),
        ("*/15 2-4 * * 1,3", "*/15 2-4 * * 1,3"),
    ],
)
def test_an_upgrade_rewrites_stored_lines(stored: str, rewritten: str) -> None:
    migration = import_module("syncs.migrations.0016_cron_lines_of_one_meaning")
    row = store.create("user_routing", "*/15 * * * *")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(migration.FORGET)
        Schedule.objects.filter(pk=row.pk).update(cron=stored)
        migration.rewrite(apps, None)
        cursor.execute(migration.ADD)
    row.refresh_from_db()
    assert row.cron == rewritten
