"""Notion as its API answers: listings by cursors, times of minutes, trash, what isn't shared."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from localfleet.services.authorization import Authorization
from localfleet.services.server import Asked, Reply, Service

Row = dict[str, Any]
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(seconds=20)  # from one change to the next
VERSIONS = ("2022-06-28", "2025-09-03", "2026-03-11")
PERSON, BOT, WORKSPACE = (str(UUID(int=number)) for number in (1, 2, 3))
OWNER = {"type": "user", "user": {"object": "user", "id": PERSON, "name": "Ann"}}
GRANTED = {
    "bot_id": BOT,
    "workspace_id": WORKSPACE,
    "workspace_name": "Acme",
    "workspace_icon": None,
    "owner": OWNER,
    "duplicated_template_id": None,
}


class Notion(Service):
    """A workspace, as far as it is shared with one integration.

    token: the internal integration's. page: rows of a page at most. remaining: requests until the
    limit; None: no limit. wait: seconds that it then asks to wait; more than a minute: the whole
    workspace is limited. unshared: ids of data sources that can't be queried. left_out: ids that
    the search does not find. apps: where people allow an app to see what they choose.
    """

    def __init__(self, token: str = "notion-token") -> None:  # noqa: S107 (a made-up one)
        super().__init__()
        self.token = token
        self.apps = Authorization(
            "Notion", lives=3600.0, rotates=True, error_status=400, separator=" "
        )
        self.apps.says_life = False
        self.page = 100
        self.remaining: int | None = None
        self.wait = 30
        self.unshared: set[str] = set()
        self.left_out: set[str] = set()
        self.data_sources: list[Row] = []
        self.pages: list[Row] = []
        self.clock = BEGIN
        self._ids = 100

    def add_data_source(self, name: str) -> Row:
        parent = {"type": "database_id", "database_id": self._id()}
        row = self._item("data_source", parent)
        properties = {"Name": {"id": "title", "type": "title", "title": {}}}
        row |= {"title": _texts(name), "properties": properties, "description": []}
        self.data_sources.append(row)
        return row

    def add_page(self, title: str, under: Row | None = None) -> Row:
        """Add a page to a data source; to the workspace itself if there is none."""
        parent: Row = {"type": "workspace", "workspace": True}
        name = "title"
        if under is not None:
            parent, name = {"type": "data_source_id", "data_source_id": under["id"]}, "Name"
        row = self._item("page", parent)
        row["properties"] = {name: {"id": "title", "type": "title", "title": _texts(title)}}
        self.pages.append(row)
        return row

    def edit(self, row: Row, title: str) -> None:
        if row["object"] == "data_source":
            row["title"] = _texts(title)
        else:
            (named,) = row["properties"].values()
            named["title"] = _texts(title)
        row["last_edited_time"] = self._tick()

    def move(self, row: Row, under: Row) -> None:
        (named,) = row["properties"].values()
        row["parent"] = {"type": "data_source_id", "data_source_id": under["id"]}
        row["properties"] = {"Name": named}
        row["last_edited_time"] = self._tick()

    def trash(self, row: Row) -> None:
        """It leaves listings, and nothing says so."""
        row["in_trash"] = row["archived"] = True
        row["last_edited_time"] = self._tick()

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/v1/oauth/authorize":
            return self.apps.consent(asked)
        if asked.headers.get("notion-version") not in VERSIONS:
            return self._error(400, "missing_version", "Notion-Version header failed validation")
        if asked.path.startswith("/v1/oauth/"):
            return self._oauth(asked)
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if token != self.token and self.apps.person_of(token) is None:
            return self._error(401, "unauthorized", "API token is invalid.")
        if self.remaining is not None:
            if self.remaining <= 0:
                return self._too_many()
            self.remaining -= 1
        return self._found(asked)

    def _found(self, asked: Asked) -> Reply:
        match asked.method, asked.path.split("/")[2:]:
            case "POST", ["search"]:
                return self._search(asked.form)
            case "POST", ["data_sources", found, "query"] if found not in self.unshared:
                return self._query(found, asked.form)
            case "GET", ["users", "me"]:
                bot = {"workspace_id": WORKSPACE, "workspace_name": "Acme", "owner": OWNER}
                return Reply(200, {"object": "user", "id": BOT, "type": "bot", "bot": bot})
        return self._error(404, "object_not_found", "Could not find it. Is it shared?")

    def _search(self, asked: Row) -> Reply:
        wanted = asked.get("filter", {}).get("value")
        rows = self.data_sources if wanted == "data_source" else self.pages
        found = [row for row in rows if row["id"] not in self.left_out]
        sort = asked.get("sort", {})
        return self._list(asked, found, sort.get("timestamp"), sort.get("direction"))

    def _query(self, data_source: str, asked: Row) -> Reply:
        if all(row["id"] != data_source or row["in_trash"] for row in self.data_sources):
            return self._error(404, "object_not_found", "Could not find the data source.")
        rows = [row for row in self.pages if row["parent"].get("data_source_id") == data_source]
        limit = asked.get("filter", {}).get("last_edited_time", {}).get("on_or_after", "")
        rows = [row for row in rows if row["last_edited_time"] >= limit]
        (sort,) = asked.get("sorts") or [{}]
        return self._list(asked, rows, sort.get("timestamp"), sort.get("direction"))

    def _list(self, asked: Row, rows: list[Row], by: str | None, direction: str | None) -> Reply:
        """A cursor is the id of the row that comes next, wherever that is by now."""
        there = [row for row in rows if not row["in_trash"]]
        there.sort(key=lambda row: (row[by or "last_edited_time"], row["id"]))
        if direction != "ascending":
            there.reverse()
        places = {row["id"]: number for number, row in enumerate(there)}
        start = asked.get("start_cursor")
        if start is not None and start not in places:
            return self._error(400, "validation_error", "The start_cursor provided is invalid")
        begin = places.get(start, 0)
        end = begin + min(asked.get("page_size", 100), self.page)
        following = there[end]["id"] if end < len(there) else None
        listed = {
            "object": "list",
            "results": deepcopy(there[begin:end]),
            "next_cursor": following,
            "has_more": following is not None,
        }
        return Reply(200, listed)

    def _oauth(self, asked: Asked) -> Reply:
        """The app proves by Basic who it is, and the body is of JSON."""
        if not asked.headers.get("authorization", "").startswith("Basic "):
            return Reply(401, {"error": "invalid_client"})
        if asked.path == "/v1/oauth/token":
            reply = self.apps.token(asked, "invalid_grant", "invalid_grant")
            return replace(reply, body=reply.body | GRANTED) if reply.status == 200 else reply
        person = self.apps.person_of(asked.form.get("token", ""))
        client = self.apps.authenticated(asked)
        if client is None or person is None:
            return Reply(400, {"error": "invalid_grant"})
        self.apps.revoke_person(person, client)
        return Reply(200, {"request_id": "r"})

    def _too_many(self) -> Reply:
        reason = "workspace_limit" if self.wait > 60 else "connection_limit"
        more = {"additional_data": {"rate_limit_reason": reason}}
        reply = self._error(429, "rate_limited", "You have been rate limited.")
        return Reply(429, reply.body | more, {"Retry-After": str(self.wait)})

    def _error(self, status: int, code: str, message: str) -> Reply:
        body = {"object": "error", "status": status, "code": code, "message": message}
        return Reply(status, body | {"request_id": "r"})

    def _item(self, kind: str, parent: Row) -> Row:
        key, at = self._id(), self._tick()
        who = {"object": "user", "id": PERSON}
        return {
            "object": kind,
            "id": key,
            "created_time": at,
            "last_edited_time": at,
            "created_by": who,
            "last_edited_by": who,
            "parent": parent,
            "archived": False,
            "in_trash": False,
            "url": f"https://www.notion.so/{key.replace('-', '')}",
            "public_url": None,
        }

    def _id(self) -> str:
        """Not in the order in which things are made."""
        self._ids += 1
        return str(UUID(int=(self._ids * 2654435761) % 2**96))

    def _tick(self) -> str:
        self.clock += STEP
        return f"{self.clock:%Y-%m-%dT%H:%M}:00.000Z"


def _texts(text: str) -> list[Row]:
    """As Notion splits a title where its style changes."""
    middle = len(text) // 2
    return [
        {"type": "text", "text": {"content": part, "link": None}, "plain_text": part}
        for part in (text[:middle], text[middle:])
        if part
    ]
