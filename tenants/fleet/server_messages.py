"""What servers and libpq report, and what RAINBO says of it: a kind of error, and what to do."""

from __future__ import annotations

import psycopg
from psycopg import errors

from syncs.errors import (
    Conflict,
    ConnectionFailed,
    LoginRejected,
    SourceError,
    SourceLimit,
    SourceTimeout,
    TlsFailed,
)

# Messages of a server or a pooler that refuses a connection. It sends no SQLSTATE that libpq would
# hand on, so that they are recognized in English; see `server_errors` for other languages.
REFUSALS: tuple[tuple[str, type[SourceError], str], ...] = (
    (
        r"password authentication failed|role \"[^\"]*\" does not exist",
        LoginRejected,
        "rejected the password for role {user}: check --user and the password",
    ),
    (
        r"is not permitted to log in",
        LoginRejected,
        "does not let {user} log in: ALTER ROLE … LOGIN",
    ),
    (
        r"database \"[^\"]*\" does not exist",
        LoginRejected,
        "has no database {database}: check its name",
    ),
    (
        r"permission denied for database",
        LoginRejected,
        "does not let {user} connect: GRANT CONNECT ON DATABASE {database} TO {user}",
    ),
    (
        r"no pg_hba\.conf entry|pg_hba\.conf rejects",
        LoginRejected,
        "has no rule in pg_hba.conf that lets {user} connect from here",
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
)

# Messages of libpq itself, which are always in English: nobody refused the connection.
FAILURES: tuple[tuple[str, type[SourceError], str], ...] = (
    (
        r"no password supplied",
        LoginRejected,
        "rejected the password for role {user}: check --user and the password",
    ),
    (
        r"authentication method requirement",
        LoginRejected,
        (
            "requires another authentication method than {auth}: change its pg_hba.conf, or "
            "--require-auth here"
        ),
    ),
    (
        r"server does not support SSL",
        TlsFailed,
        "does not support TLS, and ssl mode {ssl_mode} requires it: enable TLS on the server",
    ),
    (
        r"does not match host name|server certificate for",
        TlsFailed,
        "has a certificate for another host name than {host}: check the host",
    ),
    (
        r"certificate verify failed|self-signed certificate|signature failure|bad signature",
        TlsFailed,
        "has a certificate that {ca} did not sign: check the CA (--ssl-ca)",
    ),
    (
        r"root certificate|sslrootcert|SSL error|tls",
        TlsFailed,
        "could not be verified: check its CA certificates and the server's TLS",
    ),
    (
        r"failed to resolve host|could not translate host name",
        ConnectionFailed,
        "has a host name that can't be resolved: {host}",
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

QUERY_ERRORS: tuple[tuple[type[psycopg.Error], type[SourceError], str], ...] = (
    (
        errors.QueryCanceled,
        SourceTimeout,
        "stopped a query: it ran longer than RAINBO_STATEMENT_TIMEOUT, or was cancelled there",
    ),
    (
        errors.LockNotAvailable,
        SourceTimeout,
        "kept a table locked for too long: another session is altering it",
    ),
    (
        errors.TransactionTimeout,
        SourceTimeout,
        "ended the session: a query of the source sets transaction_timeout, which ran out",
    ),
    (
        errors.IdleSessionTimeout,
        SourceTimeout,
        (
            "ended the session: its idle_session_timeout ran out before the first query. Raise it "
            "for RAINBO: ALTER ROLE {role} SET idle_session_timeout = '1min';"
        ),
    ),
    (
        errors.ConfigurationLimitExceeded,
        SourceLimit,
        (
            "stopped a query: {message}. Raise the limit for RAINBO, as a superuser there: "
            "ALTER ROLE {role} SET temp_file_limit = '10GB';"
        ),
    ),
    (
        errors.IdleInTransactionSessionTimeout,
        ConnectionFailed,
        "ended the session: RAINBO left its transaction idle for too long",
    ),
    (errors.AdminShutdown, ConnectionFailed, "ended the session: it was stopped on the server"),
    (errors.CrashShutdown, ConnectionFailed, "ended the session: the server crashed"),
    (errors.CannotConnectNow, ConnectionFailed, "is starting up or shutting down"),
    (errors.TooManyConnections, ConnectionFailed, "has no free connection"),
    (errors.SerializationFailure, Conflict, "aborted the transaction because of another one"),
    (errors.DeadlockDetected, Conflict, "aborted the transaction because of another one"),
)
