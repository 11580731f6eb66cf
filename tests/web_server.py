"""The web server as production runs it, on the test's own database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from django.db import connection

from localfleet.servers.server import free_port

ROOT = Path(__file__).parents[1]


@contextmanager
def web_server(log: Path | None = None, **env: str) -> Iterator[str]:
    """Run gunicorn with the workers and threads of deploy/systemd; yields its address.

    log: where its output goes; nowhere by default. env: further settings.
    """
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "gunicorn", "rainbo.wsgi", "--no-control-socket"]
    sized = ["--workers", "2", "--threads", "4", "--bind", address]
    settings = os.environ | {"RAINBO_DB_NAME": str(connection.settings_dict["NAME"])} | env
    with (
        (log or Path(os.devnull)).open("ab") as output,
        subprocess.Popen(
            [*command, *sized], cwd=ROOT, env=settings, stdout=output, stderr=output
        ) as process,
    ):
        try:
            _wait(process, f"http://{address}")
            yield f"http://{address}"
        finally:
            process.send_signal(signal.SIGTERM)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "gunicorn did not start"
        try:
            requests.get(f"{url}/health", timeout=5)
        except (requests.ConnectionError, requests.Timeout):
            assert time.monotonic() < deadline, "gunicorn did not answer"
            time.sleep(0.1)
        else:
            return
