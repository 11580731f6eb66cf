"""What proves to a service who asks: a stored token, or a pair of tokens that is renewed.

What a person entered is a token alone. What they granted by OAuth 2 has the app's id with it; if
the service gave a refresh token, it is renewed before it expires or, where the service doesn't say
when, after a 401.

A password is sent once. It is forgotten before that, so that no crash and no retry sends it again:
services count failed logins. A pair is renewed under a lock of the connection's row, and the new
one is committed before it is used: the service accepts the former one no longer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db import connection as database
from django.db import transaction

from common import http
from common.http import Answer, HttpError
from integrations import oauth
from integrations.models import Connection
from integrations.oauth import Client, Grant
from integrations.plugin import Broken, Password, Plugin, Reconnect, Token

EARLY = timedelta(minutes=10)  # before it expires, a token is renewed
SHORTEST = timedelta(minutes=1)

Credentials = Mapping[str, Any]


class Access:
    """The credentials of one connection during one run. Raises Reconnect, Later, Broken.

    closes: a thread of its own renews them, whose database connection is closed after that.
    """

    def __init__(
        self,
        row: Connection,
        service: Plugin,
        now: Callable[[], datetime],
        *,
        closes: bool = True,
    ) -> None:
        self._row = row
        self._service = service
        self._auth = service.auth
        self._now = now
        self._closes = closes
        self._known: Credentials = row.reveal_credentials()
        self._renewed = False

    def headers(self) -> dict[str, str]:
        """Return the headers of a request."""
        if self._is_due():
            self._renew()
        if isinstance(self._auth, Token) and self._auth.is_optional and not self._known["token"]:
            return {}
        return {"Authorization": f"{self._auth.prefix}{self._known.get('token', '')}"}

    def renew(self) -> bool:
        """Get another token after a 401, once; return whether there is one."""
        if not self._is_renewable or self._renewed:
            return False
        self._renew()
        return True

    def of_grant(self, *, prefers_refresh: bool) -> str | None:
        """Return a token by which the service knows the grant; None if a person entered it."""
        if "client_id" not in self._known:
            return None
        if prefers_refresh and "refresh_token" in self._known:
            return str(self._known["refresh_token"])
        if self._is_due():
            self._renew()
        return str(self._known["token"])

    @property
    def _is_renewable(self) -> bool:
        return isinstance(self._auth, Password) or "refresh_token" in self._known

    def _is_due(self) -> bool:
        until = self._known.get("until")
        if until is None:
            return isinstance(self._auth, Password)
        return self._is_renewable and datetime.fromisoformat(until) <= self._now()

    def _renew(self) -> None:
        try:
            if isinstance(self._auth, Password):
                self._known = self._under_lock(self._auth)
            else:
                self._known = self._refreshed()
            self._renewed = True
        finally:
            if self._closes:
                database.close()

    def _refreshed(self) -> Credentials:
        """The new pair is committed before its first use."""
        stored = self._known
        client = oauth.needed_client(self._service)
        if stored.get("client_id") != client.id:
            raise Reconnect(
                f"it was granted to another app of {self._service.title} than the present one"
            )
        with transaction.atomic():
            if (latest := self._locked()) != stored:
                return latest  # another process was faster
            grant = oauth.refresh(self._service, stored["refresh_token"])
            pair = credentials_of(grant, client, self._now(), former=stored)
            self._store(pair)
        return pair

    def _under_lock(self, auth: Password) -> Credentials:
        with transaction.atomic():
            stored = self._locked()
            if stored != self._known:
                return stored  # another process was faster
            if "password" in stored:
                form = {"username": stored["user"], "password": stored["password"]}
                self._store({"user": stored["user"]})
        if "password" in stored:
            return self._log_in(auth, stored, form)
        if "refresh_token" not in stored:
            raise Reconnect("the password was sent once and is not stored: enter it again")
        with transaction.atomic():
            if (latest := self._locked()) != stored:
                return latest
            form = {"grant_type": "refresh_token", "refresh_token": stored["refresh_token"]}
            pair = self._exchange(auth, form, stored["user"])
            self._store(pair)
        return pair

    def _log_in(self, auth: Password, stored: Credentials, form: dict[str, str]) -> Credentials:
        try:
            pair = self._exchange(auth, {"grant_type": "password", **form}, stored["user"])
        except Broken as error:
            raise Reconnect(f"{error}; a password is sent once: enter it again") from None
        with transaction.atomic():
            self._locked()
            self._store(pair)
        return pair

    def _exchange(self, auth: Password, form: dict[str, str], user: str) -> Credentials:
        """Send a form for a pair of tokens."""
        body = urlencode({**auth.fields, **form}).encode()
        headers = {**self._service.headers, "Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = http.send(
                "POST", f"{self._row.base_url}{auth.path}", body=body, headers=headers
            )
        except HttpError as error:
            raise Broken(str(error)) from None
        if answer.status in (400, 401):
            raise Reconnect(f"{self._row.host} rejected the login ({answer.status})")
        found = _read(answer) if answer.is_success else {}
        if not found.get("access_token") or not found.get("refresh_token"):
            raise Broken(f"{self._row.host} answered the login with status {answer.status}")
        lives = timedelta(seconds=float(found.get("expires_in") or 0))
        return {
            "user": user,
            "token": str(found["access_token"]),
            "refresh_token": str(found["refresh_token"]),
            "until": due_at(lives, self._now()).isoformat(),
        }

    def _locked(self) -> Credentials:
        rows = Connection.objects.select_for_update(no_key=True)
        row = rows.filter(pk=self._row.pk, generation=self._row.generation).first()
        if row is None:
            raise Broken("it was deleted, or connected again, while it was fetched")
        return row.reveal_credentials()

    def _store(self, values: Credentials) -> None:
        self._row.set_credentials(values)
        Connection.objects.filter(pk=self._row.pk).update(credentials=self._row.credentials)


def credentials_of(
    grant: Grant, client: Client, now: datetime, former: Credentials | None = None
) -> dict[str, str]:
    """Return what is stored of a grant. former: whose refresh token stays, unless there is another.

    Google sends one at the first consent alone.
    """
    kept = {"token": grant.token, "client_id": client.id}
    following = grant.refresh_token or (former or {}).get("refresh_token")
    if following:
        kept["refresh_token"] = following
    if grant.lifetime is not None:
        kept["until"] = due_at(grant.lifetime, now).isoformat()
    return kept


def due_at(lives: timedelta, now: datetime) -> datetime:
    """Return when a token that lives so long is renewed."""
    return now + max(lives - EARLY, min(lives / 2, EARLY), SHORTEST)


def _read(answer: Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body.decode("utf-8-sig"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
