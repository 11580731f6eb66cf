"""The processes of one `qcluster`: a session of their own, watched and ended as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from syncs.engine import host

PROC = Path("/proc")
PR_SET_PDEATHSIG = 1
ASKED, TOLD, GONE = 4.0, 8.0, 9.5  # seconds for a clean stop: main asked, workers told, all killed
POLL = 0.05


class Cluster:
    """A started cluster. Its main process leads the session in which all the others are.

    place: what its processes call themselves, in this cluster and in no other anywhere.
    """

    def __init__(self, command: Sequence[str]) -> None:
        name = secrets.token_hex(4)
        self.place = host.of(name)
        self._main = subprocess.Popen(
            command,
            env=os.environ | {"RAINBO_CLUSTER": name},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=partial(_end_with_parent, os.getpid()),
        )
        self._seen: set[int] = set()

    @property
    def session(self) -> int:
        return self._main.pid

    @property
    def main_lives(self) -> bool:
        return self._main.poll() is None

    def pids(self) -> set[int]:
        """All its processes, also those whose parent died."""
        return {pid for pid, session, _ in _processes() if session == self.session}

    def has_lost_one(self) -> bool:
        """Whether a process that was there at the last call has ended."""
        now = self.pids()
        lost = bool(self._seen - now)
        self._seen = now
        return lost

    def stop(self) -> None:
        """End it within ten seconds.

        First the main process lets the workers finish what they have in hand; what lasts
        longer is told to end, so that a run closes its record; the rest is killed.
        """
        began = time.monotonic()
        _send(self.session, signal.SIGTERM)
        if not self._ended(began + ASKED):
            for pid in self._below_sentinel():
                _send(pid, signal.SIGTERM)
            self._ended(began + TOLD)
        self.kill()

    def kill(self) -> None:
        """Kill every process of the group; orphans have stayed in it."""
        deadline = time.monotonic() + GONE - TOLD
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.session, signal.SIGKILL)
            if self._ended(time.monotonic() + 4 * POLL) or time.monotonic() > deadline:
                return

    def _ended(self, deadline: float) -> bool:
        while not (self._main.poll() is not None and not self.pids()):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def _below_sentinel(self) -> set[int]:
        """Workers and their helpers: what is neither the main process nor its child."""
        found = {pid: parent for pid, session, parent in _processes() if session == self.session}
        return {pid for pid, parent in found.items() if self.session not in (pid, parent)}


def _processes() -> list[tuple[int, int, int]]:
    """(process, session, parent) of what lives; empty where the system has no /proc."""
    found = []
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):
            # Its name stands before the last bracket: any bytes that somebody chose.
            state, parent, _, session, *_ = (
                (entry / "stat").read_bytes().rpartition(b")")[2].split(maxsplit=4)
            )
            if state != b"Z":
                found.append((int(entry.name), int(session), int(parent)))
    return found


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _end_with_parent(parent: int) -> None:
    """In the child: SIGTERM when the supervisor dies, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
