"""What processes take of the machine's memory."""

from __future__ import annotations

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
