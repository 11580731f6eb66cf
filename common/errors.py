"""The two errors that every app raises."""


class RainboError(Exception):
    """RAINBO could not do what was asked."""

    kind = "failed"
    passing = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message or self.__doc__)


class UsageError(RainboError):
    """The request makes no sense as it stands."""

    kind = "usage"
