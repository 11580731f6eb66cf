"""Bakaláři as schools' servers answer: a password login, tokens that rotate, no bulk data."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from datetime import datetime
from typing import Any

from localfleet.services.server import Asked, Reply, Service

Row = dict[str, Any]
HOURS = [
    {"Id": number + 2, "Caption": str(number), "BeginTime": f"{number + 7}:00", "EndTime": "…"}
    for number in range(10)
]


class Bakalari(Service):
    """A school with one pupil.

    lives: seconds that an access token is accepted. failed_logins: as the owner is shown them.
    loses_answers: tokens are renewed, and the answer with them is cut off, so many times. unused:
    modules that the school doesn't use.
    """

    def __init__(self, user: str = "pupil", password: str = "school-password") -> None:  # noqa: S107
        super().__init__()
        self.user, self.password = user, password
        self.lives = 3599.0
        self.logins = self.failed_logins = self.loses_answers = 0
        self.unused: set[str] = set()
        self.marks: list[Row] = []
        self.absences: list[Row] = []
        self.days: dict[str, list[str]] = {}
        self._tokens = 0
        self._access: dict[str, float] = {}
        self._refresh: set[str] = set()
        self._ids = 0

    def add_mark(self, subject: str, text: str, weight: int | None = None) -> Row:
        self._ids += 1
        row = {
            "Id": f"BOYV.{self._ids}}}FF4|:",
            "subject": subject,
            "MarkText": f"{text} ",
            "Weight": weight,
            "MarkDate": "2026-03-02T00:00:00+01:00",
            "Caption": "test",
            "IsPoints": False,
        }
        self.marks.append(row)
        return row

    def add_absence(self, date: str, missed: int) -> Row:
        known = {"Unsolved": 0, "Ok": missed, "Missed": missed, "Late": 0, "Soon": 0, "School": 0}
        self.absences.append({"Date": f"{date}T00:00:00+01:00", **known})
        return self.absences[-1]

    def forget_tokens(self) -> None:
        """As after a month without use."""
        self._access.clear()
        self._refresh.clear()

    def answer(self, asked: Asked) -> Reply:
        if "accept-language" not in asked.headers:
            return Reply(500, "<html>Chyba</html>")
        if asked.path == "/api/login" and asked.method == "POST":
            return self._login(asked.form)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if self._access.get(token, 0.0) < time.monotonic():
            return Reply(401, {"Message": "Authorization has been denied for this request."})
        return self._module(asked)

    def _login(self, form: dict[str, str]) -> Reply:
        if form.get("client_id") != "ANDR":
            return Reply(400, {"error": "invalid_client"})
        if form.get("grant_type") == "password":
            self.logins += 1
            if (form.get("username"), form.get("password")) != (self.user, self.password):
                self.failed_logins += 1
                return Reply(400, {"error": "invalid_grant"})
        elif form.get("refresh_token") in self._refresh:
            self._refresh.discard(form["refresh_token"])
        else:
            return Reply(400, {"error": "invalid_grant", "error_description": "already redeemed"})
        self._tokens += 1
        access, refresh = f"access-{self._tokens}", f"refresh-{self._tokens}"
        self._access = {access: time.monotonic() + self.lives}
        self._refresh.add(refresh)
        lost, self.loses_answers = self.loses_answers > 0, max(self.loses_answers - 1, 0)
        pair = {"access_token": access, "refresh_token": refresh, "expires_in": int(self.lives)}
        known = {"token_type": "Bearer", "scope": "openid", "bak:UserId": "A1"}
        return Reply(200, pair | known, half=lost)

    def _module(self, asked: Asked) -> Reply:
        name = asked.path.removeprefix("/api/3/")
        if name in self.unused:
            return Reply(403, {"Message": "Forbidden"})
        if name == "marks":
            return _with_bom({"Subjects": list(self._subjects()), "MarkOptions": []})
        if name == "absence/student":
            known = {"PercentageThreshold": 0.25, "AbsencesPerSubject": []}
            return _with_bom(known | {"Absences": self.absences})
        if name == "timetable/actual":
            return _with_bom(self._week())
        return Reply(404, {})

    def _subjects(self) -> list[Row]:
        names = dict.fromkeys(str(mark["subject"]) for mark in self.marks)
        return [
            {
                "Subject": {"Id": name, "Abbrev": f"{name[:3]}  ", "Name": f"{name} "},
                "AverageText": "2,86 ",
                "Marks": [deepcopy(mark) for mark in self.marks if mark["subject"] == name],
            }
            for name in names
        ]

    def _week(self) -> Row:
        """The same week, whichever is asked for: it is outside of the school year."""
        names = sorted({name for names in self.days.values() for name in names})
        days = [
            {
                "Date": f"{date}T00:00:00+01:00",
                "DayOfWeek": datetime.fromisoformat(date).isoweekday(),
                "DayType": "WorkDay",
                "Atoms": [
                    {"HourId": number, "SubjectId": name, "Theme": None, "Change": None}
                    for number, name in enumerate(lessons, 2)
                ],
            }
            for date, lessons in self.days.items()
        ]
        subjects = [{"Id": name, "Abbrev": f"{name[:3]} ", "Name": f"{name} "} for name in names]
        others: Row = {name: [] for name in ("Classes", "Groups", "Teachers", "Rooms", "Cycles")}
        return others | {"Hours": HOURS, "Days": days, "Subjects": subjects}


def _with_bom(body: Any) -> Reply:
    return Reply(200, f"\ufeff{json.dumps(body)}")
