"""Translates errors of an instance's server into RAINBO's own: the only place for it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from psycopg import errors
from psycopg.conninfo import make_conninfo

from common.errors import RainboError
from common.redaction import redact
from common.terminal import printable_line
from syncs.errors import (
    Conflict,
    ConnectionFailed,
    ContractBroken,
    ForeignServerFailed,
    LoginRejected,
    OwnDatabaseFailed,
    ProtocolBroken,
    SourceError,
    SourceTimeout,
)
from syncs.transfer.peer import TooMuchSent
from syncs.transfer.session import is_own
from tenants.fleet.grants import quoted
from tenants.fleet.server_messages import FAILURES, QUERY_ERRORS, REFUSALS
from tenants.models import RdsInstance

logger = logging.getLogger("rainbo.fleet")

READ = 4096  # characters of a server's own message that are read
LONGEST = 300  # characters of a server's own message that are passed on

_SECRETS = (b"password", b"scram_client_key", b"scram_server_key")

_DENIED = re.compile(r"permission denied for (?P<kind>[a-z ]+) (?P<name>\S+)")
_STATEMENT_POOLING = "statement pooling mode"  # PgBouncer's own words, in no other language
_IN_QUOTES = re.compile('["»„«“]([^"»«“”]+)["»«“”]')  # as the server's language writes them

# libpq writes a server's message after its severity, which may be translated, and two spaces.
_ANSWERED = re.compile(r"failed: [^:\n]{1,40}:  (?P<message>.*)")


@contextmanager
def translating_connection_errors(
    instance: RdsInstance, secret: str, place: tuple[str, int]
) -> Iterator[None]:
    """Translate errors while connecting into our errors, keeping the cause.

    place: the host and port of this connection, which may be the writer's.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _connection_error(error, instance, secret, place) from error
    except TooMuchSent as error:
        raise TooMuchSent(f"{instance} {error}") from None


@contextmanager
def translating_query_errors(
    instance: RdsInstance, source: psycopg.Connection[Any]
) -> Iterator[None]:
    """Translate errors on a connection into our errors, keeping the cause."""
    try:
        yield
    except psycopg.Error as error:
        if is_own(error):  # every other one is of this connection, whatever it says
            raise _own_database_error(error, instance) from error
        is_open = source.pgconn.status == psycopg.pq.ConnStatus.OK
        raise _query_error(error, instance, is_open=is_open) from error
    except TooMuchSent as error:
        raise TooMuchSent(f"{instance} {error}") from None


def translate(error: Exception, instance: RdsInstance) -> RainboError:
    """Return the error to report; an unexpected one is logged."""
    if isinstance(error, RainboError):
        return error
    logger.error("reading %s failed", instance, exc_info=error, extra={"instance": instance.pk})
    return RainboError(
        f"unexpected {type(error).__name__} with {instance}; the log of the server that ran it "
        "has the details"
    )


def quotable(error: psycopg.Error, secret: str = "") -> str:
    """Return the first line of the server's own message, shortened, without the secret."""
    message = _beginning(error.diag.message_primary or str(error))
    return _quoted(message or type(error).__name__, secret)


def _beginning(message: str) -> str:
    """What is looked at of a message, which its sender may have made as long as it likes."""
    return message[:READ].strip()


def _quoted(message: str, secret: str) -> str:
    if secret:
        message = message.replace(secret, "***")
    lines = message.splitlines()
    return printable_line(redact(lines[0] if lines else "")[:LONGEST])


def _connection_error(
    error: psycopg.Error, instance: RdsInstance, secret: str, place: tuple[str, int]
) -> SourceError:
    host, port = place
    who = f"{instance}" if place == (instance.host, instance.port) else f"the writer of {instance}"
    if isinstance(error, errors.ConnectionTimeout):
        return SourceTimeout(
            f"{who} did not answer at {host}:{port} within "
            f"{settings.RAINBO_CONNECT_TIMEOUT} s: check host and port, the network and its "
            "firewall"
        )
    said = str(error)[:READ]
    answer = _ANSWERED.search(said)
    message = answer["message"] if answer else said
    for pattern, kind, text in REFUSALS if answer else FAILURES:
        if re.search(pattern, message, re.IGNORECASE):
            facts = _facts(instance) | {"host": host, "port": port}
            return kind(f"{who} {text.format(**facts)}")
    if answer:
        return _refused(error, instance, _quoted(message, secret))
    return ConnectionFailed(f"{who} could not be connected to: {quotable(error, secret)}")


def _refused(error: psycopg.Error, instance: RdsInstance, message: str) -> SourceError:
    """Return the error for a refusal in another language, by what needs no language.

    A password that was used is not sent again. Before it was, PQping reads from the SQLSTATE
    whether the server is starting up or shutting down.
    """
    pgconn = error.pgconn
    if pgconn is not None and not pgconn.used_password and _is_not_ready(pgconn):
        return ConnectionFailed(f"{instance} is starting up or shutting down: {message}")
    return LoginRejected(
        f"{instance} rejected the login: {message} (check --user, the password and --database)"
    )


def _is_not_ready(pgconn: psycopg.pq.abc.PGconn) -> bool:
    known = {
        option.keyword.decode(): option.val.decode()
        for option in pgconn.info
        if option.val and option.keyword not in _SECRETS
    }
    ping = psycopg.pq.PGconn.ping(make_conninfo("", **known).encode())
    return ping == psycopg.pq.Ping.REJECT


GHOST_COLUMNS = ("is_ghost_admin", "rainbo_admin_id", "rainbo_installation")
GHOST_COLUMNS_ADDED = ' (ALTER TABLE of "The standard schema" in docs/source-contract.md adds it)'


def _own_database_error(error: psycopg.Error, instance: RdsInstance) -> OwnDatabaseFailed:
    if isinstance(error, errors.LockNotAvailable):
        problem = "kept a table locked for too long: another session is altering it"
    elif _is_loss(error) or isinstance(error, errors.AdminShutdown):
        problem = "broke the connection"
    else:
        problem = f"reported: {quotable(error)}"
    return OwnDatabaseFailed(f"while {instance} was read, RAINBO's own database {problem}")


def _query_error(error: psycopg.Error, instance: RdsInstance, *, is_open: bool) -> SourceError:
    if known := _known_origin(error, instance, is_open=is_open):
        return known
    for cause, kind, text in QUERY_ERRORS:
        if isinstance(error, cause):
            facts = {"role": quoted(instance.user), "message": quotable(error)}
            return kind(f"{instance} {text.format(**facts)}")
    if isinstance(error, errors.InsufficientPrivilege):
        if error.diag.source_file == "rls.c":
            return ContractBroken(f"{instance} {_hiding(quotable(error), instance.user)}")
        return ContractBroken(f"on {instance}, {denial(error, instance)}")
    if isinstance(error, psycopg.ProgrammingError):
        message = quotable(error)
        adds = GHOST_COLUMNS_ADDED if any(name in message for name in GHOST_COLUMNS) else ""
        return ContractBroken(f"the query does not fit {instance}: {message}{adds}")
    if isinstance(error, psycopg.DataError):
        return ContractBroken(f"{instance} has a value that can't be read: {quotable(error)}")
    if is_open and not error.sqlstate:
        return ProtocolBroken(
            f"{instance} did not answer as PostgreSQL does ({quotable(error)}): is there a proxy "
            "or another program at its address?"
        )
    if _is_loss(error):
        why = f": {quotable(error)}" if error.sqlstate else ""
        return ConnectionFailed(f"{instance} broke the connection{why}")
    return SourceError(f"{instance} reported: {quotable(error)}")


def _known_origin(
    error: psycopg.Error, instance: RdsInstance, *, is_open: bool
) -> SourceError | None:
    """Return the error of a foreign server, of replay on a standby, or of a pooler."""
    if _is_of_foreign_server(error, is_open=is_open):
        return ForeignServerFailed(
            f"{instance} reads from a foreign server, which failed: {quotable(error)}. Check there "
            "that it is reachable, and the user mapping"
        )
    if _is_recovery_conflict(error):
        return Conflict(
            f"{instance} is a standby and stopped the query, which was in the way of replay: set "
            "hot_standby_feedback = on there, or raise max_standby_streaming_delay"
        )
    if _STATEMENT_POOLING in str(error)[:READ]:
        return ContractBroken(
            f"{instance} is behind a pooler in statement pooling mode, which can't run "
            "transactions: use transaction or session mode"
        )
    return None


def _is_loss(error: psycopg.Error) -> bool:
    """Whether the error only means that the connection was lost."""
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError) and (not state or state.startswith("08"))


def _is_of_foreign_server(error: psycopg.Error, *, is_open: bool) -> bool:
    """Whether a server behind the source failed, by its foreign-data wrapper or dblink.

    postgres_fdw hands on the SQLSTATE of the server behind; the function that does is named.
    """
    state = error.sqlstate or ""
    is_connection = state.startswith("08") and is_open and state != "08P01"
    is_handed_on = error.diag.source_function == "pgfdw_report_error"
    return state.startswith("HV") or is_connection or is_handed_on


def _is_recovery_conflict(error: psycopg.Error) -> bool:
    """Whether a standby stopped the query, by the file that reports it: messages are translated.

    Deadlocks and serialization failures of transactions are reported elsewhere.
    """
    kinds = (errors.SerializationFailure, errors.DeadlockDetected, errors.DatabaseDropped)
    return isinstance(error, kinds) and error.diag.source_file == "postgres.c"


def denial(error: psycopg.Error, instance: RdsInstance) -> str:
    """Describe the missing privilege. A server names one, without its schema or its columns."""
    found = _DENIED.search(quotable(error))
    advice = f"check_fleet --rds {instance.pk} prints the statements that grant all that is missing"
    if found is None:
        return f"a privilege is missing ({quotable(error)}): {advice}"
    kind, name, role = found["kind"], found["name"], quoted(instance.user)
    if name == "pg_control_system":  # asked for at every login, before check_fleet could
        advice = f"GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {role};"
    elif kind == "database":
        advice = f"GRANT CONNECT ON DATABASE {quoted(name)} TO {role};"
    return f"{instance.user} has no permission for {kind} {name}: {advice}"


def denied(error: object) -> str:
    """Return what the server denied, as it says it; empty if it denied no privilege."""
    cause = error.__cause__ if isinstance(error, SourceError) else None
    if isinstance(cause, errors.InsufficientPrivilege) and cause.diag.source_file != "rls.c":
        return quotable(cause)
    return ""


def _hiding(message: str, role: str) -> str:
    named = _IN_QUOTES.search(message)
    table = quoted(named[1]) if named else "…"
    return (
        f"hides rows of {named[1] if named else 'a table'} from {role} by row-level security, and "
        f"a part can't be synced: let it see all rows (ALTER ROLE {quoted(role)} BYPASSRLS;), or "
        f"give RAINBO tables without policies (ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;)"
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
