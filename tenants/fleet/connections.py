"""Connections to instances: the only place that opens them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader

from syncs.errors import TlsFailed, WrongIdentity
from tenants.fleet import identity
from tenants.fleet.parallel import ConnectionWatchdog, Outcome, visit_all
from tenants.fleet.server_errors import translating_connection_errors, translating_query_errors
from tenants.fleet.validation import UNENCRYPTED
from tenants.models import RdsInstance
from tenants.models.instance import SslMode

__all__ = ["Connection", "Outcome", "connect", "each_instance", "reach", "snapshot"]

Connection = psycopg.Connection[tuple[Any, ...]]

T = TypeVar("T")

LOCK_TIMEOUT = 30  # seconds that a query waits for a locked table
NOWHERE = "/dev/null/none"  # a path that never exists: no file of the user's home is taken


_Status = psycopg.pq.TransactionStatus


@contextmanager
def connect(instance: RdsInstance, purpose: str, *, writes: bool = False) -> Iterator[Connection]:
    """Open an autocommit connection to an instance and verify its identity.

    An identity met for the first time is accepted and not stored. psycopg's errors are translated
    into ours.
    """
    with _entered(instance, purpose) as connection:
        found = identity.read(connection, _session_settings(writes, None))
        identity.Register.load().admit(instance, found)
        identity.adopt(instance, found)
        yield connection


@contextmanager
def reach(
    instance: RdsInstance, purpose: str, *, writes: bool = False, limit: float | None = None
) -> Iterator[Connection]:
    """Open a connection without verifying the server's identity: for checks only.

    limit: seconds that a statement may take, if less than RAINBO_STATEMENT_TIMEOUT.
    """
    with _entered(instance, purpose) as connection:
        connection.execute(_session_settings(writes, limit))
        yield connection


@contextmanager
def _entered(instance: RdsInstance, purpose: str) -> Iterator[Connection]:
    """Open a connection whose session still has the server's settings."""
    if instance.sends_password_in_clear:
        raise TlsFailed(f"{instance} was not contacted: {UNENCRYPTED}")
    password = instance.reveal_password()
    with _ca_file(instance) as ca:
        with translating_connection_errors(instance, password):
            connection = psycopg.connect(
                **_parameters(instance, password, ca),
                **_KEEPALIVES,
                connect_timeout=settings.RAINBO_CONNECT_TIMEOUT,
                application_name=f"rainbo/{purpose}",
                autocommit=True,
                row_factory=tuple_row,
            )
        with closing(connection), translating_query_errors(instance, connection):
            _read_ascii_as_bytes(connection)
            yield connection


@contextmanager
def snapshot(source: psycopg.Connection[Any]) -> Iterator[None]:
    """Open a REPEATABLE READ READ ONLY transaction: all its queries see the same snapshot."""
    source.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        if source.info.transaction_status in (_Status.INTRANS, _Status.INERROR):
            source.execute("ROLLBACK")


def each_instance(
    instances: Sequence[RdsInstance],
    act: Callable[[RdsInstance, Connection], T],
    purpose: str,
    on_done: Callable[[Outcome[T]], object] | None = None,
    *,
    writes: bool = False,
    remember: bool = True,
    limit: float | None = None,
) -> list[Outcome[T]]:
    """Call `act` for every instance, several at once, and return how each ended.

    `act` runs in threads, on an autocommit connection to a server that proved its identity.
    on_done is called in the caller's thread as each ends. remember: store identities that are
    met for the first time. limit: seconds per instance; default: RAINBO_INSTANCE_LIMIT.
    """
    register = identity.Register.load()
    met: dict[int, identity.Identity] = {}

    def work(instance: RdsInstance, watch: ConnectionWatchdog) -> T:
        with _entered(instance, purpose) as connection, watch.over(connection):
            found = identity.read(connection, _session_settings(writes, limit))
            register.admit(instance, found)
            if not instance.identity:
                met[instance.pk] = found
            identity.adopt(instance, found)
            return act(instance, connection)

    def ended(outcome: Outcome[T]) -> Outcome[T]:
        found = met.get(outcome.instance.pk)
        if remember and found is not None:
            outcome = _remembered(outcome, found)
        if on_done is not None:
            on_done(outcome)
        return outcome

    return visit_all(
        instances,
        work,
        ended,
        threads=settings.RAINBO_FLEET_THREADS,
        limit=limit or settings.RAINBO_INSTANCE_LIMIT,
    )


def _remembered(outcome: Outcome[T], found: identity.Identity) -> Outcome[T]:
    try:
        identity.remember(outcome.instance, found)
    except WrongIdentity as error:
        return Outcome(outcome.instance, None, error, outcome.seconds)
    return outcome


_KEEPALIVES: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def _parameters(instance: RdsInstance, password: str, ca: str) -> dict[str, Any]:
    """Return libpq's keywords, including all that the environment or a home folder could set.

    Only a service file can't be overridden: PGSERVICE makes the connection fail with an error.
    """
    return {
        "host": instance.host,
        "hostaddr": "",
        "port": instance.port,
        "dbname": instance.database,
        "user": instance.user,
        "password": password,
        "passfile": "/dev/null",
        "require_auth": instance.require_auth,
        "gssencmode": "disable",
        "gssdelegation": "0",
        "gsslib": "",
        "krbsrvname": "postgres",
        "requirepeer": "",
        "sslmode": instance.ssl_mode,
        "sslrootcert": ca,
        "sslcertmode": "disable",
        "sslcert": NOWHERE,
        "sslkey": NOWHERE,
        "sslcrl": NOWHERE,
        "sslcrldir": "",
        "sslsni": "1",
        "sslcompression": "0",
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_max_protocol_version": "",
        "min_protocol_version": "3.0",
        "max_protocol_version": "3.0",
        "sslnegotiation": "postgres",
        "channel_binding": "prefer",
        "target_session_attrs": "any",
        "load_balance_hosts": "disable",
        "client_encoding": "UTF8",
        "options": "",
    }


def _session_settings(writes: bool, limit: float | None) -> sql.Composed:
    statement = min(settings.RAINBO_STATEMENT_TIMEOUT, limit or settings.RAINBO_STATEMENT_TIMEOUT)
    idle = settings.RAINBO_LEASE_TTL / 2 if writes else settings.RAINBO_INSTANCE_LIMIT
    values = {
        "statement_timeout": f"{statement:g}s",
        "lock_timeout": f"{min(LOCK_TIMEOUT, statement):g}s",
        "idle_in_transaction_session_timeout": f"{idle:g}s",
        "default_transaction_read_only": "off" if writes else "on",
        "default_transaction_isolation": "read committed" if writes else "repeatable read",
        "row_security": "off",  # a policy that would hide rows is an error
        "timezone": "UTC",
        "datestyle": "ISO",
    }
    return sql.SQL("; ").join(
        sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in values.items()
    )


@contextmanager
def _ca_file(instance: RdsInstance) -> Iterator[str]:
    """Write the instance's CA certificates to a private file; libpq takes no other form."""
    if not instance.ssl_ca:
        if instance.ssl_mode == SslMode.VERIFY_CA:
            raise TlsFailed(f"{instance} has ssl mode verify-ca and no CA: set one (--ssl-ca)")
        yield "system" if instance.ssl_mode == SslMode.VERIFY_FULL else NOWHERE
        return
    with tempfile.NamedTemporaryFile("w", prefix="rainbo-ca-", suffix=".pem") as file:
        file.write(instance.ssl_ca)
        file.flush()
        yield file.name


class _LenientLoader(TextLoader):
    """Text of a SQL_ASCII server, where any byte may stand."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", errors="backslashreplace")


def _read_ascii_as_bytes(connection: Connection) -> None:
    """Request raw bytes from a SQL_ASCII server: as UTF8, one bad row would fail them all."""
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        for name in ("text", "varchar", "bpchar", "name"):
            connection.adapters.register_loader(name, _LenientLoader)
