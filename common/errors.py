"""The two errors that every app raises."""

from common.redaction import redact


class RainboError(Exception):
    """RAINBO could not do what was asked."""

    kind = "failed"
    transient = False  # whether the cause can go away by itself

    def __init__(self, message: str = "") -> None:
        # It is printed, stored and shown, whatever it was made from.
        super().__init__(redact(message or self.__doc__ or ""))


class UsageError(RainboError):
    """The request is invalid."""

    kind = "usage"
