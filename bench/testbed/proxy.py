"""A proxy on loopback that counts bytes, can delay them, and can spoil connections.

Started as `python -m bench.testbed.proxy PORT [SECONDS]`.

It forwards to PORT on 127.0.0.1; SECONDS is the round trip that it adds. It prints its own port,
and then, for each line on its input, a number: for `spoil KIND BYTES`, how many connections were
spoiled since the last such line; else the bytes that came from the server since the last time.

Of each connection, that many BYTES of the server arrive. Then, by KIND: `slow`, all further ones a
few at a time; `cut`, the connection is closed; `reset`, it is closed by an RST; `stall`, nothing
arrives any longer; `half-open`, the server's side is closed and the client is not informed. `none`
ends that, and closes what was spoiled.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.testbed.module_process import running

HOST = "127.0.0.1"
BLOCK = 256 * 1024
NONE, SLOW, CUT, RESET, STALL, HALF_OPEN = "none", "slow", "cut", "reset", "stall", "half-open"
CRAWL, PAUSE = 32, 0.1  # bytes at once of a slow connection, and seconds in between
LINGER_NOT = struct.pack("ii", 1, 0)  # closing sends an RST


@dataclass
class Forwarder:
    """Every connection is forwarded; a byte arrives half a round trip after it was sent."""

    to_port: int
    round_trip: float = 0.0
    from_server: int = 0
    kind: str = NONE
    after: int = 0
    spoiled: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # of what is spoiled

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self.round_trip)  # what the handshake of TCP takes
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(HOST, self.to_port)
        except OSError:
            writer.close()  # the nearest to a refusal that is left
            return
        answers = self._answers(upstream_reader, upstream_writer, writer)
        await asyncio.gather(
            self._pump(_blocks(reader), upstream_writer), self._pump(answers, writer)
        )

    async def _pump(self, blocks: AsyncIterator[bytes], target: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)
        sending = asyncio.create_task(_send(due, target))
        with suppress(ConnectionError):
            async for block in blocks:
                await due.put((loop.time() + self.round_trip / 2, block))
        await due.put((0.0, b""))
        await sending

    async def _answers(
        self,
        source: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> AsyncIterator[bytes]:
        """Yield what the server sends, as far as the client is to get it."""
        passed, is_spoiled = 0, False
        async for block in _blocks(source):
            self.from_server += len(block)
            if self.kind == NONE or passed + len(block) <= self.after:
                passed += len(block)
                yield block
                continue
            self.spoiled += not is_spoiled
            kept = 0 if is_spoiled else self.after - passed
            passed, is_spoiled = self.after, True
            if kept > 0:
                yield block[:kept]
            if self.kind == SLOW:
                for at in range(max(0, kept), len(block), CRAWL):
                    await asyncio.sleep(PAUSE)
                    if client.is_closing():
                        return
                    yield block[at : at + CRAWL]
                continue
            if self.kind == RESET:
                client.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT
                )
            if self.kind == HALF_OPEN:
                server.close()
            if self.kind in (STALL, HALF_OPEN):
                await self.ended.wait()
            return

    def spoil(self, kind: str, after: int) -> None:
        self.kind, self.after, self.spoiled = kind, after, 0
        if kind == NONE:
            self.ended.set()
            self.ended = asyncio.Event()

    async def run(self) -> None:
        server = await asyncio.start_server(self.serve, HOST, 0, limit=BLOCK)
        print(server.sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            if words := line.split():
                print(self.spoiled, flush=True)
                self.spoil(words[1], int(words[2]))
            else:
                print(self.from_server, flush=True)
                self.from_server = 0


async def _blocks(source: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with suppress(ConnectionError):
        while block := await source.read(BLOCK):
            yield block


async def _send(due: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
    """Send each block when it is due, until an empty one; what nobody takes any more is dropped."""
    loop = asyncio.get_running_loop()
    while True:
        at, block = await due.get()
        if not block:
            break
        if (left := at - loop.time()) > 0:
            await asyncio.sleep(left)
        if not target.is_closing():  # asyncio reports each write to one that is
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
        return self._ask("")

    def spoil(self, kind: str, after: int = 0) -> int:
        """See the module. Returns how many connections were spoiled as was asked before."""
        return self._ask(f"spoil {kind} {after}")

    def _ask(self, line: str) -> int:
        if self._process.stdin is not None:
            print(line, file=self._process.stdin, flush=True)
        return int(self._line())

    def _line(self) -> str:
        return self._process.stdout.readline() if self._process.stdout else ""


@contextmanager
def proxy(to_port: int, round_trip: float = 0.0) -> Iterator[Proxy]:
    with running("bench.testbed.proxy", str(to_port), str(round_trip)) as process:
        yield Proxy(process)


if __name__ == "__main__":
    asyncio.run(Forwarder(int(sys.argv[1]), float(sys.argv[2])).run())
