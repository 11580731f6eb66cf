"""Modules of the benchmark that run as processes next to the one that measures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from localfleet.folders import CHECKOUT


@contextmanager
def running(module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The module as a process that is spoken to by its input and output; ended at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *words],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
