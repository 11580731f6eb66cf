"""The engine's errors; each says what happened, where, and what to do."""

import psycopg

from common.errors import RainboError


class SourceError(RainboError):
    """A source could not be read."""

    kind = "source"


class ConnectionFailed(SourceError):
    """The server could not be reached, or the connection broke."""

    kind = "connection"
    transient = True


class OwnDatabaseFailed(RainboError):
    """RAINBO's own database failed."""

    kind = "own database"
    transient = True


class ForeignServerFailed(SourceError):
    """A server behind the source, from which it reads foreign tables, failed."""

    kind = "foreign server"
    transient = True


class SourceTimeout(SourceError):
    """The server did not answer in time."""

    kind = "timeout"
    transient = True


class SourceLimit(SourceError):
    """A limit of the server's owner stopped the query, which needs less at another time."""

    kind = "server limit"
    transient = True


class LoginRejected(SourceError):
    """The server rejected the login."""

    kind = "login"


class TlsFailed(SourceError):
    """The server can't prove who it is, or does not encrypt."""

    kind = "tls"


class ContractBroken(SourceError):
    """The source does not return what the contract asks for."""

    kind = "contract"


class ProtocolBroken(SourceError):
    """The server answered in a way that PostgreSQL's protocol does not allow."""

    kind = "protocol"


class Conflict(SourceError):
    """The server aborted the transaction because of another one; a retry can succeed."""

    kind = "conflict"
    transient = True


class Unequal(SourceError):
    """What could be written there was, and it is not all that should be there.

    transient: another run can repair it without a person.
    """

    kind = "unequal"

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class WrongIdentity(SourceError):
    """The server is not the one that was registered."""

    kind = "identity"


class LeaseHeld(RainboError):
    """The sync is already running."""

    kind = "busy"

    def __init__(self, run_id: int | None, doing: str = "is running") -> None:
        super().__init__(f"run {run_id} {doing} already" if run_id else f"another run {doing}")
        self.run_id = run_id


class LeaseLost(RainboError):
    """The lease went to another run; nothing was published."""

    kind = "lost"
    transient = True


class Cancelled(RainboError):
    """A user cancelled the run; nothing was published after that."""

    kind = "cancelled"


class OverLimit(RainboError):
    """The run took too long and was stopped; nothing was published after that."""

    kind = "limit"
    transient = True


class NotEqual(RainboError):
    """The cache would have differed from its source; nothing was published."""

    kind = "proof"


# Raised by PostgreSQL for rows that it can't store; the server itself is fine.
ROWS_REJECTED = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)


class RowsRejected(SourceError):
    """RAINBO's own database could not store the source's rows."""

    kind = "rows"


def rows_error(error: RainboError | psycopg.Error) -> RainboError:
    """Return the error to report when a source's rows could not be stored."""
    if isinstance(error, RainboError):
        return error
    message = error.diag.message_primary or str(error).partition("\n")[0]
    return RowsRejected(
        f"RAINBO's own database could not store its rows: {message}; none of them is used"
    )
