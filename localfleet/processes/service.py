"""One process of the demo next to the servers: the web server or the queue workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from localfleet.folders import CHECKOUT, locked
from localfleet.processes.child_process import spawn

STOP_TIMEOUT = 10.0


class Service:
    """A command in the care of a keeper; it logs to `root/name.log`, a new file at each start."""

    def __init__(
        self, root: Path, name: str, command: Sequence[str], stop_timeout: float = STOP_TIMEOUT
    ) -> None:
        self.name = name
        self.log = root / f"{name}.log"
        self._lock = root / f"{name}.lock"
        self._command = command
        self._stop_timeout = stop_timeout
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._keeper.poll() if self._keeper else None

    def wait_for_former(self) -> None:
        """Return once what a killed demo left of this service is gone."""
        with locked(self._lock):
            pass

    def start(self, env: Mapping[str, str]) -> None:
        keeper = [
            sys.executable,
            "-m",
            "localfleet.processes.keeper",
            str(self._lock),
            str(self._stop_timeout),
        ]
        self.log.unlink(missing_ok=True)
        with self.log.open("xb") as log:
            self._keeper = spawn(
                [*keeper, *self._command],
                death_signal=signal.SIGTERM,
                cwd=CHECKOUT,
                env=env,
                output=log,
            )

    def ask_to_stop(self) -> None:
        if self._keeper and self.running:
            self._keeper.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        self.ask_to_stop()
        if self._keeper:
            self._keeper.wait(self._stop_timeout + 30)
