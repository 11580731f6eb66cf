"""What processes take of the machine: of its memory, and of its processors' time."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text(encoding="ascii").split():
                found += descendants(int(child))
    return found


def shares(pids: Iterable[int]) -> dict[int, float]:
    """The share (PSS) of each process in MB, without those that are gone; see proc(5)."""
    found = {}
    for pid in pids:
        with suppress(OSError):
            given = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
            if pss := re.search(r"^Pss:\s+(\d+) kB", given, re.MULTILINE):
                found[pid] = int(pss[1]) / 1024
    return found


def processor_seconds(pid: int) -> float:
    """What the process and its descendants took until now, those that have ended included.

    In ticks of the kernel, usually 0.01 s; see proc_pid_stat(5).
    """
    ticks = 0
    for one in descendants(pid):
        with suppress(OSError):
            said = Path(f"/proc/{one}/stat").read_text(encoding="utf-8", errors="replace")
            # utime, stime, cutime and cstime; the name before them may have spaces
            ticks += sum(map(int, said.rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
