"""GitHub: repositories, issues and pull requests, notifications of the person whose token it is.

Requests are conditional where a 304 says enough: it costs nothing of the hourly limit. Issues
come by `since`, which never names what was deleted or moved; once a day they
are listed in full, and what is no longer listed is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from common.errors import RainboError
from common.http import Answer
from integrations.plugin import (
    Account,
    Broken,
    Cursor,
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

HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
PAGE = "100"
FULL_EVERY = timedelta(days=1)
EACH_PAGE, PAGES_TOGETHER = 50, 10  # up to so many pages each is a step, later ten together
SECONDARY_WAIT = 60.0  # seconds, where GitHub names none

Json = dict[str, Any]


@dataclass
class Listing:
    """A list that was read page by page. pages: of each its address, its ETag and its ids."""

    pages: list[tuple[str, str, list[str]]] = field(default_factory=list)

    @property
    def known(self) -> list[list[str]]:
        return [[url, etag] for url, etag, _ in self.pages]


class GitHub(Plugin):
    name = "github"
    title = "GitHub"
    period = timedelta(minutes=15)
    base_url = "https://api.github.com"
    auth = OAuth2(
        authorize="https://github.com/login/oauth/authorize",
        token="https://github.com/login/oauth/access_token",  # noqa: S106 (an address)
        scopes=("repo", "notifications"),
        rejected=frozenset({"bad_verification_code", "bad_refresh_token"}),
        revoke=Revocation(
            url="https://api.github.com/applications/{client_id}/grant",
            method="DELETE",
            token="access_token",  # noqa: S106 (the name of a field)
            encoding="json",
            is_authenticated=True,
            over=frozenset({404, 422}),
        ),
        account_page="https://github.com/settings/applications",
        instead=Token(
            help="GitHub → Settings → Developer settings → Personal access tokens; it needs to "
            "read repositories, issues and notifications"
        ),
    )
    history = {"issue": ("state", "title"), "pull_request": ("state", "title", "draft")}

    def fetch_data(self, source: Source, position: Position | None) -> Iterator[Item]:
        at: Json = dict(position or {})
        yield from self._repositories(source, at)
        yield from self._issues(source, at)
        yield from self._notifications(source, at)

    def identify(self, source: Source, granted: Mapping[str, Any]) -> Account:
        found = source.json(source.get("/user", headers=HEADERS))
        if not isinstance(found, dict):
            raise Broken("GitHub did not say who it is")
        return Account(str(found.get("id") or ""), str(found.get("login") or ""))

    def explain(self, answer: Answer) -> RainboError | None:
        """A limit comes as 403 or 429, with or without saying how long it lasts."""
        if answer.status not in (403, 429):
            return None
        if answer.retry_after is not None:
            return Later(answer.retry_after.total_seconds(), "GitHub asked to wait")
        if answer.headers.get("X-RateLimit-Remaining") == "0":
            return Later(_until_reset(answer), "the hourly limit of GitHub is used up")
        if answer.status == 429 or "rate limit" in answer.text.lower():
            return Later(SECONDARY_WAIT, "GitHub asked to wait")
        return Broken(
            "GitHub does not allow this (403): the token has no permission for it. Give it one at "
            "GitHub, or connect with another token"
        )

    def _repositories(self, source: Source, at: Json) -> Iterator[Item]:
        order = {"per_page": PAGE, "sort": "created", "direction": "asc"}
        if not _unchanged(source, at.get("repositories", [])):
            listing = Listing()
            for row in _list(source, "/user/repos", order, listing):
                yield _repository(row)
            if _is_whole(source, listing):
                yield Whole("repository")
                at["repositories"] = listing.known
        yield Cursor(dict(at))

    def _issues(self, source: Source, at: Json) -> Iterator[Item]:
        if _is_due(at.get("full_at"), source.now()):
            yield from self._all_issues(source, at)
        else:
            yield from self._changed_issues(source, at)

    def _all_issues(self, source: Source, at: Json) -> Iterator[Item]:
        """In the order in which they were made: an edit moves none to another page.

        What was read stays read: a listing that was stopped goes on at its next page, for a day.
        """
        listing: Json | None = at.get("listing")
        if listing is None or _is_due(listing["began"], source.now()):
            at["listing"] = listing = self._begin_listing(source)
        elif listing["pages"]:  # its last page may have more rows now, and others after it
            listing["next"], *_ = listing["pages"].pop()
        while listing["next"]:
            answer = source.get(listing["next"], headers=HEADERS)
            rows = _rows(source, answer)
            yield from map(_issue, rows)
            listing["pages"].append([listing["next"], answer.headers.get("ETag", ""), _keys(rows)])
            listing["next"] = _next(answer)
            count = len(listing["pages"])
            # The position grows with each page: of a long one, not every page writes it.
            if count <= EACH_PAGE or count % PAGES_TOGETHER == 0:
                yield Cursor(_copy(at))
        is_whole = True
        for url, etag, keys in listing["pages"] if len(listing["pages"]) > 1 else []:
            answer = source.get(url, headers=HEADERS | ({"If-None-Match": etag} if etag else {}))
            if answer.status != 304:
                rows = _rows(source, answer)
                yield from map(_issue, rows)
                is_whole = is_whole and _keys(rows)[: len(keys)] == keys
        if is_whole:
            read = [key.split(" ") for _, _, keys in listing["pages"] for key in keys]
            for kind in ("issue", "pull_request"):
                yield Whole(kind, before=frozenset(key for of, key in read if of == kind))
            at["full_at"] = listing["began"]
        at["since"] = listing["since"]
        del at["listing"]
        yield Cursor(_copy(at))

    def _begin_listing(self, source: Source) -> Json:
        """What changes while the pages are read, is changed after the latest change of now."""
        latest = {**_ALL_ISSUES, "sort": "updated", "direction": "desc", "per_page": "1"}
        rows = _rows(source, source.get("/issues", latest, HEADERS))
        order = {**_ALL_ISSUES, "sort": "created", "direction": "asc"}
        return {
            "began": source.now().isoformat(),
            "since": rows[0]["updated_at"] if rows else None,
            "pages": [],
            "next": _address("/issues", order),
        }

    def _changed_issues(self, source: Source, at: Json) -> Iterator[Item]:
        """In the order of their changes. Each page is asked for by the time of the last change on
        the one before: by number, an issue that is changed meanwhile would move others off it.
        """
        url = _address("/issues", _changed_since(at.get("since")))
        while url:
            answer = source.get(url, headers=HEADERS)
            rows, before = _rows(source, answer), at.get("since")
            for row in rows:
                yield _issue(row)
                at["since"] = _later(at.get("since"), row["updated_at"])
            yield Cursor(dict(at))
            url = _next(answer)
            if url and at.get("since") != before:
                url = _address("/issues", _changed_since(at["since"]))

    def _notifications(self, source: Source, at: Json) -> Iterator[Item]:
        """Not more often than GitHub says with each answer. The latest come first: a listing that
        was stopped goes on below the last one that it read.
        """
        now = source.now()
        if not _is_over(at.get("poll_after"), now):
            return
        listing: Json = at.get("notifying") or {"latest": at.get("notified")}
        goes_on = "before" in listing
        order = {"all": "true", "per_page": "50"}
        order |= {"since": at["notified"]} if at.get("notified") else {}
        order |= {"before": listing["before"]} if goes_on else {}
        is_known = at.get("modified") and not goes_on
        headers = {"If-Modified-Since": at["modified"]} if is_known else {}
        answer = source.get("/notifications", order, HEADERS | headers)
        poll = answer.headers.get("X-Poll-Interval", "60")
        wait = timedelta(seconds=int(poll) if poll.isdecimal() else 60)
        at["poll_after"] = (now + wait).isoformat()
        if answer.status != 304:
            if not goes_on:
                listing["modified"] = answer.headers.get("Last-Modified", "")
            at["notifying"] = listing
            yield from self._listed_notifications(source, at, answer)
            at |= {"modified": listing["modified"], "notified": listing["latest"]}
            del at["notifying"]
        yield Cursor(dict(at))

    def _listed_notifications(self, source: Source, at: Json, answer: Answer) -> Iterator[Item]:
        listing: Json = at["notifying"]
        while True:
            for row in _rows(source, answer):
                yield _notification(row)
                listing["latest"] = _later(listing["latest"], row["updated_at"])
                listing["before"] = _second_after(row["updated_at"])  # others may be of that second
            if not (url := _next(answer)):
                return
            yield Cursor(_copy(at))
            answer = source.get(url, headers=HEADERS)


_ALL_ISSUES = {"filter": "all", "state": "all", "per_page": PAGE}


def _changed_since(since: str | None) -> dict[str, str]:
    order = {**_ALL_ISSUES, "sort": "updated", "direction": "asc"}
    return order | ({"since": since} if since else {})


def _list(
    source: Source, path: str, parameters: Mapping[str, str], listing: Listing
) -> Iterator[Json]:
    """Yield the rows of a list, page by page, and note the pages."""
    url = _address(path, parameters)
    while url:
        answer = source.get(url, headers=HEADERS)
        rows = _rows(source, answer)
        listing.pages.append((url, answer.headers.get("ETag", ""), _ids(rows)))
        yield from rows
        url = _next(answer)


def _is_whole(source: Source, listing: Listing) -> bool:
    """Whether no row was removed while the pages were read: one that goes moves the next ones
    forward, over the edge of a page that was read already. So each page must still begin with the
    rows that it had. One page alone has no edge.
    """
    if len(listing.pages) == 1:
        return True
    for url, etag, ids in listing.pages:
        answer = source.get(url, headers=HEADERS | ({"If-None-Match": etag} if etag else {}))
        if answer.status != 304 and _ids(_rows(source, answer))[: len(ids)] != ids:
            return False
    return True


def _unchanged(source: Source, known: list[list[str]]) -> bool:
    """Whether pages that were read before are as they were, and no other follows; no page is not.

    The last one is read: a 304 would not say that there is a page after it now.
    """
    if not known or not all(etag for _, etag in known):
        return False
    *others, (last, tag) = known
    answer = source.get(last, headers=HEADERS)
    if answer.headers.get("ETag") != tag or _next(answer):
        return False
    return all(
        source.get(url, headers=HEADERS | {"If-None-Match": etag}).status == 304
        for url, etag in others
    )


def _ids(rows: list[Json]) -> list[str]:
    return [str(row["id"]) for row in rows]


def _keys(rows: list[Json]) -> list[str]:
    return [f"{_kind(row)} {row['id']}" for row in rows]


def _copy(at: Json) -> Json:
    """The position as it is now: it is stored later, and goes on changing."""
    copied: Json = json.loads(json.dumps(at))
    return copied


def _kind(row: Json) -> str:
    return "issue" if row.get("pull_request") is None else "pull_request"


def _address(path: str, parameters: Mapping[str, str]) -> str:
    return f"{path}?{urlencode(parameters)}"


def _later(one: str | None, other: str) -> str:
    """The later of two times as GitHub writes them, which sort as text."""
    return max(one or "", other)


def _second_after(time: str) -> str:
    return f"{datetime.fromisoformat(time) + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"


def _rows(source: Source, answer: Answer) -> list[Json]:
    found = source.json(answer)
    if not isinstance(found, list):
        raise Broken("GitHub answered something that is no list")
    return found


def _next(answer: Answer) -> str:
    """The address of the next page, which the Link header has; empty after the last one."""
    for link in answer.headers.get("Link", "").split(","):
        address, _, relation = link.partition(";")
        if 'rel="next"' in relation:
            return address.strip().strip("<>")
    return ""


def _until_reset(answer: Answer) -> float:
    """Seconds until the limit is reset, by GitHub's own clock where it sends it."""
    reset, date = answer.headers.get("X-RateLimit-Reset", ""), answer.headers.get("Date", "")
    if not reset.isdecimal() or not date:
        return SECONDARY_WAIT
    return max(float(reset) - parsedate_to_datetime(date).timestamp(), 1.0)


def _is_due(last: str | None, now: datetime) -> bool:
    return last is None or datetime.fromisoformat(last) + FULL_EVERY <= now


def _is_over(until: str | None, now: datetime) -> bool:
    return until is None or datetime.fromisoformat(until) <= now


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _name(row: Json | None, key: str = "login") -> str | None:
    return None if row is None else row.get(key)


def _repository(row: Json) -> Record:
    kept = ("full_name", "private", "description", "archived", "default_branch", "language")
    data = {name: row.get(name) for name in kept}
    at = _time(row.get("created_at"))
    return Record("repository", str(row["id"]), data, row["full_name"], row["html_url"], at)


def _issue(row: Json) -> Record:
    kept = ("number", "title", "state", "state_reason", "comments", "closed_at", "updated_at")
    data = {name: row.get(name) for name in kept} | {
        "author": _name(row.get("user")),
        "assignees": [_name(person) for person in row.get("assignees") or []],
        "labels": [_name(label, "name") for label in row.get("labels") or []],
        "repository": _name(row.get("repository"), "full_name"),
    }
    kind = _kind(row)
    if kind == "pull_request":
        data["draft"] = row.get("draft")
    title, at = row["title"], _time(row.get("created_at"))
    return Record(kind, str(row["id"]), data, title, row["html_url"], at)


def _notification(row: Json) -> Record:
    subject = row["subject"]
    data = {
        "reason": row.get("reason"),
        "unread": row.get("unread"),
        "type": subject.get("type"),
        "updated_at": row.get("updated_at"),
        "repository": _name(row.get("repository"), "full_name"),
    }
    at = _time(row.get("updated_at"))
    return Record("notification", str(row["id"]), data, subject["title"], "", at)
