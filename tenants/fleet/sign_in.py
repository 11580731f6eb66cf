"""Signs in to instances: by SCRAM keys where it can, else by the password.

A password costs the client thousands of rounds of hashing at each login, most of the price of a
short visit. The keys that come out are kept until the server's verifier changes. A server that
counts failed logins sees one for it: the first of those that would use them tries alone, and all
that come after know. The password is used once after that, and gives the next keys.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from psycopg import pq

from common.encryption import Binding
from common.text import listed
from tenants.fleet import password_command, scram_store
from tenants.fleet.scram import (
    OLDEST_LIBPQ,
    ByKeys,
    ByPassword,
    Keys,
    KeysRejected,
    LoginFailed,
)
from tenants.fleet.scram_store import Place, Stored
from tenants.fleet.transactions import Connection
from tenants.models import RdsInstance
from tenants.models.instance import AuthMethod

LIFETIME = 60.0  # seconds that a process relies on what it found, without trying it alone again
WAIT = 1.0  # seconds that connections wait for the one that tries
TRACES = 1000  # that a process makes at most: psycopg does not free what it traces to

REJECTED = "the server rejected the keys"
UNREADABLE = "the server's salt could not be read"
BUSY = "another connection was trying the keys"


@dataclass(frozen=True)
class _Found:
    """What a process knows of a place. keys: None if the password is to be used, and why."""

    until: float
    keys: Keys | None
    why: str = ""


class Passwords:
    """Which instances were signed in to by the password, in place of keys, and why."""

    def __init__(self) -> None:
        self._instances: dict[str, list[int]] = {}

    def note(self, instance: RdsInstance, source: Connection) -> None:
        """Any thread may call it."""
        if source.why_password:
            self._instances.setdefault(source.why_password, []).append(instance.pk)

    def report(self, log: Callable[[str], object] | None) -> None:
        """Log one line about them, if there are any."""
        found = self._instances.copy()  # a visit that was abandoned may still add to it
        if log is not None and found:
            parts = [
                f"instance{'s' * (len(ids) > 1)} {listed([str(pk) for pk in sorted(ids)])} ({why})"
                for why, ids in sorted(found.items())
            ]
            log(f"signed in by password, not by SCRAM keys: {'; '.join(parts)}")


_found: dict[Binding, _Found] = {}
_trying: dict[Place, threading.Lock] = {}
_traces = itertools.count(1)


def connect(
    instance: RdsInstance, place: Place, password: str, parameters: dict[str, Any]
) -> Connection:
    """Open a connection to a place; parameters: libpq's and psycopg's, without a password.

    Raises psycopg errors as they are.
    """
    parameters = parameters | {"password": password}
    if why := _why_not(instance, place, password):
        return _by_password(parameters, why)
    login = _Login(instance, place, password, parameters)
    found, rejected = login.known(), None
    if found is not None:
        try:
            return login.as_found(found)
        except KeysRejected:
            rejected = found.keys
    trying = _trying.setdefault(place, threading.Lock())
    if not trying.acquire(timeout=WAIT):
        return _by_password(parameters, BUSY)
    try:
        found = login.known()
        if found is None or (rejected is not None and found.keys == rejected):
            return login.alone(rejected)
    finally:
        trying.release()
    try:
        return login.as_found(found)
    except KeysRejected:
        return _by_password(parameters, REJECTED)


class _Login:
    def __init__(
        self, instance: RdsInstance, place: Place, password: str, parameters: dict[str, Any]
    ) -> None:
        self.instance = instance
        self.place = place
        self.password = password
        self.parameters = parameters
        self.bound = scram_store.binding(instance, place, password)

    def known(self) -> _Found | None:
        found = _found.get(self.bound)
        return found if found is not None and time.monotonic() < found.until else None

    def as_found(self, found: _Found) -> Connection:
        if found.keys is None:
            return _by_password(self.parameters, found.why)
        return self.by_keys(found.keys)

    def by_keys(self, keys: Keys) -> Connection:
        return ByKeys.connect(**self.parameters | keys.parameters)

    def alone(self, rejected: Keys | None) -> Connection:
        """Sign in while no other connection to the place tries its keys.

        rejected: keys that were already tried.
        """
        with scram_store.claimed(self.place, self.bound) as stored:
            if stored is None:
                return _by_password(self.parameters, BUSY)
            if stored.keys is not None and stored.keys != rejected:
                try:
                    source = self.by_keys(stored.keys)
                except KeysRejected:
                    rejected = stored.keys
                else:
                    self._remember(stored.keys)
                    return source
            why = REJECTED if rejected else stored.why
            is_of_use = stored.may_derive or stored.keys is not None
            if not is_of_use or next(_traces) > TRACES:
                self._remember(None, why)
                return _by_password(self.parameters, why)
            return self._by_password_and_challenge(stored, why)

    def _by_password_and_challenge(self, stored: Stored, why: str) -> Connection:
        """Sign in by the password, and decide by the server's challenge about the keys."""
        challenge = None
        try:
            source = ByPassword.connect(**self.parameters)
            challenge = source.challenge
        except LoginFailed as error:
            challenge = error.challenge
            raise
        finally:
            if stored.keys is not None and stored.keys.challenge != challenge:
                self._remember(None, why)
                scram_store.drop(self.place, stored)
        source.why_password = why
        if challenge is None:
            self._remember(None, UNREADABLE)
        elif stored.keys is not None and stored.keys.challenge == challenge:
            self._remember(stored.keys)
        elif stored.may_derive:
            keys = Keys.derive(self.password, challenge)
            self._remember(keys)
            scram_store.keep(self.instance, self.place, keys, self.bound)
        return source

    def _remember(self, keys: Keys | None, why: str = "") -> None:
        _found[self.bound] = _Found(time.monotonic() + LIFETIME, keys, why)


def _why_not(instance: RdsInstance, place: Place, password: str) -> str:
    """Why no keys are used; empty if they may be."""
    if not settings.RAINBO_SCRAM_KEYS:
        return "RAINBO_SCRAM_KEYS is off"
    if instance.require_auth != AuthMethod.SCRAM:
        return f"its authentication method is {instance.require_auth}"
    if password_command.has_command(place.host):
        return "a command returns its password"
    if not password.isascii():
        return "its password is not ASCII"
    return "" if pq.version() >= OLDEST_LIBPQ else "libpq is older than 18"


def _by_password(parameters: dict[str, Any], why: str) -> Connection:
    source = Connection.connect(**parameters)
    source.why_password = why
    return source
