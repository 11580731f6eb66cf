"""Where a peer reads and writes, and how long it may take."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from bench.errors import BenchError
from bench.testbed.process_usage import descendants
from bench.testbed.servers import Testbed
from localfleet.servers import databases
from localfleet.servers.data_folder import SUPERUSER
from localfleet.servers.server import HOST

TABLE = "routes"
EMPTY = """
    DROP SCHEMA IF EXISTS peer CASCADE;
    DROP TABLE IF EXISTS routes;
    CREATE TABLE routes (
        id bigint, email text COLLATE "C", tenant_id bigint, rds_instance_id integer,
        user_id bigint, user_name text, status text, updated_at timestamptz)"""
INDEXES = """
    ALTER TABLE {0} ADD PRIMARY KEY (id);
    CREATE INDEX ON {0} (email, id);
    CREATE INDEX ON {0} (rds_instance_id, tenant_id)"""
SAMPLE = 0.05


@dataclass(frozen=True)
class Workspace:
    """The source's directory, and a database of the peer's own on RAINBO's server."""

    testbed: Testbed
    source_port: int
    source_database: str
    database: str
    seconds: float

    @classmethod
    def create(cls, testbed: Testbed, name: str, source_database: str, seconds: float) -> Workspace:
        database = f"peer_{name}"
        databases.drop(testbed.own, database)
        databases.create(testbed.own, database)
        return cls(testbed, testbed.master.port, source_database, database, seconds)

    @property
    def source(self) -> str:
        return _url(self.testbed.master.password, self.source_port, self.source_database)

    @property
    def target(self) -> str:
        return _url(self.testbed.own.password, self.testbed.own.port, self.database)

    def session(self) -> psycopg.Connection:
        return self.testbed.own.connect(self.database)

    def empty(self) -> None:
        """The table with its indexes and no rows."""
        with self.session() as session:
            session.execute(EMPTY.encode())
            session.execute(INDEXES.format(TABLE).encode())

    def clear(self) -> None:
        """No table at all, for a tool that makes its own."""
        with self.session() as session:
            session.execute(f"DROP TABLE IF EXISTS {TABLE}, user_email_routing".encode())

    def rows(self, table: str = TABLE) -> int:
        with self.session() as session:
            found = session.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608
            return int(found[0]) if found else 0

    def run(self, words: Sequence[str | Path], env: Mapping[str, str]) -> float:
        """Run a program to its end; the most memory that it and its children had, in MB.

        Raises TimeoutError over the time limit, and BenchError with its message when it fails.
        """
        process = subprocess.Popen(
            words,
            env=os.environ | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        peak = Peak(process.pid)
        with process, peak:
            try:
                said, _ = process.communicate(timeout=self.seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise TimeoutError(f"cut after {self.seconds:.0f} s") from None
        if process.returncode:
            raise BenchError(f"ended with {process.returncode}: {last_words(said)}")
        return peak.megabytes


class Peak:
    """Samples what a process and its children have in memory."""

    def __init__(self, pid: int) -> None:
        self.megabytes = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(SAMPLE):
            pages = sum(map(_resident, descendants(self._pid)))
            self.megabytes = max(self.megabytes, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return 0


def last_words(said: str) -> str:
    """The last line that says something, without passwords."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else "it said nothing")[:300]


def _url(password: str, port: int, database: str) -> str:
    return f"postgresql://{SUPERUSER}:{quote(password)}@{HOST}:{port}/{database}?sslmode=disable"
