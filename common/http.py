"""The one HTTP client: every request that leaves RAINBO, under one policy.

An answer comes within a deadline and is read up to a size. Redirects are never followed, so that
a body and its secrets reach no host but the one that was named. Addresses inside private networks
are rejected, except those of hosts that RAINBO_HTTP_PRIVATE_HOSTS names: what a person enters as
an address must not reach what only this server can reach. No proxy, `.netrc` or CA of the process
environment is used. Logs and errors have the host, never a query, and a path only without secrets.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3.exceptions import HTTPError, LocationParseError, ReadTimeoutError

from common.errors import RainboError
from common.redaction import MASK, redact
from common.socket_deadline import SocketDeadline

logger = logging.getLogger("rainbo.http")

CHUNK = 16_384
LONGEST_WAIT = timedelta(days=365)  # more than that, a server does not mean
PLAIN = {"Accept-Encoding": "identity", "User-Agent": "RAINBO"}  # no compression: no bomb
SEPARATORS = re.compile(r"[\x00-\x20\x7f\\]")


class HttpError(RainboError):
    """The request brought no answer."""

    kind = "http"
    transient = True


class AddressRejected(HttpError):
    """RAINBO sends nothing to this address."""

    transient = False


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, between two pieces of an answer, and in all; bytes of an answer's body.

    Resolving a name counts towards the total, but ends only when the system's resolver gives up.
    """

    connect: float = 5.0
    read: float = 10.0
    total: float = 20.0
    size: int = 10_000_000


@dataclass(frozen=True)
class Answer:
    """What the other side answered, whatever its status.

    body: up to the limit. is_cut: it was longer. retry_after: how long to wait before the next
    request; None if the other side doesn't say.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_cut: bool = False
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def send(
    method: str,
    url: str,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    limits: Limits = Limits(),
    cut: bool = False,
    secret_path: bool = False,
) -> Answer:
    """Send one request and return the answer.

    url: https; http only to hosts that RAINBO_HTTP_PRIVATE_HOSTS names. cut: return the beginning
    of an answer that is longer than the limit instead of raising. secret_path: the path is a
    secret, and is not logged. Raises AddressRejected, and HttpError if no whole answer comes.
    """
    place = check_address(url)
    host = place.hostname or ""
    shown = f"{method} {host} {MASK if secret_path else redact(place.path or '/')}"
    started = time.monotonic()
    try:
        with _Deadline(limits.total) as deadline, _session(host, deadline) as session:
            answer = _exchange(session, method, url, body, headers, limits, cut)
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


def check_address(url: str) -> SplitResult:
    """Return the parts of an address that `send` takes. Raises AddressRejected for another.

    Its host is judged when it is connected to: what a name resolves to can change.
    """
    if SEPARATORS.search(url):
        raise AddressRejected("the address has a blank or a control character in it")
    try:
        place = urlsplit(url)
        host, _ = place.hostname, place.port
    except ValueError:
        raise AddressRejected("the address is invalid: its host or port can't be read") from None
    if place.scheme not in ("http", "https") or not host:
        raise AddressRejected("the address is invalid: it begins with https:// and a host")
    if place.username is not None or place.password is not None:
        raise AddressRejected("the address must not have a user or a password in it")
    if place.scheme == "http" and not _is_private_host(host):
        raise AddressRejected(
            f"the address of {host} must begin with https: http is only for hosts that "
            "RAINBO_HTTP_PRIVATE_HOSTS names"
        )
    return place


def read_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Return the wait that a Retry-After header asks for: seconds, or the time of an HTTP date."""
    text = (value or "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return min(timedelta(seconds=int(text)), LONGEST_WAIT)
    at = _http_date(text)
    return None if at is None else min(max(at - now, timedelta()), LONGEST_WAIT)


def _exchange(
    session: requests.Session,
    method: str,
    url: str,
    body: bytes | None,
    headers: Mapping[str, str] | None,
    limits: Limits,
    cut: bool,
) -> Answer:
    with session.request(
        method,
        url,
        data=body,
        headers=PLAIN | dict(headers or {}),
        timeout=(limits.connect, limits.read),
        allow_redirects=False,
        stream=True,
    ) as response:
        received, is_cut = _read(response, limits.size)
        if is_cut and not cut:
            raise HttpError(
                f"{urlsplit(url).hostname} answered with more than {limits.size:,} bytes"
            )
        sent_at = _http_date(response.headers.get("Date", "")) or datetime.now(UTC)
        wait = read_retry_after(response.headers.get("Retry-After"), sent_at)
        return Answer(response.status_code, received, response.headers, is_cut, wait)


def _read(response: requests.Response, most: int) -> tuple[bytes, bool]:
    parts, size = [], 0
    while size <= most and (part := response.raw.read(CHUNK, decode_content=False)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:most], size > most


class _Deadline(SocketDeadline):
    """Knows the connections of one request."""

    def watch_pool(self, pool: Any) -> None:
        """Know the sockets of the connections that this pool opens."""
        make = type(pool).ConnectionCls

        def watched(*args: Any, **kwargs: Any) -> Any:
            connection = make(*args, **kwargs)
            usual = connection.connect

            def connect() -> None:
                usual()
                # The socket itself: the connection forgets it while the answer is still read.
                self.watch(SimpleNamespace(sock=connection.sock))

            connection.connect = connect
            return connection

        pool.ConnectionCls = watched


class _Watched(HTTPAdapter):
    """Gives its connections to the deadline."""

    def __init__(self, deadline: _Deadline, **options: Any) -> None:
        self.deadline = deadline
        super().__init__(**options)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        self.deadline.watch_pool(pool)
        return pool


class _Guarded(_Watched, IPFilterAdapter):
    """Connects to the address that it checked: a name can't point elsewhere in between."""


@contextmanager
def _session(host: str, deadline: _Deadline) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = settings.RAINBO_HTTP_CA
        for scheme in ("http", "https"):
            adapter: _Watched
            if _is_private_host(host):
                adapter = _Watched(deadline)
            else:
                adapter = _Guarded(deadline, is_https_proto=scheme == "https")
            session.mount(f"{scheme}://", adapter)
        yield session


def _is_private_host(host: str) -> bool:
    named = {name.lower() for name in settings.RAINBO_HTTP_PRIVATE_HOSTS}
    return host.lower() in named


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


def _http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
