"""The one HTTP client: every request that leaves RAINBO, under one policy.

An answer comes within a deadline and is read up to a size. Redirects are never followed, so that
a body and its secrets reach no host but the one that was named. Addresses inside private networks
are rejected, except those of hosts that RAINBO_HTTP_PRIVATE_HOSTS names: what a person enters as
an address must not reach what only this server can reach. No proxy, `.netrc` or CA of the process
environment is used, and no cookie is kept. Logs and errors have the host, never a query, and a path
only without secrets.

The connections are those of http_client.py, whose libraries are loaded with the first request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from common.errors import RainboError

LONGEST_WAIT = timedelta(days=365)  # more than that, a server does not mean
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


USUAL = Limits()


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
    limits: Limits = USUAL,
    cut: bool = False,
    secret_path: bool = False,
) -> Answer:
    """Send one request, exactly once, and return the answer.

    url: https; http only to hosts that RAINBO_HTTP_PRIVATE_HOSTS names. cut: return the beginning
    of an answer that is longer than the limit instead of raising. secret_path: the path is a
    secret, and is not logged. Raises AddressRejected, and HttpError if no whole answer comes.
    """
    from common.http_client import Client

    with Client(url) as client:
        return client.send(
            method,
            url,
            body=body,
            headers=headers,
            limits=limits,
            cut=cut,
            secret_path=secret_path,
        )


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
    if place.scheme == "http" and not is_private_host(host):
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
    at = http_date(text)
    return None if at is None else min(max(at - now, timedelta()), LONGEST_WAIT)


def is_private_host(host: str) -> bool:
    named = {name.lower() for name in settings.RAINBO_HTTP_PRIVATE_HOSTS}
    return host.lower() in named


def http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
