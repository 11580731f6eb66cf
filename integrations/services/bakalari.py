"""Bakaláři: marks, absences and the timetable of the pupil who logs in.

The interface is not official, and each school has a server of its own, of any age. There is no
bulk data: what a school doesn't use, or has not begun yet, is empty or forbidden. That is a
success, with a warning, and nothing is taken as gone then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from common.errors import RainboError
from common.http import Answer
from integrations.plugin import (
    Broken,
    Cursor,
    Gone,
    Item,
    Password,
    Plugin,
    Position,
    Record,
    Whole,
)
from integrations.source import Source

WEEKS = (0, 1)  # this one and the next
Json = dict[str, Any]


class NotThere(Broken):
    """The school doesn't use this module, or the role may not see it."""


class Bakalari(Plugin):
    name = "bakalari"
    title = "Bakaláři"
    period = timedelta(minutes=15)
    base_url = ""
    auth = Password(
        help="the name of your account at school, its password, and the school's address",
        path="/api/login",
        fields={"client_id": "ANDR"},
    )
    limit = 60.0
    headers = {"Accept-Language": "cs"}  # without it, some servers answer 500
    history = {"mark": ("text", "weight"), "absence": ("missed", "unsolved", "ok")}

    def fetch_data(self, source: Source, position: Position | None) -> Iterator[Item]:
        at: Json = dict(position or {})
        modules: tuple[Callable[[Source, Json], Iterator[Item]], ...]
        modules = (self._marks, self._absences, self._lessons)
        missing = 0
        for module in modules:
            try:
                yield from module(source, at)
            except NotThere as error:
                missing += 1
                source.warn(str(error))
        if missing == len(modules):
            raise Broken("the school's server lets this account see nothing")
        yield Cursor(at)

    def explain(self, answer: Answer) -> RainboError | None:
        if answer.status in (403, 404):
            return NotThere(f"Bakaláři has no such module for this account ({answer.status})")
        return None

    def _marks(self, source: Source, _: Json) -> Iterator[Item]:
        subjects = source.json(source.get("/api/3/marks"))["Subjects"]
        count = 0
        for subject in subjects:
            for mark in subject["Marks"]:
                count += 1
                yield _mark(mark, subject["Subject"])
        if count:
            yield Whole("mark")
        else:
            source.warn("there are no marks")

    def _absences(self, source: Source, _: Json) -> Iterator[Item]:
        """They have no id: there is one for each day."""
        days = source.json(source.get("/api/3/absence/student"))["Absences"]
        for day in days:
            yield _absence(day)
        if days:
            yield Whole("absence")
        else:
            source.warn("there are no absences")

    def _lessons(self, source: Source, at: Json) -> Iterator[Item]:
        """Weeks are read one by one. Of days that are read again, lessons can be gone.

        Outside of the school year another week is answered than the one that was asked for.
        """
        before: dict[str, list[str]] = at.get("lessons", {})
        now: dict[str, list[str]] = {}
        for week in WEEKS:
            asked = source.now() + timedelta(weeks=week)
            answer = source.get("/api/3/timetable/actual", {"date": f"{asked:%Y-%m-%d}"})
            table = source.json(answer)
            names = {row["Id"]: row["Name"] for row in table.get("Subjects", [])}
            for day in table["Days"]:
                lessons = list(_lessons(day, names))
                now[day["Date"][:10]] = [lesson.id for lesson in lessons]
                yield from lessons
        if not any(now.values()):
            source.warn("the timetable is empty")
        for date, ids in before.items():
            for key in ids if date in now else ():
                if key not in now[date]:
                    yield Gone("lesson", key)
        at["lessons"] = now


def _mark(row: Json, subject: Json) -> Record:
    data = {
        "subject": _text(subject.get("Name")),
        "text": _text(row.get("MarkText")),
        "weight": row.get("Weight"),
        "caption": _text(row.get("Caption")),
        "theme": _text(row.get("Theme")),
        "points": row.get("IsPoints"),
    }
    title = f"{data['subject']}: {data['text']}"
    return Record("mark", str(row["Id"]), data, title, "", _time(row.get("MarkDate")))


def _absence(row: Json) -> Record:
    names = ("Unsolved", "Ok", "Missed", "Late", "Soon", "School")
    data = {name.lower(): row.get(name) for name in names}
    date = str(row["Date"])[:10]
    return Record("absence", date, data, date, "", _time(row["Date"]))


def _lessons(day: Json, names: dict[str, str]) -> Iterator[Record]:
    """A lesson's id is its day, hour and place among those at the same time."""
    hours: dict[str, int] = {}
    date = str(day["Date"])[:10]
    for row in day["Atoms"]:
        hour = str(row["HourId"])
        hours[hour] = hours.get(hour, 0) + 1
        change = row.get("Change") or {}
        data = {
            "subject": _text(names.get(row.get("SubjectId") or "")),
            "theme": _text(row.get("Theme")),
            "change": _text(change.get("Description")),
        }
        key = f"{date}/{hour}/{hours[hour]}"
        yield Record("lesson", key, data, data["subject"] or "no subject", "", _time(day["Date"]))


def _text(value: object) -> str | None:
    """Names come padded with blanks."""
    return str(value).strip() if value is not None else None


def _time(text: str | None) -> datetime | None:
    at = datetime.fromisoformat(text) if text else None
    return at if at is not None and at.tzinfo else None
