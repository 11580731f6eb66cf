"""SCRAM keys: what a password becomes by the hashing that SCRAM asks of the client.

A server stores a verifier that was made with a salt and a number of rounds, names both while a
client signs in, and hashes nothing itself. The keys stay valid until it stores another verifier.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import psycopg
from psycopg import errors, pq, waiting

from tenants.fleet.transactions import Connection

_TRACE = 65536  # bytes of a login that are looked at
OLDEST_LIBPQ = 180_000  # that takes keys in place of a password

# As libpq's trace shows what the server says after the client's first message, and after the last
# one if it accepts it. The nonce is printable and has no comma (RFC 5802).
_CHALLENGE = re.compile(
    rb"\tAuthenticationSASLContinue\t[^\n]*?'r=[!-+\--~]+,"
    rb"s=(?P<salt>[A-Za-z0-9+/]+={0,2}),i=(?P<rounds>[1-9][0-9]{0,9})'"
)
_ACCEPTED = re.compile(rb"\tAuthenticationSASLFinal\t")
_WAITS: dict[int, waiting.Wait] = {
    pq.PollingStatus.READING: waiting.Wait.R,
    pq.PollingStatus.WRITING: waiting.Wait.W,
}


@dataclass(frozen=True)
class Challenge:
    """What a role's verifier on the server was made with."""

    salt: str  # in base64
    rounds: int

    @classmethod
    def read(cls, trace: bytes) -> Self | None:
        """That of a login that the server accepted, by the trace of it; None without one."""
        found = _CHALLENGE.findall(trace)
        if len(found) != 1 or not _ACCEPTED.search(trace):
            return None
        ((salt, rounds),) = found
        return cls(salt.decode(), int(rounds))


class KeysRejected(Exception):
    """The server did not let the keys in. Not psycopg's: that would try the next address."""


class LoginFailed(psycopg.OperationalError):
    """challenge: if the server accepted the password and then failed."""

    challenge: Challenge | None = None


@dataclass(frozen=True)
class Keys:
    """In base64, as libpq takes them; challenge: that they answer."""

    client: str = field(repr=False)
    server: str = field(repr=False)
    challenge: Challenge

    @classmethod
    def derive(cls, password: str, challenge: Challenge) -> Self:
        """Hash the password, which is ASCII: other texts would have to be normalized before."""
        salt = base64.b64decode(challenge.salt)
        salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, challenge.rounds)
        client, server = (
            base64.b64encode(hmac.digest(salted, name, "sha256")).decode()
            for name in (b"Client Key", b"Server Key")
        )
        return cls(client, server, challenge)

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> Self:
        challenge = Challenge(values["salt"], values["rounds"])
        return cls(values["client"], values["server"], challenge)

    def as_json(self) -> dict[str, Any]:
        challenge = {"salt": self.challenge.salt, "rounds": self.challenge.rounds}
        return {"client": self.client, "server": self.server} | challenge

    @property
    def parameters(self) -> dict[str, str]:
        """libpq's, in place of a password."""
        return {"password": "", "scram_client_key": self.client, "scram_server_key": self.server}


class ByKeys(Connection):
    """Signs in by keys; raises KeysRejected where the server did not take them."""

    @classmethod
    def _login(cls, conninfo: str) -> Generator[Any, Any, Self]:
        try:
            return (yield from super()._login(conninfo))
        except psycopg.OperationalError as error:
            if error.pgconn is not None and error.pgconn.used_password:
                raise KeysRejected from error
            raise


class ByPassword(Connection):
    """Signs in by the password, and reads the challenge. Raises LoginFailed."""

    @classmethod
    def _login(cls, conninfo: str) -> Generator[Any, Any, Self]:
        # Memory that no other user can open: passwords can be tried by what is written there.
        descriptor = os.memfd_create("scram")
        try:
            pgconn = yield from _traced(conninfo, descriptor)
            challenge = Challenge.read(os.pread(descriptor, _TRACE, 0))
        finally:
            os.close(descriptor)
        if pgconn.status == pq.ConnStatus.OK:
            pgconn.nonblocking = 1
            connection = cls(pgconn)
            connection.challenge = challenge
            return connection
        message = f"connection failed: {pgconn.get_error_message()}"
        error = LoginFailed(message, pgconn=errors.finish_pgconn(pgconn))
        error.challenge = challenge
        raise error


def _traced(conninfo: str, descriptor: int) -> Generator[Any, Any, pq.abc.PGconn]:
    """Connect as psycopg does, with a trace of what is said until the login succeeds or fails."""
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    pgconn.trace(descriptor)
    try:
        while (status := pgconn.connect_poll()) in _WAITS:
            while not (yield pgconn.socket, _WAITS[status]):
                pass
    finally:
        pgconn.untrace()  # which also writes what is buffered
    return pgconn
