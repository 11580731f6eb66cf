"""A demo of its own, as `make demo` runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from localfleet.folders import CHECKOUT, local_root, scratch_root
from localfleet.servers.server import HOST, free_port


@dataclass(frozen=True)
class RunningDemo:
    """password: of the user support. pid: of the process that all others are descendants of."""

    root: Path
    url: str
    password: str
    pid: int


@contextmanager
def running_demo() -> Iterator[RunningDemo]:
    with scratch_root(local_root()) as folder:
        root, port = folder / "demo", free_port()
        words = [sys.executable, "-m", "localfleet", "demo", f"--root={root}", f"--port={port}"]
        with subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield RunningDemo(root, f"http://{HOST}:{port}", _password(process), process.pid)
            finally:
                process.terminate()


def _password(process: subprocess.Popen[str]) -> str:
    said = ""
    for line in process.stdout or ():
        said += line
        if line.startswith("Ctrl-C"):
            break
    found = re.search(r"with password +(\S+)", said)
    if found is None:
        raise BenchError(f"The demo did not start: {said[-300:]}")
    return found[1]
