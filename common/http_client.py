"""The connections of the one HTTP client, whose policy is in http.py."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import SplitResult

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3.exceptions import HTTPError, LocationParseError, ReadTimeoutError

from common.http import (
    USUAL,
    AddressRejected,
    Answer,
    HttpError,
    Limits,
    check_address,
    http_date,
    is_private_host,
    read_retry_after,
)
from common.redaction import MASK, redact
from common.socket_deadline import SocketDeadline

logger = logging.getLogger("rainbo.http")

CHUNK = 16_384
PLAIN = {  # no compression: no bomb
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": "RAINBO",
}
PORTS = {"http": 80, "https": 443}
CLOSED = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)
Origin = tuple[str, str, int]  # scheme, host, port


class Client:
    """Requests to the server of an address, whose connections stay open between them.

    For one who asks, from one thread at a time, and for what changes nothing: a request that finds
    its connection closed by the other side is sent once more. An answer leaves nothing behind for
    the next request. It is closed at the end of a `with`.
    """

    def __init__(self, url: str) -> None:
        """Raises AddressRejected."""
        place = check_address(url)
        self._origin = _origin(place)
        self._sockets: list[Any] = []  # of each connection that was opened
        self._adapter: _Watched
        if is_private_host(self._origin[1]):
            self._adapter = _Watched(self._sockets)
        else:
            self._adapter = _Guarded(self._sockets, is_https_proto=place.scheme == "https")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._adapter.close()

    def send(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        limits: Limits = USUAL,
        cut: bool = False,
        secret_path: bool = False,
    ) -> Answer:
        """Like the function `send`. Raises AddressRejected for another server's address, too."""
        place = check_address(url)
        if _origin(place) != self._origin:
            raise AddressRejected(f"{place.hostname} is another server than {self._origin[1]}")
        host = self._origin[1]
        shown = f"{method} {host} {MASK if secret_path else redact(place.path or '/')}"
        started = time.monotonic()
        deadline = SocketDeadline(limits.total, self._sockets)
        try:
            with deadline:
                request = requests.PreparedRequest()
                request.prepare(method, url, headers=PLAIN | dict(headers or {}), data=body)
                answer = self._exchange(request, limits, deadline, cut=cut)
                if deadline.is_over:  # a body of unknown length ends where it is cut off
                    raise TimeoutError
        except HttpError as error:
            logger.warning("%s: no answer: %s", shown, error)
            raise
        except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
            words = _explain(error, host, limits, is_late=deadline.is_over)
            logger.warning("%s: no answer: %s", shown, words)
            # The cause quotes the whole address, and some addresses are secrets.
            kind = AddressRejected if isinstance(error, InvalidIPAddress) else HttpError
            raise kind(words) from None
        took = (time.monotonic() - started) * 1000
        logger.info("%s: %s in %.0f ms", shown, answer.status, took)
        return answer

    def _exchange(
        self,
        request: requests.PreparedRequest,
        limits: Limits,
        deadline: SocketDeadline,
        *,
        cut: bool,
    ) -> Answer:
        with self._respond(request, limits, deadline) as response:
            received, is_cut = _read(response, limits.size)
            if is_cut and not cut:
                raise HttpError(f"{self._origin[1]} answered with more than {limits.size:,} bytes")
            sent_at = http_date(response.headers.get("Date", "")) or datetime.now(UTC)
            wait = read_retry_after(response.headers.get("Retry-After"), sent_at)
            return Answer(response.status_code, received, response.headers, is_cut, wait)

    def _respond(
        self, request: requests.PreparedRequest, limits: Limits, deadline: SocketDeadline
    ) -> requests.Response:
        """Send a request; once more if the connection that was kept for it is closed by now."""
        opened = len(self._sockets)
        try:
            return self._ask(request, limits)
        except requests.ConnectionError as error:
            was_kept = 0 < opened == len(self._sockets)
            is_closed = any(isinstance(cause, CLOSED) for cause in _causes(error))
            if deadline.is_over or not (was_kept and is_closed):
                raise
        return self._ask(request, limits)

    def _ask(self, request: requests.PreparedRequest, limits: Limits) -> requests.Response:
        """By the adapter alone: a session would follow what answers say, and cost more."""
        timeout = (limits.connect, limits.read)
        verify = settings.RAINBO_HTTP_CA
        return self._adapter.send(request, stream=True, timeout=timeout, verify=verify)


def _read(response: requests.Response, most: int) -> tuple[bytes, bool]:
    parts, size = [], 0
    while size <= most and (part := response.raw.read(CHUNK, decode_content=False)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:most], size > most


class _Watched(HTTPAdapter):
    """Notes the sockets of the connections that it opens. Redirects and proxies are a session's."""

    def __init__(self, sockets: list[Any], **options: Any) -> None:
        self._sockets = sockets
        super().__init__(**options)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        if "ConnectionCls" not in vars(pool):  # not known yet
            self._watch(pool)
        return pool

    def _watch(self, pool: Any) -> None:
        make, sockets = type(pool).ConnectionCls, self._sockets

        def watched(*args: Any, **kwargs: Any) -> Any:
            connection = make(*args, **kwargs)
            usual = connection.connect

            def connect() -> None:
                usual()
                # The socket itself: the connection forgets it while the answer is still read.
                sockets.append(SimpleNamespace(sock=connection.sock))

            connection.connect = connect
            return connection

        pool.ConnectionCls = watched


class _Guarded(_Watched, IPFilterAdapter):
    """Connects to the address that it checked: a name can't point elsewhere in between."""


def _origin(place: SplitResult) -> Origin:
    return place.scheme, place.hostname or "", place.port or PORTS[place.scheme]


def _explain(error: Exception, host: str, limits: Limits, *, is_late: bool) -> str:
    """The failure as text; without the error's own words, since they quote the address."""
    causes = list(_causes(error))

    def is_a(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if is_a(InvalidIPAddress):
        return (
            f"{host} is in a private network: RAINBO sends nothing there unless "
            "RAINBO_HTTP_PRIVATE_HOSTS names it"
        )
    if is_late:
        return f"{host} did not answer completely within {limits.total:g} s"
    if is_a(requests.ConnectTimeout):
        return f"{host} could not be connected to within {limits.connect:g} s"
    if is_a(requests.Timeout, ReadTimeoutError, TimeoutError):
        return f"{host} did not answer within {limits.read:g} s"
    if is_a(ssl.SSLCertVerificationError):
        return f"{host} shows a certificate that RAINBO can't verify"
    if is_a(socket.gaierror, UnicodeError, requests.exceptions.InvalidURL, LocationParseError):
        return f"the name {host} can't be resolved"
    if is_a(ConnectionRefusedError):
        return f"{host} refused the connection"
    return f"{host} closed the connection before its answer was complete"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
