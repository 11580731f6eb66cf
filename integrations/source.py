"""What a plugin is given: requests to its own service, and the time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from common import http
from common.http import Answer, HttpError, Limits
from integrations.plugin import Broken, Later, Plugin, Reconnect

ONE_REQUEST = 30.0
BUSY = (429, 503, 529)
USUAL_WAIT = 60.0  # seconds, where the service doesn't say how long


class OutOfTime(Broken):
    """The connection took as long as one may."""


class Source:
    """Sends requests to one connection's host, with its credentials, and to no other host.

    requests: how many it sent. warnings: what the plugin noticed. authorization: headers that
    prove who asks. renew: gets others after a 401; returns whether it did. in_full: a person wants
    all to be read, also what seems to be unchanged.
    """

    def __init__(
        self,
        plugin: Plugin,
        base_url: str,
        authorization: Callable[[], Mapping[str, str]],
        now: Callable[[], datetime],
        renew: Callable[[], bool] = lambda: False,
        *,
        in_full: bool = False,
    ) -> None:
        self.in_full = in_full
        self.now = now
        self.requests = 0
        self.warnings: list[str] = []
        self._renew = renew
        self._plugin = plugin
        self._base = base_url.rstrip("/")
        self._authorization = authorization
        self._until = time.monotonic() + plugin.limit

    def get(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer, whose status is 2xx or 304.

        path: below the service's address, or an address there that it gave itself; empty: the
        service's address.
        Raises Reconnect for 401, Later if the service asks to wait, Broken for anything else.
        """
        url = self._address(path, parameters)
        answer = self._send(url, headers or {})
        if answer.status == 401 and self._renew():
            answer = self._send(url, headers or {})
        return self._checked(answer)

    def warn(self, text: str) -> None:
        """Note what a person should know although nothing failed: the run's page shows it."""
        self.warnings.append(text)

    def json(self, answer: Answer, *, exact: bool = False) -> Any:
        """Return what an answer holds. Raises Broken if that is no JSON.

        exact: numbers with a point are decimals as they are written, not the nearest float.
        """
        kinds: dict[str, Any] = {}
        if exact:
            kinds = {"parse_float": Decimal, "parse_constant": _no_number}
        try:
            return json.loads(answer.body.decode("utf-8-sig"), **kinds)
        except (ValueError, RecursionError):
            raise Broken(f"{self._plugin.title} answered something that is no JSON") from None

    def _send(self, url: str, headers: Mapping[str, str]) -> Answer:
        left = self._until - time.monotonic()
        if left <= 0:
            raise OutOfTime("it took as long as one connection may")
        self.requests += 1
        limits = Limits(total=min(ONE_REQUEST, left), size=self._plugin.answer_size)
        try:
            sent = {**self._plugin.headers, **self._authorization(), **headers}
            hides = self._plugin.has_private_paths
            return http.send("GET", url, headers=sent, limits=limits, secret_path=hides)
        except HttpError as error:
            raise Broken(str(error)) from None

    def _checked(self, answer: Answer) -> Answer:
        if answer.is_success or answer.status == 304:
            if error := self._plugin.explain(answer):
                raise error
            return answer
        raise self._plugin.explain(answer) or self._usual(answer)

    def _usual(self, answer: Answer) -> Exception:
        title, status = self._plugin.title, answer.status
        if status == 401:
            return Reconnect(f"{title} no longer accepts the credentials (401)")
        if status in BUSY and (status == 429 or answer.retry_after is not None):
            wait = answer.retry_after.total_seconds() if answer.retry_after else USUAL_WAIT
            return Later(wait, f"{title} asked to wait ({status})")
        return Broken(f"{title} answered with status {status}")

    def _address(self, path: str, parameters: Mapping[str, str] | None) -> str:
        url = f"{self._base}{path}" if path.startswith("/") else urljoin(f"{self._base}/", path)
        url = url if path else self._base
        if _origin(url) != _origin(self._base):
            raise Broken(f"{self._plugin.title} named an address on another host")
        return f"{url}?{urlencode(parameters)}" if parameters else url


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        place = urlsplit(url)
        return place.scheme, place.hostname, place.port
    except ValueError:
        raise Broken("the service named an address that can't be read") from None


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
