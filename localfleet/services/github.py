"""GitHub as its API answers: pages by Link, ETags, `since`, limits; and where people allow apps."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from localfleet.services.authorization import Authorization
from localfleet.services.server import Asked, Reply, Service

Row = dict[str, Any]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class GitHub(Service):
    """Repositories, issues and notifications of one person.

    token: the one that is accepted. page: rows of a page at most, whatever is asked. remaining:
    requests until the limit; None: no limit. reset: seconds until it begins again. apps: where
    people allow an app what it asks for; their ids are by their logins.
    """

    def __init__(self, token: str = "github-token") -> None:  # noqa: S107 (a made-up one)
        super().__init__()
        self.token = token
        self.apps = Authorization(
            "GitHub", lives=None, rotates=True, error_status=200, separator=","
        )
        self.people = {"ann": 1, "bob": 2}
        self.page = 100
        self.remaining: int | None = None
        self.reset = 120
        self.repositories: list[Row] = []
        self.issues: list[Row] = []
        self.notifications: list[Row] = []
        self._ids = 0
        self._changes = 0

    def add_repository(self, name: str) -> Row:
        row = {"id": self._id(), "full_name": f"ann/{name}", "private": False, "archived": False}
        made = {"html_url": f"https://github.com/ann/{name}", "created_at": self._tick()}
        self.repositories.append(row | made)
        return self.repositories[-1]

    def add_issue(self, title: str, *, pull: bool = False) -> Row:
        number, at = self._id(), self._tick()
        row: Row = {
            "id": number,
            "number": number,
            "title": title,
            "state": "open",
            "comments": 0,
            "user": {"login": "ann"},
            "assignees": [],
            "labels": [{"name": "bug"}],
            "repository": {"full_name": "ann/home"},
            "html_url": f"https://github.com/ann/home/issues/{number}",
            "created_at": at,
            "updated_at": at,
        }
        if pull:
            row |= {"pull_request": {"url": "…"}, "draft": False}
        self.issues.append(row)
        return row

    def edit(self, row: Row, **fields: Any) -> None:
        row.update(fields, updated_at=self._tick())

    def add_notification(self, title: str) -> Row:
        row = {
            "id": str(self._id()),
            "reason": "mention",
            "unread": True,
            "subject": {"title": title, "type": "Issue"},
            "repository": {"full_name": "ann/home"},
            "updated_at": self._tick(),
        }
        self.notifications.append(row)
        return row

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/login/oauth/authorize":
            return self.apps.consent(asked)
        if asked.path == "/login/oauth/access_token":
            return self.apps.token(asked, "bad_verification_code", "bad_refresh_token")
        if asked.path.startswith("/applications/") and asked.method == "DELETE":
            return self._withdraw(asked)
        scheme, _, token = asked.headers.get("authorization", "").partition(" ")
        token = token if scheme.lower() in ("bearer", "token") else ""
        person = "ann" if token == self.token else self.apps.person_of(token)
        if person is None:
            return Reply(401, {"message": "Bad credentials"})
        if asked.path == "/user":
            return Reply(200, {"id": self.people[person], "login": person})
        if self.remaining is not None and self.remaining <= 0:
            return Reply(403, {"message": "API rate limit exceeded"}, self._limits())
        reply = self._found(asked)
        if self.remaining is not None and reply.status != 304:
            self.remaining -= 1
        return reply

    def _withdraw(self, asked: Asked) -> Reply:
        """All that the token's owner granted to the app."""
        client = self.apps.authenticated(asked)
        person = self.apps.person_of(asked.form.get("access_token", ""))
        if client is None or asked.path != f"/applications/{client}/grant":
            return Reply(401, {"message": "Bad credentials"})
        if person is None:
            return Reply(404, {"message": "Not Found"})
        self.apps.revoke_person(person, client)
        return Reply(204)

    def _found(self, asked: Asked) -> Reply:
        if asked.path == "/user/repos":
            return self._list(asked, self.repositories)
        if asked.path == "/issues":
            return self._list(asked, self._issues_asked_for(asked))
        if asked.path == "/notifications":
            return self._notifications_asked_for(asked)
        return Reply(404, {"message": "Not Found"})

    def _issues_asked_for(self, asked: Asked) -> list[Row]:
        since = asked.parameters.get("since", "")
        by = f"{asked.parameters.get('sort', 'created')}_at"
        return sorted(
            (row for row in self.issues if row["updated_at"] >= since),
            key=lambda row: (row[by], row["id"]),
            reverse=asked.parameters.get("direction") == "desc",
        )

    def _notifications_asked_for(self, asked: Asked) -> Reply:
        latest = max((row["updated_at"] for row in self.notifications), default=_write(BEGIN))
        stamp = format_datetime(datetime.fromisoformat(latest), usegmt=True)
        headers = {"Last-Modified": stamp, "X-Poll-Interval": "60"}
        if asked.headers.get("if-modified-since") == stamp:
            return Reply(304, None, headers)
        since, before = asked.parameters.get("since", ""), asked.parameters.get("before", "Z")
        rows = [row for row in self.notifications if since <= row["updated_at"] < before]
        rows.sort(key=lambda row: (row["updated_at"], row["id"]), reverse=True)
        return self._list(asked, rows, headers)

    def _list(self, asked: Asked, rows: list[Row], headers: dict[str, str] | None = None) -> Reply:
        size = min(int(asked.parameters.get("per_page", "30")), self.page)
        number = int(asked.parameters.get("page", "1"))
        shown = deepcopy(rows[(number - 1) * size : number * size])
        etag = f'W/"{hashlib.sha256(json.dumps(shown).encode()).hexdigest()}"'
        found = {"ETag": etag, **(headers or {})}
        if asked.headers.get("if-none-match") == etag:
            return Reply(304, None, found)
        if number * size < len(rows):
            query = urlencode(asked.parameters | {"page": str(number + 1)})
            found["Link"] = f'<{self.url}{asked.path}?{query}>; rel="next"'
        return Reply(200, shown, found)

    def _limits(self) -> dict[str, str]:
        reset = datetime.now(UTC) + timedelta(seconds=self.reset)
        return {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(reset.timestamp()))}

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def _tick(self) -> str:
        self._changes += 1
        return _write(BEGIN + timedelta(seconds=self._changes))


def _write(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
