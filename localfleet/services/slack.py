"""Slack as its Web API answers: errors with status 200, short pages, limits for each method."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from localfleet.services.authorization import Authorization
from localfleet.services.server import Asked, Reply, Service

Row = dict[str, Any]
SCOPES = ("channels:read", "channels:history", "groups:read", "groups:history")
GRANTED = {
    "token_type": "bot",
    "bot_user_id": "U9",
    "app_id": "A1",
    "enterprise": None,
    "authed_user": {"id": "U1"},
}
WINDOW = timedelta(minutes=1)  # of limits


class Slack(Service):
    """A workspace with an app in it.

    token: the app's, unless `apps.lives` is set: then tokens expire and rotate. page: rows of a
    page at most, whatever is asked. rates: of a method, the requests that one minute allows.
    clock: the service's own time. scopes: what the token is allowed. apps: where people install
    the app.
    """

    def __init__(self, token: str = "xoxb-slack-token", team: str = "T1") -> None:  # noqa: S107
        super().__init__()
        self.token, self.team = token, team
        self.page = 1000
        self.rates: dict[str, int] = {}
        self.scopes: tuple[str, ...] = SCOPES
        self.apps = Authorization(
            "Slack", lives=None, rotates=True, error_status=200, separator=","
        )
        self.channels: list[Row] = []
        self.messages: dict[str, list[Row]] = {}
        self.clock = datetime.now(UTC) - timedelta(hours=2)
        self._ids = 0
        self._used: dict[str, list[datetime]] = {}

    def add_channel(self, name: str, *, member: bool = True, private: bool = False) -> Row:
        row: Row = {
            "id": f"{'G' if private else 'C'}{self._id():08}",
            "name": name,
            "is_channel": not private,
            "is_private": private,
            "is_member": member,
            "is_archived": False,
            "created": int(self.clock.timestamp()),
            "topic": {"value": "", "creator": "", "last_set": 0},
            "purpose": {"value": "", "creator": "", "last_set": 0},
        }
        self.channels.append(row)
        self.messages[row["id"]] = []
        return row

    def post(self, channel: Row, text: str) -> Row:
        """Messages that are posted in the same second differ in the digits after the point."""
        self.clock += timedelta(milliseconds=400)
        whole, rest = int(self.clock.timestamp()), self._id()
        row = {"type": "message", "user": "U1", "text": text, "ts": f"{whole}.{rest:06}"}
        self.messages[channel["id"]].append(row)
        return row

    def edit(self, message: Row, text: str) -> None:
        self.clock += timedelta(milliseconds=400)
        edited = {"user": "U1", "ts": f"{int(self.clock.timestamp())}.000000"}
        message |= {"text": text, "edited": edited}

    def delete(self, channel: Row, message: Row) -> None:
        self.messages[channel["id"]].remove(message)

    def remove_channel(self, channel: Row) -> None:
        self.channels.remove(channel)
        del self.messages[channel["id"]]

    def pass_time(self, seconds: float) -> None:
        self.clock += timedelta(seconds=seconds)
        self.apps.clock += seconds

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/oauth/v2/authorize":
            return self.apps.consent(asked)
        method, given = asked.path.removeprefix("/api").strip("/"), asked.parameters | asked.form
        if method == "oauth.v2.access":
            return self._oauth(asked)
        if error := self._rejected(asked):
            return Reply(200, {"ok": False, "error": error})
        if wait := self._wait(method):
            return Reply(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(wait)})
        headers = {"X-OAuth-Scopes": ",".join(self.scopes)}
        return Reply(200, self._found(method, given, asked), headers)

    def _rejected(self, asked: Asked) -> str:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if not token:
            return "not_authed"
        if token in self.apps.access:
            return "" if self.apps.person_of(token) else "token_expired"
        return "" if token == self.token and self.apps.lives is None else "invalid_auth"

    def _wait(self, method: str) -> int:
        """Seconds until this method may be used again; 0: now."""
        if method not in self.rates:
            return 0
        used = [at for at in self._used.get(method, []) if at > self.clock - WINDOW]
        if len(used) >= self.rates[method]:
            return max(int((used[0] + WINDOW - self.clock).total_seconds()), 1)
        self._used[method] = [*used, self.clock]
        return 0

    def _found(self, method: str, given: dict[str, str], asked: Asked) -> Row:
        match method:
            case "auth.test":
                names = {"team": "Acme", "user": "rainbo", "user_id": "U9", "bot_id": "B9"}
                url = f"https://acme-{self.team.lower()}.slack.com/"
                return {"ok": True, "url": url, "team_id": self.team, **names}
            case "auth.revoke":
                token = asked.headers["authorization"].removeprefix("Bearer ")
                if person := self.apps.person_of(token):
                    self.apps.revoke_person(person, self.apps.access[token].client)
                return {"ok": True, "revoked": person is not None}
            case "conversations.list":
                return self._list_channels(given)
            case "conversations.history":
                return self._history(given)
        return {"ok": False, "error": "unknown_method"}

    def _list_channels(self, given: dict[str, str]) -> Row:
        types = given.get("types", "public_channel").split(",")
        for kind, scope in (
            ("public_channel", "channels:read"),
            ("private_channel", "groups:read"),
        ):
            if kind in types and scope not in self.scopes:
                return self._missing(scope)
        rows = [
            row
            for row in self.channels
            if ("private_channel" if row["is_private"] else "public_channel") in types
            and (row["is_member"] or not row["is_private"])
        ]
        return self._list(given, "channels", rows, "id", has_more=False)

    def _history(self, given: dict[str, str]) -> Row:
        channel = next((row for row in self.channels if row["id"] == given.get("channel")), None)
        if channel is None:
            return {"ok": False, "error": "channel_not_found"}
        scope = "groups:history" if channel["is_private"] else "channels:history"
        if scope not in self.scopes:
            return self._missing(scope)
        if not channel["is_member"]:
            return {"ok": False, "error": "not_in_channel"}
        oldest = _number(given.get("oldest", "0.000000"))
        rows = [row for row in self.messages[channel["id"]] if _number(row["ts"]) >= oldest]
        newest_first = sorted(rows, key=lambda row: _number(row["ts"]), reverse=True)
        return self._list(given, "messages", newest_first, "ts", has_more=True)

    def _list(
        self, given: dict[str, str], name: str, rows: list[Row], key: str, *, has_more: bool
    ) -> Row:
        """A cursor names the last row that was shown; the page after it may be a short one."""
        after = given.get("cursor", "").removeprefix("after:")
        places = {row[key]: number for number, row in enumerate(rows, 1)}
        if after and key == "ts":  # a place in time, whether the message is still there or not
            begin = sum(_number(row["ts"]) >= _number(after) for row in rows)
        elif after and after not in places:
            return {"ok": False, "error": "invalid_cursor"}
        else:
            begin = places.get(after, 0)
        end = begin + min(int(given.get("limit", "100")), self.page)
        shown = deepcopy(rows[begin:end])
        following = f"after:{shown[-1][key]}" if end < len(rows) else ""
        more = {"has_more": bool(following)} if has_more else {}
        return {"ok": True, name: shown, **more, "response_metadata": {"next_cursor": following}}

    def _missing(self, scope: str) -> Row:
        provided = ",".join(self.scopes)
        return {"ok": False, "error": "missing_scope", "needed": scope, "provided": provided}

    def _oauth(self, asked: Asked) -> Reply:
        """Its errors have status 200, too."""
        reply = self.apps.token(asked, "invalid_code", "invalid_refresh_token")
        is_error = "error" in reply.body
        known = {} if is_error else {"team": {"id": self.team, "name": "Acme"}, **GRANTED}
        return replace(reply, body=reply.body | {"ok": not is_error} | known)

    def _id(self) -> int:
        self._ids += 1
        return self._ids


def _number(ts: str) -> tuple[int, int]:
    whole, _, rest = ts.partition(".")
    return int(whole), int(rest or 0)
