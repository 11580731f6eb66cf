"""The services' own clients, in a virtualenv of their own: our servers are trusted because they do.

`.ci/run` installs requirements-peers.txt there and sets RAINBO_PEERS to its path. By hand:
`python3 -m venv DIR && DIR/bin/pip install -r requirements-peers.txt`, then RAINBO_PEERS=DIR.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.fleet_fixtures import needs

REMEDY = (
    "the services' own clients are not installed: RAINBO_PEERS is the path of a virtualenv with "
    "requirements-peers.txt"
)
SECONDS = 60


def run_peer(script: str, *args: str) -> str:
    """Run Python source with the peers' packages; return what it prints.

    args: its `sys.argv[1:]`. Without RAINBO_PEERS the test is skipped, and fails with CI set. Fails
    with what the script wrote to stderr if it ends with an error.
    """
    python = needs(_python(), REMEDY)
    done = subprocess.run(
        [python, "-c", script, *args],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _python() -> Path | None:
    folder = os.environ.get("RAINBO_PEERS", "")
    python = Path(folder) / "bin" / "python"
    return python if folder and python.is_file() else None
