"""Several servers, started and stopped together."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from localfleet.servers import binaries
from localfleet.servers.server import Server


class LocalFleet:
    """Named servers below `root`; as a context manager, it leaves no process behind."""

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        *,
        durable: bool = True,
        options: Mapping[str, str] | None = None,
    ) -> None:
        bin_folder = binaries.for_servers()
        self._servers = {
            name: Server(root, name, bin_folder=bin_folder, durable=durable, options=options)
            for name in names
        }

    def __getitem__(self, name: str) -> Server:
        return self._servers[name]

    def __iter__(self) -> Iterator[Server]:
        return iter(self._servers.values())

    def start(self) -> None:
        """Start all servers at once; when one fails, none is left running."""
        try:
            with ThreadPoolExecutor(max_workers=len(self._servers)) as pool:
                for done in [pool.submit(server.start) for server in self]:
                    done.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        # No threads here: this also runs while the interpreter exits.
        for server in self:
            server.send_signal(signal.SIGINT)
        for server in self:
            server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
