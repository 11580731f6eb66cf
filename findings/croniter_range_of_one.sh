#!/bin/bash
# croniter 7.0.0 takes a range of one value for the whole field: "5-5" as day of the week is every
# day, "30-30" as minute every minute. "5" and a list, "5,5", are read as they say. Four other
# libraries take "5-5" for Friday.
#
# Guess before: a range includes both its ends (man 5 crontab), so that 5-5 is Friday.
# Seen: as printed below.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    croniter==7.0.0 cronsim==2.8 cron-converter==2.0.2 celery==5.7.0 \
    cron-descriptor==2.2.1
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from celery.schedules import crontab
from cron_converter import Cron
from cron_descriptor import get_description
from croniter import croniter
from cronsim import CronSim

START = datetime(2026, 12, 1)  # a Tuesday


def celery_days() -> set[str]:
    return {f"{day}" for day in crontab.from_string("0 0 * * 5-5").day_of_week}


def days(next_one) -> str:
    return " ".join(f"{next_one():%a}" for _ in range(4))


by_croniter = croniter("0 0 * * 5-5", START)
by_cronsim = CronSim("0 0 * * 5-5", START)
by_converter = Cron("0 0 * * 5-5").schedule(START)
seen = {
    "croniter": days(lambda: by_croniter.get_next(datetime)),
    "cronsim": days(lambda: next(by_cronsim)),
    "cron-converter": days(by_converter.next),
}
for name, text in seen.items():
    print(name, version(name), text)
print("celery", version("celery"), "days of the week:", celery_days())
print("cron-descriptor", version("cron-descriptor"), get_description("0 0 * * 5-5"))
minutes = croniter("30-30 * * * *", START)
first = [minutes.get_next(datetime) for _ in range(2)]
print("croniter, 30-30 as minute:", *(f"{at:%H:%M}" for at in first))
assert seen == {
    "croniter": "Wed Thu Fri Sat", "cronsim": "Fri Fri Fri Fri", "cron-converter": "Fri Fri Fri Fri",
}, seen
assert celery_days() == {"5"}
assert first[1] - first[0] == timedelta(minutes=1), first
PYTHON
