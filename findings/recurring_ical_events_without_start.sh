#!/bin/bash
# recurring-ical-events 3.8.2: one event without DTSTART fails every query of the whole calendar with
# a KeyError, also with skip_bad_series=True. Such an event is valid where the calendar has a METHOD
# (RFC 5545, 3.6.1), as invitations and cancellations by mail do.
#
# Guess before: with skip_bad_series=True the event is left out and the others are returned.
# Seen: as printed below. The flag does leave out an event whose recurrence rule can't be read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    recurring-ical-events==3.8.2 icalendar==7.3.2
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
from datetime import date
from importlib.metadata import version

import icalendar
import recurring_ical_events

GOOD = ("UID:good", "DTSTAMP:20260101T000000Z", "SUMMARY:good", "DTSTART:20260324T090000Z")
NO_START = ("UID:odd", "DTSTAMP:20260101T000000Z", "SUMMARY:without start")
NO_RULE = (*NO_START, "DTSTART:20260324T080000Z", "RRULE:FREQ=SOMETIMES")


def found(*events: tuple[str, ...], **flags: bool) -> list[str] | str:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:example", "METHOD:PUBLISH"]
    for event in events:
        lines += ["BEGIN:VEVENT", *event, "END:VEVENT"]
    calendar = icalendar.Calendar.from_ical("\r\n".join([*lines, "END:VCALENDAR", ""]))
    try:
        query = recurring_ical_events.of(calendar, **flags)
        return [str(one["SUMMARY"]) for one in query.between(date(2026, 3, 1), date(2026, 4, 1))]
    except Exception as error:
        return type(error).__name__


seen = {
    "no DTSTART": found(NO_START, GOOD),
    "no DTSTART, skip_bad_series": found(NO_START, GOOD, skip_bad_series=True),
    "bad rule, skip_bad_series": found(NO_RULE, GOOD, skip_bad_series=True),
}
print("recurring-ical-events", version("recurring-ical-events"))
for what, result in seen.items():
    print(f"{what}: {result}")
assert seen["no DTSTART"] == seen["no DTSTART, skip_bad_series"] == "KeyError", seen
assert seen["bad rule, skip_bad_series"] == ["good"], seen
PYTHON
