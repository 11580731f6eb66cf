"""Notion: pages and data sources that are shared with the integration; no content of pages.

A search lists both in the order of their last change. What was changed comes by going back to where
the last reading began, with some minutes over, because Notion's times are of minutes and its search
follows a change only after a while. What was moved to the trash, or is no longer shared, leaves
silently: once a day all pages are listed, each data source by its own query, and what is no longer
listed is gone.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from common.errors import RainboError
from common.http import Answer
from integrations.plugin import (
    Account,
    Broken,
    Cursor,
    Gone,
    Item,
    Later,
    OAuth2,
    Plugin,
    Position,
    Record,
    Revocation,
    Token,
    Whole,
)
from integrations.source import Source

VERSION = "2025-09-03"
PAGE = 100
OVERLAP = timedelta(minutes=10)
FULL_EVERY = timedelta(days=1)
FULL_RETRY = timedelta(hours=6)  # until a full listing that was interrupted begins again
BUSY_WAIT = 60.0  # seconds, where Notion names none

Json = dict[str, Any]
Listing = Generator[Item, None, list[Json]]
Complete = Generator[Item, None, bool]


class NotShared(Broken):
    """It isn't there, or isn't shared with the integration: Notion does not distinguish these."""


class CursorRejected(Broken):
    """Notion no longer knows where a listing was left."""


class Notion(Plugin):
    name = "notion"
    title = "Notion"
    period = timedelta(minutes=30)
    base_url = "https://api.notion.com"
    auth = OAuth2(
        authorize="https://api.notion.com/v1/oauth/authorize",
        token="https://api.notion.com/v1/oauth/token",  # noqa: S106 (an address)
        client_authentication="basic",
        encoding="json",
        parameters={"owner": "user"},
        revoke=Revocation(
            url="https://api.notion.com/v1/oauth/revoke",
            encoding="json",
            is_authenticated=True,
            over=frozenset({"invalid_grant", "unauthorized"}),
        ),
        account_page="https://www.notion.so/my-integrations",
        instead=Token(
            help="Notion → Settings → Connections → Develop or manage integrations: the secret of "
            "an internal integration that may read content. Share pages with it: ••• → Connections"
        ),
    )
    headers = {"Notion-Version": VERSION}
    history = {"page": ("title", "parent"), "data_source": ("title",)}

    def fetch_data(self, source: Source, position: Position | None) -> Iterator[Item]:
        at: Json = dict(position or {})
        listed = yield from self._data_sources(source, at)
        if at.get("since") is None:
            yield from self._first_reading(source, at, listed)
        else:
            yield from self._changes(source, at)
        if _is_due(at, source.now()):
            yield from self._full_listing(source, at, listed)

    def identify(self, source: Source, granted: Mapping[str, Any]) -> Account:
        """A person in a workspace: what each of them shares is another part of it."""
        owner = granted.get("owner")
        user = owner.get("user") if isinstance(owner, dict) else None
        person = user.get("id") if isinstance(user, dict) else ""
        workspace = granted.get("workspace_id")
        if not workspace:
            raise Broken("Notion did not say which workspace it is")
        return Account(f"{workspace}/{person}", str(granted.get("workspace_name") or workspace))

    def explain(self, answer: Answer) -> RainboError | None:
        code, body = _error(answer)
        if answer.status in (429, 529):
            wait = answer.retry_after
            seconds = wait.total_seconds() if wait is not None else BUSY_WAIT
            return Later(seconds, f"Notion asked to wait{_reason(body)}")
        if answer.status == 403:
            return Broken(
                "Notion does not allow this (403): the integration may not read content. Give it "
                "this capability at Notion"
            )
        if answer.status == 404:
            return NotShared("Notion has no such thing, or it is not shared with the integration")
        if answer.status == 400 and code == "validation_error" and "cursor" in answer.text:
            return CursorRejected("Notion no longer knows where the listing was left")
        return None

    def _data_sources(self, source: Source, at: Json) -> Listing:
        """All of them, at each reading: they are few. Return those that are there."""
        found = []
        for row in _search(source, "data_source"):
            yield _item(row)
            found += [] if _is_trashed(row) else [row]
        yield Whole("data_source")
        yield Cursor(dict(at))
        return found

    def _first_reading(self, source: Source, at: Json, listed: list[Json]) -> Iterator[Item]:
        """All pages, the latest change last: one that is changed meanwhile comes once more.

        It goes on where it was left. Unless it is known to be whole, a full listing follows.
        """
        began, left = source.now(), at.get("left")
        front = _front(source) if not at else None
        try:
            yield from self._pages_in_order(source, at, left)
        except CursorRejected:
            if left is None:
                raise
            yield from self._pages_in_order(source, at, None)
        is_whole = yield from self._rows(source, at, listed)
        if is_whole and front is not None and front == _front(source):
            at["full_at"] = at["tried_at"] = began.isoformat()
        at["since"] = at.pop("latest", None)
        at.pop("left", None)
        yield Cursor(dict(at))

    def _pages_in_order(self, source: Source, at: Json, left: str | None) -> Iterator[Item]:
        for rows, following in _pages(source, "/v1/search", _asking_for("page", "ascending"), left):
            for row in rows:
                yield _item(row)
                at["latest"] = max(at.get("latest") or "", row["last_edited_time"])
            if following:
                at["left"] = following
                yield Cursor(dict(at))

    def _changes(self, source: Source, at: Json) -> Iterator[Item]:
        """Back to where the last reading began. A page that is changed meanwhile moves to the
        front, which was read already: the next reading finds it.
        """
        back_to, latest = _before(at["since"]), at["since"]
        for row in _search(source, "page", "descending"):
            if row["last_edited_time"] < back_to:
                break
            yield _item(row)
            latest = max(latest, row["last_edited_time"])
        at["since"] = latest
        yield Cursor(dict(at))

    def _full_listing(self, source: Source, at: Json, listed: list[Json]) -> Iterator[Item]:
        """From the beginning, each time. What is no longer listed is gone, but only if no page was
        changed meanwhile: one that moves within the order could take the rest of a listing along.
        """
        began, front, count = source.now(), _front(source), 0
        if at.get("full_at") is not None and _is_over(at["full_at"], 2 * FULL_EVERY, began):
            source.warn("no full listing has ended for two days: what left Notion is not known")
        at["tried_at"] = began.isoformat()
        yield Cursor(dict(at))
        for rows, _ in _pages(source, "/v1/search", _asking_for("page", "ascending")):
            yield from map(_item, rows)
            yield Cursor(dict(at))
            count += 1
        is_whole = yield from self._rows(source, at, listed)
        if is_whole and (count == 1 or _front(source) == front):
            yield Whole("page")
            at["full_at"] = began.isoformat()
        yield Cursor(dict(at))

    def _rows(self, source: Source, at: Json, listed: list[Json]) -> Complete:
        """The pages in data sources, of which the search alone may leave some out.

        Return whether all were listed.
        """
        is_whole = True
        for one in listed:
            try:
                for rows, _ in _pages(source, f"/v1/data_sources/{one['id']}/query", _QUERY):
                    yield from map(_item, rows)
                    yield Cursor(dict(at))
            except NotShared:
                is_whole = False
                source.warn(f"the data source {_plain(one.get('title'))!r} can't be read")
        return is_whole


_QUERY = {
    "sorts": [{"timestamp": "created_time", "direction": "ascending"}],
    "page_size": PAGE,
}


def _asking_for(kind: str, direction: str) -> Json:
    return {
        "filter": {"property": "object", "value": kind},
        "sort": {"timestamp": "last_edited_time", "direction": direction},
        "page_size": PAGE,
    }


def _search(source: Source, kind: str, direction: str = "ascending") -> Iterator[Json]:
    for rows, _ in _pages(source, "/v1/search", _asking_for(kind, direction)):
        yield from rows


def _front(source: Source) -> set[tuple[str, str]]:
    """The pages of the latest change, by id and time: these differ after any other change."""
    found: set[tuple[str, str]] = set()
    latest = ""
    for row in _search(source, "page", "descending"):
        latest = latest or row["last_edited_time"]
        if row["last_edited_time"] < latest:
            break
        found.add((str(row["id"]), latest))
    return found


def _pages(
    source: Source, path: str, asked: Mapping[str, Any], left: str | None = None
) -> Iterator[tuple[list[Json], str | None]]:
    """Yield the pages of a listing, each with where the next one begins; None after the last."""
    following = left
    while True:
        begin = {"start_cursor": following} if following else {}
        answer = source.json(source.post(path, {**asked, **begin}))
        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            raise Broken("Notion did not answer as Notion does: no list is in it")
        before, following = following, answer.get("next_cursor")
        if answer.get("has_more") and (not following or following == before):
            raise Broken("Notion says that there is more, and not where: the listing is incomplete")
        if not answer.get("has_more"):
            following = None
        yield answer["results"], following
        if following is None:
            return


def _item(row: Json) -> Item:
    kind = str(row["object"])
    if kind not in ("page", "data_source"):
        raise Broken(f"Notion answered with a {kind[:40]!r} where a page was asked for")
    if _is_trashed(row):
        return Gone(kind, str(row["id"]))
    return _page(row) if kind == "page" else _data_source(row)


def _is_trashed(row: Json) -> bool:
    """Notion called it `archived` before it called it `in_trash`; versions send either or both."""
    return bool(row.get("in_trash") or row.get("archived"))


def _page(row: Json) -> Record:
    named = [one for one in row["properties"].values() if one.get("type") == "title"]
    return _record(row, _plain(named[0].get("title")) if named else "", {})


def _data_source(row: Json) -> Record:
    types = {name: one.get("type") for name, one in row["properties"].items()}
    return _record(row, _plain(row.get("title")), {"properties": types})


def _record(row: Json, title: str, data: Json) -> Record:
    parent = row.get("parent") or {}
    kept = {
        "title": title,
        "parent": parent.get(parent.get("type", "")),
        "parent_type": parent.get("type"),
        "created_by": (row.get("created_by") or {}).get("id"),
        "last_edited_by": (row.get("last_edited_by") or {}).get("id"),
        "last_edited_time": row["last_edited_time"],
    }
    at = datetime.fromisoformat(row["created_time"])
    link = row.get("url") or ""
    return Record(row["object"], str(row["id"]), kept | data, title or "Untitled", link, at)


def _plain(texts: list[Json] | None) -> str:
    return "".join(str(one.get("plain_text", "")) for one in texts or [])


def _error(answer: Answer) -> tuple[str, Json]:
    """What Notion calls an error, and its whole body; empty if that is no error of Notion's."""
    if answer.is_success:
        return "", {}
    try:
        body = json.loads(answer.text)
    except (ValueError, RecursionError):
        return "", {}
    return (str(body.get("code", "")), body) if isinstance(body, dict) else ("", {})


def _reason(body: Json) -> str:
    """Which limit it is: that of the connection, or that of the whole workspace."""
    more = body.get("additional_data")
    reason = more.get("rate_limit_reason") if isinstance(more, dict) else None
    return f" ({reason[:60]})" if isinstance(reason, str) and reason.isprintable() else ""


def _before(since: str) -> str:
    """Some minutes earlier, as Notion writes times: then they sort as text."""
    at = datetime.fromisoformat(since) - OVERLAP
    return f"{at:%Y-%m-%dT%H:%M}:00.000Z"


def _is_due(at: Json, now: datetime) -> bool:
    tried, full = at.get("tried_at"), at.get("full_at")
    return _is_over(full, FULL_EVERY, now) and _is_over(tried, FULL_RETRY, now)


def _is_over(since: str | None, length: timedelta, now: datetime) -> bool:
    return since is None or datetime.fromisoformat(since) + length <= now
