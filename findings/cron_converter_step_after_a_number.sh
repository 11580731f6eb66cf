#!/bin/bash
# cron-converter 2.0.2 takes "5/15" in a crontab's field for 5 alone: the job runs once an hour.
# APScheduler, croniter and cronsim take it for 5-59/15, which is 5, 20, 35 and 50, and
# cron-descriptor says so. Celery rejects it.
#
# Guess before: a ValueError, since cron itself allows a step only after a range or a star; or the
# same as the others.
# Seen: as printed below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    cron-converter==2.0.2 croniter==7.0.0 cronsim==2.8 \
    apscheduler==3.11.3 cron-descriptor==2.2.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
from datetime import UTC, datetime
from importlib.metadata import version

from apscheduler.triggers.cron import CronTrigger
from cron_converter import Cron
from cron_descriptor import get_description
from croniter import croniter
from cronsim import CronSim

WISH, START = "5/15 * * * *", datetime(2026, 12, 1)


def texts(next_one) -> str:
    return " ".join(f"{next_one():%H:%M}" for _ in range(3))


by_croniter, by_cronsim = croniter(WISH, START), CronSim(WISH, START)
trigger, at = CronTrigger.from_crontab(WISH, timezone=UTC), START.replace(tzinfo=UTC)


def by_apscheduler() -> datetime:
    global at
    at = trigger.get_next_fire_time(at, at)
    return at


seen = {
    "cron-converter": texts(Cron(WISH).schedule(START).next),
    "croniter": texts(lambda: by_croniter.get_next(datetime)),
    "cronsim": texts(lambda: next(by_cronsim)),
    "apscheduler": texts(by_apscheduler),
}
for name, text in seen.items():
    print(name, version(name), text)
print("cron-descriptor", version("cron-descriptor"), get_description(WISH))
assert seen.pop("cron-converter") == "00:05 01:05 02:05", seen
assert set(seen.values()) == {"00:05 00:20 00:35"}, seen
PYTHON
