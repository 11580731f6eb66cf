"""Errors of an instance's server, as the errors that a person reads. The one place for it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from psycopg import errors

from common.errors import RainboError
from common.redaction import redact
from common.terminal import printable_line
from syncs.errors import (
    Conflict,
    ConnectionFailed,
    ContractBroken,
    LoginRefused,
    OwnDatabaseFailed,
    SourceError,
    SourceTimeout,
    TlsRefused,
)
from syncs.transfer.session import is_own
from tenants.fleet.grants import grant_for, quoted
from tenants.models import RdsInstance

logger = logging.getLogger("rainbo.fleet")

LONGEST = 300  # characters of a server's own words that are passed on

_DENIED = re.compile(r"permission denied for (?P<kind>[a-z ]+) (?P<name>\S+)")
_HIDDEN = re.compile(r"affected by row-level security policy for table \"(?P<table>.+)\"")

# What libpq or the server say when a connection can't be made; a server that speaks another
# language falls through to its own words.
_CONNECTING: tuple[tuple[str, type[SourceError], str], ...] = (
    (
        r"authentication method requirement",
        LoginRefused,
        "wants another way to log in than {auth}: change its pg_hba.conf, or --require-auth here",
    ),
    (
        r"password authentication failed|no password supplied|role \"[^\"]*\" does not exist",
        LoginRefused,
        "refused the login of {user}: check user and password",
    ),
    (r"is not permitted to log in", LoginRefused, "does not let {user} log in: ALTER ROLE … LOGIN"),
    (
        r"database \"[^\"]*\" does not exist",
        LoginRefused,
        "has no database {database}: check its name",
    ),
    (
        r"permission denied for database",
        LoginRefused,
        "does not let {user} enter: GRANT CONNECT ON DATABASE {database} TO {user}",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        LoginRefused,
        "has no rule in pg_hba.conf that lets {user} in from here",
    ),
    (
        r"server does not support SSL",
        TlsRefused,
        "does not encrypt, and ssl mode {ssl_mode} asks for it: turn TLS on there",
    ),
    (
        r"does not match host name|server certificate for",
        TlsRefused,
        "shows a certificate that was made for another host name than {host}",
    ),
    (
        r"certificate verify failed|self-signed certificate|signature failure|bad signature",
        TlsRefused,
        "shows a certificate that {ca} did not sign: check the CA (--ssl-ca)",
    ),
    (
        r"root certificate|sslrootcert|SSL error|tls",
        TlsRefused,
        "could not be proved genuine: check its CA certificates and the server's TLS",
    ),
    (
        r"definition of service|service file",
        ConnectionFailed,
        "was not asked: PGSERVICE is set in this process's environment, unset it",
    ),
    (
        r"failed to resolve host|could not translate host name",
        ConnectionFailed,
        "has a host name that can't be resolved: {host}",
    ),
    (
        r"too many clients|too many connections|remaining connection slots",
        ConnectionFailed,
        "has no free connection: raise max_connections or the role's limit, or end some",
    ),
    (
        r"the database system is",
        ConnectionFailed,
        "is starting up or shutting down: try again in a minute",
    ),
    (
        r"Connection refused",
        ConnectionFailed,
        "refused the connection at {host}:{port}: is the server running there?",
    ),
    (
        r"server closed the connection|Connection reset|could not receive data|no response",
        ConnectionFailed,
        "closed the connection before the login: is a PostgreSQL server at {host}:{port}?",
    ),
    (
        r"No route to host|Network is unreachable|timed out",
        ConnectionFailed,
        "can't be reached at {host}:{port}: check the network and its firewall",
    ),
)

_ASKING: tuple[tuple[type[psycopg.Error], type[SourceError], str], ...] = (
    (
        errors.QueryCanceled,
        SourceTimeout,
        "stopped a query: it ran longer than RAINBO_STATEMENT_TIMEOUT, or somebody cancelled it",
    ),
    (
        errors.LockNotAvailable,
        SourceTimeout,
        "kept a table locked for too long: somebody alters it",
    ),
    (
        errors.IdleInTransactionSessionTimeout,
        ConnectionFailed,
        "ended the session: RAINBO left its transaction idle for too long",
    ),
    (errors.AdminShutdown, ConnectionFailed, "ended the session: somebody stopped it"),
    (errors.CrashShutdown, ConnectionFailed, "ended the session: the server crashed"),
    (errors.CannotConnectNow, ConnectionFailed, "is starting up or shutting down"),
    (errors.TooManyConnections, ConnectionFailed, "has no free connection"),
    (errors.SerializationFailure, Conflict, "aborted the transaction because of another one"),
    (errors.DeadlockDetected, Conflict, "aborted the transaction because of another one"),
)


@contextmanager
def translating_connection_errors(instance: RdsInstance, secret: str) -> Iterator[None]:
    """Turn what goes wrong while connecting into our errors, the cause kept."""
    try:
        yield
    except psycopg.Error as error:
        raise _connecting(error, instance, secret) from error


@contextmanager
def translating_query_errors(
    instance: RdsInstance, source: psycopg.Connection[Any]
) -> Iterator[None]:
    """Turn what goes wrong on a connection into our errors, the cause kept."""
    try:
        yield
    except psycopg.Error as error:
        lost = _is_loss(error) and source.pgconn.status == psycopg.pq.ConnStatus.OK
        if lost or is_own(error):
            raise _at_home(error, instance) from error
        raise _asking(error, instance) from error


def translate(error: Exception, instance: RdsInstance) -> RainboError:
    """The error that a person reads; what nobody foresaw is logged."""
    if isinstance(error, RainboError):
        return error
    logger.error("reading %s failed", instance, exc_info=error, extra={"instance": instance.pk})
    return RainboError(
        f"unexpected {type(error).__name__} with {instance}; the log of the server that ran it "
        "has the details"
    )


def quotable(error: psycopg.Error, secret: str = "") -> str:
    """The first line of the server's own words, shortened, without the secret."""
    words = (error.diag.message_primary or str(error)).strip() or type(error).__name__
    if secret:
        words = words.replace(secret, "***")
    return printable_line(redact(words.splitlines()[0])[:LONGEST])


def _connecting(error: psycopg.Error, instance: RdsInstance, secret: str) -> SourceError:
    if isinstance(error, errors.ConnectionTimeout):
        return SourceTimeout(
            f"{instance} did not answer at {instance.host}:{instance.port} within "
            f"{settings.RAINBO_CONNECT_TIMEOUT} s: check host and port, the network and its "
            "firewall"
        )
    said = str(error)
    for pattern, kind, words in _CONNECTING:
        if re.search(pattern, said, re.IGNORECASE):
            return kind(f"{instance} {words.format(**_facts(instance))}")
    return ConnectionFailed(f"{instance} could not be entered: {quotable(error, secret)}")


def _at_home(error: psycopg.Error, instance: RdsInstance) -> OwnDatabaseFailed:
    if isinstance(error, errors.LockNotAvailable):
        words = "kept a table locked for too long: somebody alters it there"
    elif _is_loss(error) or isinstance(error, errors.AdminShutdown):
        words = "broke the connection"
    else:
        words = f"said: {quotable(error)}"
    return OwnDatabaseFailed(f"while {instance} was read, RAINBO's own database {words}")


def _asking(error: psycopg.Error, instance: RdsInstance) -> SourceError:
    for cause, kind, words in _ASKING:
        if isinstance(error, cause):
            return kind(f"{instance} {words}")
    if isinstance(error, errors.InsufficientPrivilege):
        if found := _HIDDEN.search(quotable(error)):
            return ContractBroken(f"{instance} {_hiding(found['table'], instance.user)}")
        return ContractBroken(f"on {instance}, {denial(error, instance.user)}")
    if isinstance(error, psycopg.ProgrammingError):
        return ContractBroken(f"the query does not fit {instance}: {quotable(error)}")
    if isinstance(error, psycopg.DataError):
        return ContractBroken(f"{instance} has a value that can't be read: {quotable(error)}")
    if _is_loss(error):
        return ConnectionFailed(f"{instance} broke the connection")
    return SourceError(f"{instance} said: {quotable(error)}")


def _is_loss(error: psycopg.Error) -> bool:
    """Whether it says no more than that the connection is gone."""
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError) and (not state or state.startswith("08"))


def denial(error: psycopg.Error, role: str) -> str:
    """What a role was denied, with the statement that grants it."""
    found = _DENIED.search(quotable(error))
    if found is None:
        return f"a privilege is missing: {quotable(error)}"
    kind, name = found["kind"], found["name"]
    return f"{role} may not use {kind} {name}: {grant_for(kind, name, role)}"


def _hiding(table: str, role: str) -> str:
    return (
        f"hides rows of {table} from {role} by row-level security, and less than all can't be "
        f"synced: let it see all (ALTER ROLE {quoted(role)} BYPASSRLS;), or give RAINBO tables "
        f"without policies (ALTER TABLE {quoted(table)} DISABLE ROW LEVEL SECURITY;)"
    )


def _facts(instance: RdsInstance) -> dict[str, object]:
    return {
        "host": instance.host,
        "port": instance.port,
        "database": instance.database,
        "user": instance.user,
        "ssl_mode": instance.ssl_mode,
        "auth": instance.require_auth,
        "ca": "its CA" if instance.ssl_ca else "the system's list of CAs",
    }
