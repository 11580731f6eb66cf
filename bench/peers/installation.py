"""Installs the peers below .cache, pinned; RAINBO's own environment stays as it is."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from bench.errors import BenchError
from bench.peers.workspace import last_words
from localfleet.folders import CHECKOUT
from localfleet.servers import binaries

FOLDER = CHECKOUT / ".cache" / "bench-peers"
REQUIREMENTS = Path(__file__).parent / "requirements.txt"


@cache
def python() -> Path:
    """The Python of the peers' own environment. Raises BenchError when it can't be made."""
    made = FOLDER / "venv" / "requirements.txt"
    interpreter = made.parent / "bin" / "python"
    if not made.exists() or made.read_bytes() != REQUIREMENTS.read_bytes():
        _run([sys.executable, "-m", "venv", "--clear", made.parent])
        _run([interpreter, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS])
        made.write_bytes(REQUIREMENTS.read_bytes())
    return interpreter


def sling() -> Path:
    """The program itself: the package's own start-up code would download another one."""
    (program,) = (python().parent.parent / "lib").glob("*/site-packages/sling_linux_*/bin/sling-*")
    (FOLDER / "sling").mkdir(exist_ok=True)
    return program


@cache
def pgcopydb() -> Path:
    """Debian's pgcopydb, unpacked and not installed. Raises BenchError when it can't be had."""
    program = FOLDER / "pgcopydb" / "usr" / "bin" / "pgcopydb"
    if not program.exists():
        (FOLDER / "packages").mkdir(parents=True, exist_ok=True)
        _run(["apt-get", "download", "pgcopydb"], cwd=FOLDER / "packages")
        (package,) = sorted((FOLDER / "packages").glob("pgcopydb_*.deb"))[-1:]
        _run(["dpkg-deb", "--extract", package, FOLDER / "pgcopydb"])
    return program


def server_programs() -> Path:
    """psql, pg_dump and pg_restore of the version that the servers have."""
    return binaries.find()


def _run(words: list[str | Path], cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BenchError(f"can't be installed here: there is no {words[0]}") from error
    if done.returncode:
        raise BenchError(f"can't be installed here: {last_words(done.stdout + done.stderr)}")
