"""Runs one command and leaves none of its processes behind, whoever dies first.

Started as `python -m localfleet.processes.keeper LOCK STOP_TIMEOUT COMMAND…`. The demo keeps its
web server and its queue workers this way: both fork, and forked processes outlive a parent that is
killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from localfleet.folders import locked
from localfleet.processes import process_table
from localfleet.processes.child_process import spawn

PR_SET_CHILD_SUBREAPER = 36
POLL = 0.1


class Keeper:
    def __init__(self, stop_timeout: float) -> None:
        self.stop_timeout = stop_timeout
        self._asked_to_stop = False

    def run(self, command: Sequence[str]) -> int:
        """The command's exit code, once it and all that it started is gone.

        SIGTERM or SIGINT pass the wish to stop on to the command; what is left of it `stop_timeout`
        seconds later is killed.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        # Processes that lose their parent become our children, so that we find them.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        child = spawn(command, death_signal=signal.SIGTERM, cwd=Path.cwd(), env=os.environ)
        child.returncode = self._wait(child.pid)
        _kill_rest()
        return child.returncode

    def _stop(self) -> None:
        self._asked_to_stop = True

    def _wait(self, pid: int) -> int:
        deadline: float | None = None
        while (code := _reap().get(pid)) is None:
            if self._asked_to_stop and deadline is None:
                deadline = time.monotonic() + self.stop_timeout
                process_table.send(pid, signal.SIGTERM)
            if deadline and time.monotonic() > deadline:
                return -signal.SIGKILL
            time.sleep(POLL)
        return code


def _reap() -> dict[int, int]:
    """The exit codes of children that ended."""
    codes = {}
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    return codes


def _kill_rest() -> None:
    while left := process_table.descendants(os.getpid()):
        for pid in left:
            process_table.send(pid, signal.SIGKILL)
        _reap()
        time.sleep(POLL / 10)


def main(arguments: Sequence[str]) -> int:
    lock, stop_timeout, *command = arguments
    # A keeper that is still busy with the end of a former demo goes first.
    with locked(Path(lock)):
        code = Keeper(float(stop_timeout)).run(command)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
