"""What a plugin is given: requests to its own service, and the time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urljoin, urlsplit

from common.http import Answer, HttpError, Limits
from integrations.limits import SharedLimits
from integrations.plugin import Broken, Later, OutOfTime, Plugin, Reconnect

if TYPE_CHECKING:  # loaded with the first request
    from common.http_client import Client

ONE_REQUEST = 30.0
BUSY = (429, 503, 529)
USUAL_WAIT = 60.0  # seconds, where the service doesn't say how long


class Source:
    """Sends requests to one connection's host, with its credentials, and to no other host.

    It ends with a `with`: until then, what is open to that host serves the next request, too.

    requests: how many it sent. warnings: what the plugin noticed. authorization: headers that
    prove who asks. renew: gets others after they were rejected; returns whether it did. limits: of
    the service, which connections of one run share. in_full: a person wants all to be read, also
    what seems to be unchanged.
    """

    def __init__(
        self,
        plugin: Plugin,
        base_url: str,
        authorization: Callable[[], Mapping[str, str]],
        now: Callable[[], datetime],
        renew: Callable[[], bool] = lambda: False,
        limits: SharedLimits | None = None,
        *,
        in_full: bool = False,
    ) -> None:
        self.in_full = in_full
        self.now = now
        self.requests = 0
        self.warnings: list[str] = []
        self._renew = renew
        self._limits = limits or SharedLimits()
        self._plugin = plugin
        self._base = base_url.rstrip("/")
        self._authorization = authorization
        self._until = time.monotonic() + plugin.limit
        self._client: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def get(
        self,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        share: str = "",
    ) -> Answer:
        """Return the answer, whose status is 2xx or 304.

        path: below the service's address, or an address there that it gave itself; empty: the
        service's address. share: what connections of one run share a limit of: they take turns, and
        of those that the service asked to wait, no other asks before. Raises Reconnect for 401,
        Later if the service asks to wait, Broken for anything else.
        """
        url = self._address(path, parameters)
        return self._ask("GET", url, headers or {}, None, share)

    def post(self, path: str, body: Mapping[str, Any], share: str = "") -> Answer:
        """Ask by a POST with a body of JSON, as some services want to be asked; like `get`.

        It is sent again after a 401: nothing may be changed by it.
        """
        url, sent = self._address(path, None), json.dumps(body).encode()
        return self._ask("POST", url, {"Content-Type": "application/json"}, sent, share)

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

    def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, share: str
    ) -> Answer:
        if not share:
            return self._checked(self._send(method, url, headers, body))
        with self._limits.turn(share, self._left()):
            return self._checked(self._send(method, url, headers, body))

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        answer = self._send_once(method, url, headers, body)
        if self._plugin.is_rejected(answer) and self._renew():
            return self._send_once(method, url, headers, body)
        return answer

    def _send_once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        from common.http_client import Client

        limits = Limits(total=min(ONE_REQUEST, self._left()), size=self._plugin.answer_size)
        self.requests += 1
        try:
            sent = {**self._plugin.headers, **self._authorization(), **headers}
            hides = self._plugin.has_private_paths
            client = self._client = self._client or Client(self._base)
            return client.send(
                method, url, body=body, headers=sent, limits=limits, secret_path=hides
            )
        except HttpError as error:
            self._left()  # raises if that is why
            raise Broken(str(error)) from None

    def _left(self) -> float:
        """Seconds that the connection may still take. Raises OutOfTime."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left

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
