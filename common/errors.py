"""The two errors that every app raises."""


class RainboError(Exception):
    """RAINBO could not do what was asked."""

    kind = "failed"
    transient = False  # whether the cause can go away by itself

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__)


class UsageError(RainboError):
    """The request is invalid."""

    kind = "usage"
