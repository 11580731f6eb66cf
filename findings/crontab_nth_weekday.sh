#!/bin/bash
# APScheduler 3.11.3 and celery 5.7.0 accept "mon#1" in a crontab's day of the week, which is "the
# first Monday of a month" to croniter and cronsim, and leave "#1" out: the job runs each Monday.
# Other things that they don't know, such as "L", raise ValueError.
#
# Guess before: ValueError, as neither documents "#".
# Seen: as printed below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    apscheduler==3.11.3 celery==5.7.0 croniter==7.0.0 cronsim==2.8
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from apscheduler.triggers.cron import CronTrigger
from celery.schedules import crontab
from croniter import croniter
from cronsim import CronSim

WISH = "0 0 * * mon#1"
START = datetime(2026, 12, 1)


def apscheduler_days(wish: str) -> list[str]:
    trigger = CronTrigger.from_crontab(wish, timezone=UTC)
    found, now = [], START.replace(tzinfo=UTC)
    for _ in range(3):
        at = trigger.get_next_fire_time(None, now)
        found.append(f"{at:%m-%d}")
        now = at + timedelta(seconds=1)
    return found


def celery_days(wish: str) -> set[int]:
    return set(crontab.from_string(wish).day_of_week)


def rejects(days, wish: str) -> bool:
    try:
        days(wish)
    except ValueError:
        return True
    return False


by_croniter, by_cronsim = croniter(WISH, START), CronSim(WISH, START)
seen = {
    "apscheduler": apscheduler_days(WISH),
    "croniter": [f"{by_croniter.get_next(datetime):%m-%d}" for _ in range(3)],
    "cronsim": [f"{next(by_cronsim):%m-%d}" for _ in range(3)],
}
for name, found in seen.items():
    print(name, version(name), *found)
print("celery", version("celery"), "days of the week:", celery_days(WISH))
assert celery_days(WISH) == {1}
mondays, first_mondays = ["12-07", "12-14", "12-21"], ["12-07", "01-04", "02-01"]
assert seen["apscheduler"] == mondays, seen
assert seen["croniter"] == seen["cronsim"] == first_mondays, seen
assert rejects(apscheduler_days, "0 0 L * *") and rejects(celery_days, "0 0 L * *")
PYTHON
