"""Where a request came from."""

from __future__ import annotations

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest | None) -> str | None:
    """The client's IP address; None when it is unknown.

    Behind a proxy it is the last hop that `X-Forwarded-For` names: the proxy itself wrote that
    one, while the hops before it are whatever the client claims.
    """
    if request is None:
        return None
    if settings.RAINBO_BEHIND_PROXY:
        hops = request.META.get("HTTP_X_FORWARDED_FOR", "")
        return _valid(hops.rpartition(",")[2])
    return _valid(request.META.get("REMOTE_ADDR", ""))


def _valid(text: str) -> str | None:
    """The address alone: some proxies add its port or zone."""
    bare = text.strip().partition("%")[0]
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        return str(ip_address(bare))
    except ValueError:
        return None
