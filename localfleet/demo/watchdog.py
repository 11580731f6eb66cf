"""Watchdog of the demo: ends it when one of its services no longer works."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from localfleet import network
from localfleet.demo import terminal
from localfleet.demo.state import OWN_DATABASE
from localfleet.errors import FleetError
from localfleet.processes.service import Service
from localfleet.servers.server import Server

LOOK_EVERY = 0.5
ASK_EVERY = 10.0
# A heartbeat travels through the queue each minute; the page's heartbeat timeout is three minutes.
# What comes on top is for the first heartbeat after a start, or after this machine has slept.
HEARTBEAT_TIMEOUT = 120.0


class Watch:
    """Raises once a service has ended or the workers send no heartbeat: no demo is left half alive.

    An instance that ends is only reported: RAINBO has to show it as down.
    """

    def __init__(
        self,
        port: int,
        services: Sequence[Service],
        servers: Sequence[Server],
        *,
        ask_every: float = ASK_EVERY,
        heartbeat_timeout: float = HEARTBEAT_TIMEOUT,
        repair: Path | None = None,
        rest: Path | None = None,
        workers: Service | None = None,
        start_workers: Callable[[], None] = lambda: None,
    ) -> None:
        """repair: a file that asks to start again what has ended. rest: one to stop the workers."""
        self.port = port
        self.ask_every = ask_every
        self.heartbeat_timeout = heartbeat_timeout
        self.services = list(services)
        self.servers = list(servers)
        self.repair = repair
        self.rest = rest
        self.workers = workers
        self.start_workers = start_workers
        self._ended: list[Server] = []
        self._heard = self._asked = time.monotonic()

    def forever(self) -> None:
        while True:
            self.look()
            time.sleep(LOOK_EVERY)

    def look(self) -> None:
        for service in self.services:
            if not service.running:
                raise FleetError(
                    f"The {service.name} process ended by itself (exit code {service.exit_code}); "
                    f"its log is {service.log}."
                )
        for server in [server for server in self.servers if not server.running]:
            self._lost(server)
        if _asked_by(self.rest):
            self._stop_workers()
        if _asked_by(self.repair):
            self._start_ended()
        if self.workers is None or self.workers in self.services:
            self._listen(time.monotonic())

    def _lost(self, server: Server) -> None:
        if server.name == OWN_DATABASE:
            raise FleetError(f"RAINBO's own PostgreSQL server ended; its log is {server.log}.")
        self.servers.remove(server)
        self._ended.append(server)
        terminal.note(
            f"The server of instance {server.name} ended: RAINBO will show it as down. "
            f"`make demo-break WHAT=repair`, or the next `make demo`, starts it again."
        )

    def _stop_workers(self) -> None:
        if self.workers in self.services:
            self.services.remove(self.workers)
            self.workers.stop()
            terminal.note(
                "The workers are stopped: `make demo-break WHAT=repair` starts them again."
            )

    def _start_ended(self) -> None:
        if self.workers and self.workers not in self.services:
            self.start_workers()
            self.services.append(self.workers)
            self._heard = time.monotonic()
            terminal.note("The workers run again.")
        for server in self._ended:
            server.start()
            terminal.note(f"The server of instance {server.name} runs again.")
        self.servers += self._ended
        self._ended = []

    def _listen(self, now: float) -> None:
        """The workers may look alive and do nothing; only a heartbeat through them proves work."""
        if now - self._asked < self.ask_every:
            return
        self._asked = now
        answer = network.probe(self.port, "/health/worker")
        if answer.ok:
            self._heard = now
        elif now - self._heard > self.heartbeat_timeout:
            raise FleetError(f"The workers do no work: {answer.reason}.")


def _asked_by(file: Path | None) -> bool:
    """Whether the file is there; it is not there afterwards."""
    if file is None or not file.exists():
        return False
    file.unlink()
    return True
