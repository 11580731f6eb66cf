"""The wish to stop: Ctrl-C, SIGTERM, or a terminal that closes."""

from __future__ import annotations

import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A person, or the system, wants us to end."""


def listen() -> None:
    """Raise `Stopped` in the main thread at the first of these signals."""
    for number in SIGNALS:
        signal.signal(number, _stop)


def ignore() -> None:
    """From here on we are stopping, which takes seconds and must not be stopped itself."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _stop(_number: int, _frame: FrameType | None) -> None:
    ignore()
    raise Stopped
