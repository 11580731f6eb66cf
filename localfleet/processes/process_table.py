"""What Linux reports of running processes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def program(pid: int) -> str | None:
    """The name of the program that a process runs; None when there is no such live process."""
    with contextlib.suppress(OSError, IndexError):
        name, _, rest = _stat(pid).partition("(")[2].rpartition(")")
        return None if rest.split()[0] == "Z" else name
    return None


def working_folder(pid: int) -> Path | None:
    with contextlib.suppress(OSError):
        return (PROC / str(pid) / "cwd").readlink()
    return None


def children(pid: int) -> list[int]:
    return [child for child in _all() if parent(child) == pid]


def descendants(pid: int) -> list[int]:
    """Its children, their children and so on, the deepest last; those that ended are left out."""
    found = [child for child in children(pid) if program(child)]
    return found + [below for child in found for below in descendants(child)]


def wait_gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while program(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _all() -> Iterator[int]:
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())


def parent(pid: int) -> int | None:
    with contextlib.suppress(OSError, IndexError):
        return int(_stat(pid).rpartition(")")[2].split()[1])
    return None


def _stat(pid: int) -> str:
    """A process may bear any bytes as its name."""
    return (PROC / str(pid) / "stat").read_text(errors="replace")
