"""Where SCRAM keys are kept: encrypted, in RAINBO's own database.

Its statements run on the session of the connection budget, which every visit uses. What can't be
read or written here costs the hashing of a password and nothing else.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from django.db import connection
from psycopg import sql

from common.encryption import Binding, CredentialError, Encrypted, decrypt_json, encrypt_json
from syncs.errors import OwnDatabaseFailed
from tenants.fleet.connection_budget import BUDGET, FIRST_LOCK
from tenants.fleet.scram import Keys
from tenants.models import RdsInstance
from tenants.models.instance import SslMode

logger = logging.getLogger("rainbo.fleet")

# Keys that a server rejects sooner are of no use there: behind a pooler each login may have a
# salt of its own. A password that people change lasts longer.
LEAST_LIFE = timedelta(days=1)
NONE_STORED = "no keys were stored"
UNUSABLE = "the keys of the last day do not fit"
UNREAD = "the keys could not be read"

_LOCK = FIRST_LOCK - 1  # the first key of the advisory lock on a role at a server

# What others have locked is not waited for, here or in later statements of the session.
_CLAIM = sql.SQL("""
    SET lock_timeout = '200ms';
    SELECT pg_try_advisory_lock({lock}, hashtext({name}))""")
_RELEASE = sql.SQL("SELECT pg_advisory_unlock({lock}, hashtext({name}))")
_READ = sql.SQL("""
    SELECT keys, at < now() - {life} FROM scram_keys
     WHERE (host, port, "user") = ({host}, {port}, {user})""")
# While the instance has the password that they were derived from.
_KEEP = sql.SQL("""
    INSERT INTO scram_keys (host, port, "user", keys, at)
    SELECT {host}, {port}, {user}, {keys}, now() FROM rds_instances
     WHERE id = {instance} AND password = {password}
        ON CONFLICT (host, port, "user") DO UPDATE SET keys = excluded.keys, at = excluded.at
    RETURNING 1""")
_DROP = sql.SQL("""
    UPDATE scram_keys SET keys = NULL
     WHERE (host, port, "user") = ({host}, {port}, {user}) AND keys = {keys} RETURNING 1""")
_FORGET = """
    DELETE FROM scram_keys AS known
     WHERE (host, port, "user") IN (
           (%(host)s, %(port)s, %(user)s), (%(writer_host)s, %(writer_port)s, %(user)s))
        OR NOT EXISTS (
           SELECT FROM rds_instances AS one
            WHERE one."user" = known."user" AND (known.host, known.port) IN (
                  (one.host, one.port), (one.writer_host, coalesce(one.writer_port, one.port))))"""


class Place(NamedTuple):
    """A role at a server, as a pooler or the server itself names it: it has one verifier."""

    host: str
    port: int
    user: str


@dataclass(frozen=True)
class Stored:
    """What is kept of a place. keys: None if the password is to be used, and why.

    encrypted: as stored. may_derive: whether new keys are worth deriving now.
    """

    keys: Keys | None = None
    encrypted: str | None = None
    may_derive: bool = True
    why: str = NONE_STORED


def binding(instance: RdsInstance, place: Place, password: str) -> Binding:
    """What keys are valid for: the place, its proof of identity, and the password."""
    return Binding(
        row=f"scram_keys/{place.user}@{place.host}:{place.port}",
        settings=(
            *(place.host, str(place.port), place.user, instance.ssl_ca, instance.require_auth),
            hashlib.sha256(password.encode()).hexdigest(),
        ),
        strength=list(SslMode).index(SslMode(instance.ssl_mode)),
    )


@contextmanager
def claimed(place: Place, bound: Binding) -> Iterator[Stored | None]:
    """Read what is kept of a place, for as long as no other process tries it; None if one does."""
    is_claimed = True  # unless the answer says otherwise: a statement may fail after that one
    try:
        try:
            asked = _sql(_CLAIM, place) + sql.SQL(";") + _sql(_READ, place)
            _, (is_claimed,), row = BUDGET.ask(asked)
            stored = _stored(row, bound) if is_claimed else None
        except OwnDatabaseFailed as error:
            _say("can't be read", place, error)
            stored = Stored(may_derive=False, why=UNREAD)
        yield stored
    finally:
        if is_claimed:
            with suppress(OwnDatabaseFailed):  # a session that is lost has no locks
                BUDGET.ask(_sql(_RELEASE, place))


def keep(instance: RdsInstance, place: Place, keys: Keys, bound: Binding) -> None:
    """Keep keys in place of any before, unless the instance's password was changed meanwhile."""
    secret = encrypt_json(keys.as_json(), bound)
    values = {"instance": instance.pk, "password": instance.password.token, "keys": secret.token}
    try:
        BUDGET.ask(_sql(_KEEP, place, **values))
    except OwnDatabaseFailed as error:
        _say("can't be stored", place, error)


def drop(place: Place, stored: Stored) -> None:
    """Delete keys that the server rejected, unless they were replaced meanwhile."""
    try:
        BUDGET.ask(_sql(_DROP, place, keys=stored.encrypted))
    except OwnDatabaseFailed as error:
        _say("can't be deleted", place, error)


def forget(instance: RdsInstance) -> None:
    """Delete the keys of an instance that was changed, and those of places that none has."""
    writer_host, writer_port = instance.writer
    with connection.cursor() as cursor:
        values: dict[str, str | int] = {
            "host": instance.host,
            "port": instance.port,
            "user": instance.user,
            "writer_host": writer_host,
            "writer_port": writer_port,
        }
        cursor.execute(_FORGET, values)


def _stored(row: tuple[str | None, bool] | None, bound: Binding) -> Stored:
    if row is None:
        return Stored()
    token, is_old = row
    why = NONE_STORED if is_old else UNUSABLE
    if token is None:
        return Stored(may_derive=is_old, why=why)
    try:
        keys = Keys.of_json(decrypt_json(Encrypted(token), bound, "the role"))
    except CredentialError:  # of another password or TLS setting, or of a key that is gone
        return Stored(None, token, is_old, why)
    return Stored(keys, token, is_old)


def _sql(query: sql.SQL, place: Place, **values: object) -> sql.Composed:
    given = place._asdict() | {"lock": _LOCK, "name": repr(place), "life": LEAST_LIFE} | values
    return query.format(**{name: sql.Literal(value) for name, value in given.items()})


def _say(what: str, place: Place, error: Exception) -> None:
    name = f"{place.user} at {place.host}:{place.port}"
    logger.warning("the SCRAM keys of %s %s: %s", name, what, error)
