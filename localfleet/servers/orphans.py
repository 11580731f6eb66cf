"""Servers that a former, killed runner left behind."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

from localfleet.errors import FleetError
from localfleet.processes import process_table

PROGRAMS = {"postgres", "postmaster"}


def stop(data: Path) -> None:
    """End a server that still runs on this data folder and remove its stale pid file."""
    pid_file = data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().partition("\n")[0])
    except (FileNotFoundError, ValueError):
        return
    if _is_server_of(pid, data) and not _ended(pid):
        raise FleetError(
            f"A PostgreSQL server (process {pid}) still runs on {data} and can't be stopped: "
            f"stop it, then try again."
        )
    pid_file.unlink(missing_ok=True)


def _is_server_of(pid: int, data: Path) -> bool:
    return (
        process_table.program(pid) in PROGRAMS
        and process_table.working_folder(pid) == data.resolve()
    )


def _ended(pid: int) -> bool:
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with contextlib.suppress(PermissionError):
            process_table.send(pid, number)
        if process_table.wait_gone(pid, seconds=10):
            return True
    return False
