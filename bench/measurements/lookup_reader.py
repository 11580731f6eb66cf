"""Looks e-mails up, one after the other, as RAINBO does.

`python -m bench.measurements.lookup_reader PORT PASSWORD ROWS` runs until its input is closed,
then prints one JSON list of (monotonic time, seconds, found).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from bench.errors import BenchError
from bench.report.figures import percentile
from bench.testbed.module_process import running
from bench.testbed.servers import Testbed
from localfleet.demo.state import OWN_DATABASE
from localfleet.servers.server import HOST

PAUSE = 0.002
LOOK_UP = """
    SELECT source_id, remote_instance_id, remote_tenant_id, user_name, status FROM user_routes
     WHERE email_key = rainbo_email_key(%s) AND withheld_reason IS NULL ORDER BY source_id"""

Look = tuple[float, float, bool]


class Reader:
    """A reader in a process of its own; `looks` is there once it has ended."""

    def __init__(self) -> None:
        self.looks: list[Look] = []

    def between(self, spans: list[tuple[float, float]]) -> list[Look]:
        return [look for look in self.looks if any(a <= look[0] <= b for a, b in spans)]


@contextmanager
def reading(testbed: Testbed, rows: int) -> Iterator[Reader]:
    words = [str(testbed.own.port), testbed.own_password, str(rows)]
    reader = Reader()
    with running("bench.measurements.lookup_reader", *words) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise BenchError("the reader did not start")
        yield reader
        reader.looks = [(at, took, found) for at, took, found in _said(process)]


def _said(process: subprocess.Popen[str]) -> list[Look]:
    looks: list[Look] = json.loads(process.communicate()[0] or "[]")
    return looks


def p99(looks: list[Look]) -> float:
    return percentile([seconds for _, seconds, _ in looks], 99)


def missed(looks: list[Look]) -> int:
    return sum(not found for _, _, found in looks)


def _main(port: int, password: str, rows: int) -> None:
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    looks: list[Look] = []
    with psycopg.connect(
        host=HOST,
        port=port,
        user=OWN_DATABASE,
        password=password,
        dbname=OWN_DATABASE,
        autocommit=True,
        prepare_threshold=0,
    ) as session:
        session.execute(LOOK_UP, ["warm@example.com"])
        print("ready", flush=True)
        while not ended.wait(PAUSE):
            number = random.randrange(1, rows // 10) * 10  # noqa: S311 (no secret)
            email = f"user{number}@example{number % 5000}.com"
            started = time.monotonic()
            found = bool(session.execute(LOOK_UP, [email]).fetchall())
            looks.append((started, time.monotonic() - started, found))
    print(json.dumps(looks))


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
