"""The two errors that every app raises."""

from common.redaction import redact


class RainboError(Exception):
    """RAINBO could not do what was asked."""

    kind = "failed"
    passing = False

    def __init__(self, message: str = "") -> None:
        # It is printed, stored and shown, whatever it was made from.
        super().__init__(redact(message or self.__doc__ or ""))


class UsageError(RainboError):
    """The request makes no sense as it stands."""

    kind = "usage"
