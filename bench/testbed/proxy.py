"""A proxy on loopback that counts bytes and can delay them.

Started as `python -m bench.testbed.proxy PORT [SECONDS]`.

It forwards to PORT on 127.0.0.1; SECONDS is the round trip that it adds. It prints its own port,
and then, for each line on its input, the bytes that came from the server since the last time.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.testbed.module_process import running

HOST = "127.0.0.1"
BLOCK = 256 * 1024


@dataclass
class Forwarder:
    """Every connection is forwarded; a byte arrives half a round trip after it was sent."""

    to_port: int
    round_trip: float = 0.0
    from_server: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.round_trip)  # what the handshake of TCP takes
        upstream_reader, upstream_writer = await asyncio.open_connection(HOST, self.to_port)
        await asyncio.gather(
            self._pump(reader, upstream_writer),
            self._pump(upstream_reader, writer, counted=True),
        )

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, counted: bool = False
    ) -> None:
        loop = asyncio.get_running_loop()
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)
        sending = asyncio.create_task(_send(due, target))
        with suppress(ConnectionError):
            while block := await source.read(BLOCK):
                self.from_server += len(block) * counted
                await due.put((loop.time() + self.round_trip / 2, block))
        await due.put((0.0, b""))
        await sending

    async def run(self) -> None:
        server = await asyncio.start_server(self.serve, HOST, 0, limit=BLOCK)
        print(server.sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(self.from_server, flush=True)
            self.from_server = 0


async def _send(due: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
    """Send each block when it is due, until an empty one; what nobody takes any more is dropped."""
    loop = asyncio.get_running_loop()
    while True:
        at, block = await due.get()
        if not block:
            break
        if (left := at - loop.time()) > 0:
            await asyncio.sleep(left)
        with suppress(ConnectionError):
            target.write(block)
            await target.drain()
    target.close()


class Proxy:
    """A proxy in a process of its own, as the code that measures sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._line())

    def bytes_from_server(self) -> int:
        """Since the last time that this was asked."""
        if self._process.stdin is not None:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return int(self._line())

    def _line(self) -> str:
        return self._process.stdout.readline() if self._process.stdout else ""


@contextmanager
def proxy(to_port: int, round_trip: float = 0.0) -> Iterator[Proxy]:
    with running("bench.testbed.proxy", str(to_port), str(round_trip)) as process:
        yield Proxy(process)


if __name__ == "__main__":
    asyncio.run(Forwarder(int(sys.argv[1]), float(sys.argv[2])).run())
