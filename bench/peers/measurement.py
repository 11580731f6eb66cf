"""Lets every peer do its jobs next to baseline A, each within its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg

from bench.errors import BenchError
from bench.measurements import baseline
from bench.peers.catalog import PEERS, Job, Peer
from bench.peers.workspace import Workspace
from bench.progress import note
from bench.report.figures import Spread, ratio
from bench.report.results import Line
from bench.testbed.directory import Directory
from bench.testbed.proxy import proxy
from bench.testbed.servers import Testbed
from bench.testbed.write_counter import watched

REPEATS = 3


class PeerMeasurement:
    """seconds: for all jobs of one peer; one that is running when they are over is cut."""

    def __init__(self, testbed: Testbed, directory: Directory, seconds: float) -> None:
        self.testbed = testbed
        self.directory = directory
        self.seconds = seconds

    def lines(self) -> list[Line]:
        return [line for peer in PEERS for line in self._lines_of(peer)]

    def _lines_of(self, peer: Peer) -> Iterator[Line]:
        note(f"{peer.name}: {peer.way}")
        who = f"{peer.name} ({peer.way})"
        deadline = time.monotonic() + self.seconds
        for what, prepare, job in self._jobs(peer):
            line = self._measured(peer, Line(who, what, note=peer.misses), prepare, job, deadline)
            yield line
            if line.seconds is None:
                return

    def _jobs(self, peer: Peer) -> Iterator[tuple[str, Callable[[Workspace], object], Job]]:
        yield "first fill", peer.prepare, peer.fill
        if peer.again is not None:
            yield "nothing changed", lambda _: None, peer.again
            yield "0.1 % changed", lambda _: self.directory.change(0.001), peer.again

    def _measured(
        self,
        peer: Peer,
        line: Line,
        prepare: Callable[[Workspace], object],
        job: Job,
        deadline: float,
    ) -> Line:
        workspace = self._course(peer, line.what, deadline)
        wire = None
        found: list[tuple[float, float]] = []
        wal, written, memory, cut = [], [], [], ""
        try:
            while len(found) < REPEATS and (not found or time.monotonic() < deadline):
                prepare(workspace)
                copied = baseline.copied(self.testbed)
                with watched(self.testbed.own, workspace.database, *_names(peer)) as counted:
                    started = time.monotonic()
                    memory.append(job(workspace) or 0.0)
                    found.append((time.monotonic() - started, copied))
                wal.append(float(counted.wal))
                written.append(float(counted.rows))
                self._check(workspace, peer)
            if time.monotonic() + found[-1][0] < deadline:
                prepare(workspace)
                wire = wire_bytes(self.testbed, workspace, job)
        except TimeoutError as error:
            cut = str(error)
        except (BenchError, psycopg.Error) as error:
            cut = f"did not work here: {error}"
        return replace(_summed(line, found, wal, written, memory, cut), wire=wire)

    def _course(self, peer: Peer, what: str, deadline: float) -> Workspace:
        """A new database for the first job; the others go on with what it left."""
        name = "".join(letter for letter in f"{peer.name}_{peer.way}".lower() if letter.isalnum())
        left = max(10.0, deadline - time.monotonic())
        if what == "first fill":
            return Workspace.create(self.testbed, name[:30], self.directory.place.database, left)
        return Workspace(
            self.testbed,
            self.directory.place.port,
            self.directory.place.database,
            f"peer_{name[:30]}",
            left,
        )

    def _check(self, workspace: Workspace, peer: Peer) -> None:
        rows = workspace.rows(peer.table)
        if rows < self.directory.rows or (rows > self.directory.rows and not peer.misses):
            raise BenchError(f"{rows:,} rows arrived, not {self.directory.rows:,}")


def wire_bytes(testbed: Testbed, workspace: Workspace, job: Job) -> int:
    """Bytes that come from the source in one further run, through a counting proxy."""
    with proxy(workspace.source_port) as counting:
        counting.bytes_from_server()
        job(
            Workspace(
                testbed,
                counting.port,
                workspace.source_database,
                workspace.database,
                workspace.seconds,
            )
        )
        return counting.bytes_from_server()


def _names(peer: Peer) -> tuple[str, str]:
    """The table, and what dlt stages in."""
    return peer.table.rpartition(".")[2], "staging"


def _summed(
    line: Line,
    found: list[tuple[float, float]],
    wal: list[float],
    written: list[float],
    memory: list[float],
    cut: str,
) -> Line:
    note_text = "; ".join(filter(None, (line.note, cut)))
    if not found:
        return Line(line.who, line.what, note=note_text)
    seconds, copies = [mine for mine, _ in found], [theirs for _, theirs in found]
    return Line(
        line.who,
        line.what,
        Spread.of(seconds),
        ratio(seconds, copies),
        wal=Spread.of(wal).median if wal else None,
        written=Spread.of(written).median if written else None,
        memory=max(memory) or None,
        note=note_text,
    )
