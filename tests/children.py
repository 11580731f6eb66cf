"""Management commands as processes of their own, to stop and to kill at a chosen place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.db import connection

from syncs.transfer.session import open_session
from tests.caches import query
from tests.instances import Instance

ROOT = Path(__file__).parents[1]
Started = TypeVar("Started", bound="Child")
WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE application_name ~ '^rainbo/{}(/[0-9]+)?$' "
    "AND wait_event_type = 'Lock'"
)


class Child:
    """A Python program, default: `manage.py`, on the test's own database."""

    stdin: int | None = None

    def __init__(self, *words: str, program: Sequence[str] = ("manage.py",), **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *program, *words],
            cwd=ROOT,
            env=os.environ | {"RAINBO_DB_NAME": str(connection.settings_dict["NAME"])} | env,
            stdin=self.stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, timeout: float = 60) -> tuple[int, str]:
        """Wait for it; its exit code and all that it said."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out + err


class AskedChild(Child):
    """One that answers each line that it is given by a line."""

    stdin = subprocess.PIPE

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()


@contextmanager
def child(*words: str, program: Sequence[str] = ("manage.py",), **env: str) -> Iterator[Child]:
    with ending(Child(*words, program=program, **env)) as started:
        yield started


@contextmanager
def ending(started: Started) -> Iterator[Started]:
    """Kill it in the end, if it still runs."""
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
            started.end()


def until(happened: Callable[[], object], seconds: float = 30) -> None:
    """Poll for a condition."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def waits_at_source(instance: Instance, sync: str) -> Callable[[], object]:
    return lambda: instance.execute(WAITING.format(sync))


def waits_at_home(sync: str) -> Callable[[], object]:
    return lambda: query(WAITING.format(sync))


@contextmanager
def locked_at_source(instance: Instance, table: str) -> Iterator[None]:
    """Nobody can read the table there."""
    with instance.connect(autocommit=False) as holder:
        holder.execute(f"LOCK TABLE {table}")
        yield
        holder.rollback()


@contextmanager
def locked_at_home(table: str, mode: str) -> Iterator[None]:
    """The table of RAINBO's own database is locked: EXCLUSIVE leaves it readable."""
    with open_session("holder") as holder, holder.transaction():
        holder.execute(f"LOCK TABLE {table} IN {mode} MODE")
        yield
