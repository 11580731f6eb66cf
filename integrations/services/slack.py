"""Slack: channels, and the messages of those that the app is in.

Slack says of no message when it was edited or deleted. So what was posted within a window is read
again at each reading; what is older stays as it was read last. How many messages a page has and how
often one may be asked for is Slack's to decide, down to 15 a minute: each channel has a cursor of
its own, a reading that had to wait goes on where it was, and the channel that has waited
longest comes first. Limits are those of a workspace, whichever connection asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from common.errors import RainboError
from common.http import Answer
from common.text import format_duration, truncate
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
    Reconnect,
    Record,
    Revocation,
    Token,
    Whole,
)
from integrations.source import Source

WINDOW = timedelta(days=1)
PAGE = "200"  # Slack sends fewer where it wants to
BUSY_WAIT = 60.0  # seconds, where Slack names none
NAME = re.compile(r"[a-z0-9_:.,-]{1,80}")
TS = re.compile(r"(\d{1,12})\.(\d{6})")

REJECTED = frozenset(
    ("invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive")
)
RENEWED = frozenset(("token_expired", "invalid_auth"))  # a new token may be accepted
NOT_THERE = frozenset(("not_in_channel", "channel_not_found"))

NEVER = datetime.min.replace(tzinfo=UTC)

Json = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A workspace. url: its own address. has_private: the token may see private channels; to ask
    for them without that is an error.
    """

    team: str
    url: str
    has_private: bool


class NotInChannel(Broken):
    """The app is not in this channel, or no longer sees it."""


class CursorRejected(Broken):
    """Slack no longer knows where a reading was left."""


class Slack(Plugin):
    name = "slack"
    title = "Slack"
    period = timedelta(minutes=30)
    base_url = "https://slack.com/api"
    auth = OAuth2(
        authorize="https://slack.com/oauth/v2/authorize",
        token="https://slack.com/api/oauth.v2.access",  # noqa: S106 (an address)
        scopes=("channels:read", "channels:history"),
        scope_separator=",",
        rejected=frozenset({"invalid_refresh_token", "token_revoked", "token_expired"}),
        revoke=Revocation(url="https://slack.com/api/auth.revoke", token="", over=REJECTED),
        account_page="https://slack.com/apps/manage",
        instead=Token(
            help="api.slack.com/apps → your app → OAuth & Permissions: the bot token (xoxb-…) of "
            "an app with the scopes channels:read and channels:history; invite it to the channels"
        ),
    )
    history = {"channel": ("name", "is_archived", "topic")}

    def fetch_data(self, source: Source, position: Position | None) -> Iterator[Item]:
        at: Json = {"channels": {}, **(position or {})}
        place = self._place(source, at)
        listed: dict[str, Json] = {}
        for row in self._channels(source, place):
            yield _channel(row, place)
            listed[row["id"]] = row
        yield Whole("channel")
        for key in [key for key in at["channels"] if key not in listed]:
            del at["channels"][key]
            yield Gone("message", f"{key}/", is_prefix=True)
        yield Cursor(_copy(at))
        joined = {key: row for key, row in listed.items() if row.get("is_member")}
        yield from self._messages(source, at, joined, place)

    def identify(self, source: Source, granted: Mapping[str, Any]) -> Account:
        """The workspace: an app is in it once, whoever installs it."""
        team = granted.get("team")
        if not isinstance(team, dict) or not team.get("id"):
            raise Broken("Slack did not say which workspace it is")
        return Account(str(team["id"]), str(team.get("name") or team["id"]))

    def explain(self, answer: Answer) -> RainboError | None:
        """Errors come with status 200, too, as `"ok": false`."""
        if answer.status == 429:
            return _later(answer)
        name, body = _error(answer)
        if answer.is_success and name == "":
            return Broken("Slack did not answer as Slack does")
        return None if not name or name == "ok" else _meaning(name, body, answer)

    def is_rejected(self, answer: Answer) -> bool:
        return answer.status == 401 or _error(answer)[0] in RENEWED

    def _place(self, source: Source, at: Json) -> Place:
        """What is stored is that of one workspace: a token of another doesn't fit."""
        answer = source.get("/auth.test")
        found = source.json(answer)
        team = str(found["team_id"])
        if at.setdefault("team", team) != team:
            raise Reconnect(
                "this token is of another workspace than before: enter one of the same, or connect "
                "the other workspace in addition"
            )
        scopes = re.findall(r"[\w:.]+", answer.headers.get("X-OAuth-Scopes", ""))
        return Place(team, str(found["url"]).rstrip("/"), "groups:read" in scopes)

    def _channels(self, source: Source, place: Place) -> Iterator[Json]:
        types = "public_channel,private_channel" if place.has_private else "public_channel"
        asked = {"types": types, "limit": PAGE}
        for rows, _ in _pages(source, "conversations.list", asked, "channels", place):
            yield from rows

    def _messages(
        self, source: Source, at: Json, joined: Mapping[str, Json], place: Place
    ) -> Iterator[Item]:
        """Read each channel once, over several runs if it has to be."""
        began = datetime.fromisoformat(at.setdefault("began", source.now().isoformat()))
        last = {key: _last_read(at, key) for key in joined}
        for key in sorted((key for key in joined if last[key] < began), key=lambda key: last[key]):
            mine: Json = at["channels"].setdefault(key, {})
            try:
                yield from self._channel_messages(source, at, mine, key, place)
            except NotInChannel as error:
                source.warn(f"#{joined[key].get('name')}: {error}")
                mine.pop("reading", None)
            yield Cursor(_copy(at))
        if (took := source.now() - began) > self.period:
            source.warn(f"Slack's limits made this reading take {format_duration(took)}")
        del at["began"]
        yield Cursor(_copy(at), as_of=began)

    def _channel_messages(
        self, source: Source, at: Json, mine: Json, key: str, place: Place
    ) -> Iterator[Item]:
        """The newest first, back to a window before the last reading of this channel."""
        try:
            if "reading" in mine:
                yield from self._read(source, at, mine, key, place)
                return
        except CursorRejected:
            pass  # from the beginning then
        now = source.now()
        oldest = datetime.fromisoformat(mine.get("until", now.isoformat())) - WINDOW
        mine["reading"] = {
            "began": now.isoformat(),
            "oldest": f"{int(oldest.timestamp())}.000000",
            "seen": [],
            "page": None,
        }
        yield from self._read(source, at, mine, key, place)

    def _read(self, source: Source, at: Json, mine: Json, key: str, place: Place) -> Iterator[Item]:
        """Go on with a reading: what was in the window last time and isn't now was deleted."""
        reading: Json = mine["reading"]
        oldest, begin = reading["oldest"], reading["page"]
        asked = {"channel": key, "oldest": oldest, "inclusive": "true", "limit": PAGE}
        history = _pages(source, "conversations.history", asked, "messages", place, begin)
        for rows, following in history:
            for row in rows:
                reading["seen"].append(_ts(row))
                yield _message(row, key, place)
            if following:
                reading["page"] = following
                yield Cursor(_copy(at))
        seen = set(reading["seen"])
        for ts in mine.get("window", []):
            if ts not in seen and _order(ts) >= _order(oldest):
                yield Gone("message", f"{key}/{ts}")
        mine |= {"until": reading["began"], "window": sorted(seen)}
        del mine["reading"]


def _pages(
    source: Source,
    method: str,
    asked: Mapping[str, str],
    name: str,
    place: Place,
    left: str | None = None,
) -> Iterator[tuple[list[Json], str | None]]:
    """Yield the pages of a listing, each with where the next one begins; None after the last.

    A page may have fewer rows than asked for, or none, and not be the last.
    """
    following = left
    while True:
        begin = {"cursor": following} if following else {}
        shared = f"{place.team} {method}"
        answer = source.json(source.get(f"/{method}", {**asked, **begin}, share=shared))
        rows = answer.get(name)
        if not isinstance(rows, list):
            raise Broken(f"Slack did not answer as Slack does: no {name} are in it")
        before, following = following, _following(answer)
        if following == before if following else answer.get("has_more"):
            raise Broken("Slack says that there is more, and not where: the reading is incomplete")
        yield rows, following
        if following is None:
            return


def _following(answer: Json) -> str | None:
    more = answer.get("response_metadata")
    return (more.get("next_cursor") or None) if isinstance(more, dict) else None


def _error(answer: Answer) -> tuple[str, Json]:
    """The name of an error, and the body. The name is "ok" if there is none, and empty if the body
    is none of Slack's.
    """
    try:
        body = json.loads(answer.text)
    except (ValueError, RecursionError):
        return "", {}
    if not isinstance(body, dict) or not isinstance(body.get("ok"), bool):
        return "", {}
    return ("ok" if body["ok"] else str(body.get("error") or "unnamed")), body


def _meaning(name: str, body: Json, answer: Answer) -> RainboError:
    shown = name if NAME.fullmatch(name) else "of an unknown name"
    if name in REJECTED:
        return Reconnect(f"Slack no longer accepts the token ({shown})")
    if name == "ratelimited":
        return _later(answer)
    if name == "missing_scope":
        needed = str(body.get("needed") or "")
        which = f" {needed}" if NAME.fullmatch(needed) else ""
        return Broken(
            f"the app has no permission for this at Slack: add the scope{which} to it, install it "
            "again, and connect it again"
        )
    if name in NOT_THERE:
        return NotInChannel("the app is not in this channel: invite it there")
    if name == "invalid_cursor":
        return CursorRejected("Slack no longer knows where the reading was left")
    return Broken(f"Slack answered with the error {shown}")


def _later(answer: Answer) -> Later:
    wait = answer.retry_after
    return Later(wait.total_seconds() if wait is not None else BUSY_WAIT, "Slack asked to wait")


def _copy(at: Json) -> Json:
    """The position as it is now: it is stored later, and goes on changing."""
    copied: Json = json.loads(json.dumps(at))
    return copied


def _last_read(at: Json, channel: str) -> datetime:
    until = at["channels"].get(channel, {}).get("until")
    return datetime.fromisoformat(until) if until else NEVER


def _ts(row: Json) -> str:
    """A message's id in its channel. It looks like a number, which would be rounded."""
    ts = row.get("ts")
    if not isinstance(ts, str) or not TS.fullmatch(ts):
        raise Broken("Slack answered with a message that has no ts")
    return ts


def _order(ts: str) -> tuple[int, int]:
    seconds, _, rest = ts.partition(".")
    return int(seconds), int(rest)


def _channel(row: Json, place: Place) -> Record:
    data = {
        "name": row.get("name"),
        "is_private": row.get("is_private"),
        "is_archived": row.get("is_archived"),
        "is_member": row.get("is_member"),
        "topic": (row.get("topic") or {}).get("value"),
        "purpose": (row.get("purpose") or {}).get("value"),
    }
    at = datetime.fromtimestamp(int(row["created"]), UTC)
    where = f"{place.url}/archives/{row['id']}"
    return Record("channel", str(row["id"]), data, f"#{row['name']}", where, at)


def _message(row: Json, channel: str, place: Place) -> Record:
    ts = _ts(row)
    text = str(row.get("text") or "")
    data = {
        "channel": channel,
        "user": row.get("user") or row.get("bot_id"),
        "subtype": row.get("subtype"),
        "text": text,
        "edited": (row.get("edited") or {}).get("ts"),
        "thread_ts": row.get("thread_ts"),
        "reply_count": row.get("reply_count"),
        "latest_reply": row.get("latest_reply"),
        "files": len(row.get("files") or []),
    }
    seconds, micro = _order(ts)
    at = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micro)
    where = f"{place.url}/archives/{channel}/p{ts.replace('.', '')}"
    title = truncate(text, 100) or "no text"
    return Record("message", f"{channel}/{ts}", data, title, where, at)
