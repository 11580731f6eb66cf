"""The processes of one `qcluster`: one session, watched and stopped as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from syncs.engine import host

PROC = Path("/proc")
PR_SET_PDEATHSIG = 1
# Seconds until a stop has asked the main process, sent SIGTERM to the workers, killed all.
MAIN_ASKED, WORKERS_ASKED, KILLED = 4.0, 8.0, 9.5
POLL = 0.05


class Cluster:
    """A started cluster. Its main process leads the session of all the others.

    place: the name of its processes' host and cluster, unique anywhere.
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
        """Return all its processes, including those whose parent died."""
        return {pid for pid, session, _ in _processes() if session == self.session}

    def has_lost_one(self) -> bool:
        """Whether a process has ended since the last call."""
        now = self.pids()
        lost = bool(self._seen - now)
        self._seen = now
        return lost

    def stop(self) -> None:
        """Stop it within ten seconds.

        First the main process lets the workers finish their tasks; then the remaining ones get
        SIGTERM, so that a run closes its record; then the rest is killed.
        """
        began = time.monotonic()
        _send(self.session, signal.SIGTERM)
        if not self._ended(began + MAIN_ASKED):
            _ask_workers(self.session)
            self._ended(began + WORKERS_ASKED)
        self.kill()

    def kill(self) -> None:
        """Kill every process of the group; orphans stay in it."""
        deadline = time.monotonic() + KILLED - WORKERS_ASKED
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


def stop_in_time() -> None:
    """In a cluster's main process: let a stop take ten seconds though its supervisor is dead.

    Who is killed while it reads from a queue leaves it locked, and then a stop waits for ever.
    """
    supervisor = os.getppid()
    usual = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getppid() != supervisor:
            threading.Thread(target=_finish, daemon=True).start()
        if callable(usual):
            usual(number, frame)

    if os.getsid(0) == os.getpid():
        signal.signal(signal.SIGTERM, stop)


def _finish() -> None:
    time.sleep(MAIN_ASKED)
    _ask_workers(os.getpid())
    time.sleep(KILLED - MAIN_ASKED)
    os.killpg(0, signal.SIGKILL)


def _ask_workers(session: int) -> None:
    """Send SIGTERM to workers and their helpers: neither the main process nor its children."""
    found = {pid: parent for pid, other, parent in _processes() if other == session}
    for pid, parent in found.items():
        if session not in (pid, parent):
            _send(pid, signal.SIGTERM)


def _processes() -> list[tuple[int, int, int]]:
    """Return (process, session, parent) of running processes; empty without /proc."""
    found = []
    for entry in PROC.iterdir() if PROC.is_dir() else ():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError):
            # Its name is before the last bracket and may be any bytes.
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
    """In the child: get SIGTERM when the supervisor dies, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
