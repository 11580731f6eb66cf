"""The errors a person reads: what happened, where, and what to do."""

import psycopg

from common.errors import RainboError


class SourceError(RainboError):
    """A source could not be read."""

    kind = "source"


class ConnectionFailed(SourceError):
    """The server could not be reached, or the connection broke."""

    kind = "connection"
    passing = True


class OwnDatabaseFailed(RainboError):
    """RAINBO's own database failed."""

    kind = "own database"
    passing = True


class SourceTimeout(SourceError):
    """The server did not answer in time."""

    kind = "timeout"
    passing = True


class LoginRefused(SourceError):
    """The server refused the login."""

    kind = "login"


class TlsRefused(SourceError):
    """The server can't prove who it is, or does not encrypt."""

    kind = "tls"


class ContractBroken(SourceError):
    """The source does not return what the contract asks for."""

    kind = "contract"


class Conflict(SourceError):
    """The server aborted the transaction because of others; a retry can pass."""

    kind = "conflict"
    passing = True


class WrongIdentity(SourceError):
    """The server is not the one that was remembered."""

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
    passing = True


class Cancelled(RainboError):
    """A person asked for the end of the run; nothing was published after that."""

    kind = "cancelled"


class OverLimit(RainboError):
    """The run took too long and was stopped; nothing was published after that."""

    kind = "limit"
    passing = True


class NotEqual(RainboError):
    """The cache would not have equalled its source; nothing was published."""

    kind = "proof"


# What PostgreSQL says of rows that it can't take; nothing is wrong with the server itself.
ROWS_REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)


class RowsRefused(SourceError):
    """RAINBO's own database could not take the source's rows."""

    kind = "rows"


def refusal(error: RainboError | psycopg.Error) -> RainboError:
    """The error that a person reads when a source's rows were not taken."""
    if isinstance(error, RainboError):
        return error
    words = error.diag.message_primary or str(error).partition("\n")[0]
    return RowsRefused(
        f"RAINBO's own database could not take its rows: {words}; nothing of them is used"
    )
