"""The limit of memory that each process of the workers has: in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Reserves what no limit of its own would allow, and writes to none of it.
PROGRAM = """
import resource
from types import SimpleNamespace
from syncs.workers import memory
resource.setrlimit(resource.RLIMIT_DATA, ({before}, resource.RLIM_INFINITY))
memory.settings = SimpleNamespace(RAINBO_PROCESS_MAX_MB={limit})
memory.limit_memory()
try:
    bytes(600 * 1024 * 1024)
except MemoryError:
    print("refused")
else:
    print("allowed")
"""
NONE, MB = -1, 1024 * 1024


@pytest.mark.parametrize(
    ("before", "limit", "said"),
    [
        (NONE, 400, "refused"),
        (NONE, 0, "allowed"),
        (NONE, 4000, "allowed"),
        (400 * MB, 4000, "refused"),  # a lower limit stays
        (4000 * MB, 400, "refused"),
    ],
)
def test_what_a_process_may_allocate(before: int, limit: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, limit=limit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == (said, "")
