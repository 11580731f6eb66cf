"""The errors a person reads: what happened, where, and what to do."""


class RainboError(Exception):
    """RAINBO could not do what was asked."""

    kind = "failed"
    passing = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__)


class UsageError(RainboError):
    """The request makes no sense as it stands."""

    kind = "usage"


class SourceError(RainboError):
    """A source could not be read."""

    kind = "source"


class ConnectionFailed(SourceError):
    """The server could not be reached, or the connection broke."""

    kind = "connection"
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


class NotEqual(RainboError):
    """The cache would not have equalled its source; nothing was published."""

    kind = "proof"
