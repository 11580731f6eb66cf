"""Connects an account, or connects it again: the console and the commands call these."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction

from common import http
from common.errors import UsageError
from common.http import AddressRejected
from integrations import plugin
from integrations.models import Connection
from integrations.models.connection import LONGEST_FREQUENCY
from integrations.plugin import Password, Plugin, Token

LONGEST_NAME = 100
LONGEST_TOKEN = 4096


@dataclass(frozen=True)
class ConnectionInput:
    """What a person enters. token: or a password. base_url, minutes: the service's own if empty."""

    service: str
    name: str
    owner: User
    token: str
    account: str = ""
    base_url: str = ""
    minutes: int | None = None
    is_shared: bool = False


def check(given: ConnectionInput) -> Plugin:
    """Return the service. Raises UsageError for input that `add` rejects."""
    service = find_service(given.service)
    check_name(given.owner, given.service, given.name)
    check_minutes(given.minutes)
    check_address(given.base_url or service.base_url)
    credentials_for(service, given.account, given.token)
    return service


def add(given: ConnectionInput) -> Connection:
    """Store a connection, which is fetched at the next look. Raises UsageError."""
    service = check(given)
    row = Connection(
        service=service.name,
        name=check_name(given.owner, service.name, given.name),
        owner=given.owner,
        account=given.account,
        base_url=check_address(given.base_url or service.base_url),
        update_frequency_minutes=given.minutes or usual_minutes(service),
        is_shared=given.is_shared,
    )
    with transaction.atomic():
        row.save(force_insert=True)
        row.set_credentials(credentials_for(service, given.account, given.token))
        row.save(update_fields=["credentials"])
    return row


def reconnect(row: Connection, token: str) -> None:
    """Store a new token or password, with which it is fetched at the next look.

    Raises UsageError.
    """
    service = find_service(row.service)
    with transaction.atomic():
        row.reconnect(credentials_for(service, row.account, token))


def move(row: Connection, address: str, token: str) -> None:
    """Have it fetched from another address, with credentials that are entered for that one.

    The former ones are never sent to another host. It is read in full again, and a guard holds what
    would remove too much. Raises UsageError.
    """
    service = find_service(row.service)
    address = check_address(address or service.base_url)
    credentials = credentials_for(service, row.account, token)
    with transaction.atomic():
        row.base_url, row.account_id, row.cursor = address, "", None
        row.save(update_fields=["base_url", "account_id", "cursor"])
        row.reconnect(credentials)


def credentials_for(service: Plugin, account: str, secret: str) -> dict[str, str]:
    """Return what is stored of a token, or a password. Raises UsageError for text that is none."""
    if plugin.entered(service) is None:
        raise UsageError(
            f"{service.title} takes no token: its owner connects it in the console, by a browser"
        )
    if not isinstance(service.auth, Password):
        if isinstance(service.auth, Token) and service.auth.is_optional and not secret.strip():
            return {"token": ""}
        return {"token": check_token(secret)}
    if not account.strip():
        raise UsageError(f"{service.title} needs the name of the account")
    secret = secret.rstrip("\r\n")
    if not 0 < len(secret) <= LONGEST_TOKEN or not secret.isprintable():
        raise UsageError(f"a password has 1 to {LONGEST_TOKEN:,} printable characters")
    return {"user": account.strip(), "password": secret}


def check_name(owner: User, service: str, name: str) -> str:
    """Return a connection's name as it is stored. Raises UsageError."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or "\0" in name:
        raise UsageError(f"a connection needs a name of at most {LONGEST_NAME} characters")
    if Connection.objects.filter(owner=owner, service=service, name=name).exists():
        raise UsageError(f"{owner} has a connection of {service} named {name} already")
    return name


def check_minutes(minutes: int | None) -> int | None:
    """Return a frequency. Raises UsageError for one that is out of its range."""
    if minutes is not None and not 1 <= minutes <= LONGEST_FREQUENCY:
        raise UsageError(f"the frequency is 1 to {LONGEST_FREQUENCY:,} minutes")
    return minutes


def usual_minutes(service: Plugin) -> int:
    """How often a service's connections are fetched by default."""
    return int(service.period.total_seconds() // 60)


def find_service(name: str) -> Plugin:
    """Raises UsageError for a service that isn't installed."""
    try:
        return plugin.find(name)
    except KeyError:
        known = ", ".join(sorted(plugin.all_plugins()))
        raise UsageError(f"no service is named {name!r}: {known}") from None


def find(pk: int) -> Connection:
    """Raises UsageError if there is no such connection."""
    row = Connection.objects.select_related("owner").filter(pk=pk).first()
    if row is None:
        raise UsageError(f"there is no connection {pk}: see integrations_check")
    return row


def check_token(token: str) -> str:
    """Return a token as it is sent. Raises UsageError for text that is none."""
    token = token.strip()
    if not 0 < len(token) <= LONGEST_TOKEN:
        raise UsageError(f"a token has 1 to {LONGEST_TOKEN:,} characters")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("a token has letters, digits and signs alone: no blank is in it")
    return token


def check_address(url: str) -> str:
    """Return an address as it is stored. Raises UsageError for one that nothing is sent to."""
    if not url.strip():
        raise UsageError("this service needs an address: that of its server")
    try:
        place = http.check_address(url.strip())
    except AddressRejected as error:
        raise UsageError(str(error)) from None
    if place.query or place.fragment:
        raise UsageError("the address ends with its path: no ? and no # is in it")
    return url.strip().rstrip("/")
