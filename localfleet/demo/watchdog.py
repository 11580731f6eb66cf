"""Sees to it that the demo is whole for as long as it runs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from localfleet import network
from localfleet.demo import terminal
from localfleet.demo.state import OWN_DATABASE
from localfleet.errors import FleetError
from localfleet.processes.service import Service
from localfleet.servers.server import Server

LOOK_EVERY = 0.5
ASK_EVERY = 10.0
# A beat travels through the queue each minute, and the page has patience with three minutes.
# What comes on top is for the first beat after a start, or after this machine has slept.
SILENCE = 120.0


class Watch:
    """Raises once a part has ended or the workers are silent: no demo is left half alive.

    An instance that ends is only told: RAINBO has to show it as down.
    """

    def __init__(
        self,
        port: int,
        parts: Sequence[Service],
        servers: Sequence[Server],
        *,
        ask_every: float = ASK_EVERY,
        silence: float = SILENCE,
    ) -> None:
        self.port = port
        self.ask_every = ask_every
        self.silence = silence
        self.parts = parts
        self.servers = list(servers)
        self._heard = self._asked = time.monotonic()

    def forever(self) -> None:
        while True:
            self.look()
            time.sleep(LOOK_EVERY)

    def look(self) -> None:
        for part in self.parts:
            if not part.running:
                raise FleetError(
                    f"The {part.name} process ended by itself (exit code {part.exit_code}); "
                    f"its log is {part.log}."
                )
        for server in [server for server in self.servers if not server.running]:
            self._lost(server)
        self._listen(time.monotonic())

    def _lost(self, server: Server) -> None:
        if server.name == OWN_DATABASE:
            raise FleetError(f"RAINBO's own PostgreSQL server ended; its log is {server.log}.")
        self.servers.remove(server)
        terminal.note(
            f"The server of instance {server.name} ended: RAINBO will show it as down. "
            f"The next `make demo` starts it again."
        )

    def _listen(self, now: float) -> None:
        """The workers may look alive and do nothing; only a beat through them proves work."""
        if now - self._asked < self.ask_every:
            return
        self._asked = now
        answer = network.probe(self.port, "/health/worker")
        if answer.ok:
            self._heard = now
        elif now - self._heard > self.silence:
            raise FleetError(f"The workers do no work: {answer.reason}.")
