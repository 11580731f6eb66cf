"""The servers that a benchmark runs on: its own, started for it and removed after it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.errors import BenchError
from localfleet.data import instances
from localfleet.demo.state import OWN_DATABASE, State
from localfleet.folders import CHECKOUT, local_root, scratch_root
from localfleet.servers import binaries
from localfleet.servers.fleet import LocalFleet
from localfleet.servers.server import Server

MASTER, SECOND = "rds1", "rds2"
# Durable, as in production; large enough that no checkpoint falls into a measurement by itself.
OPTIONS = {
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_connections": "300",
}
# No limit may cut a measurement of ten million rows; none of them is reached otherwise.
PATIENT = {
    "DJANGO_SETTINGS_MODULE": "rainbo.settings",
    "RAINBO_STATEMENT_TIMEOUT": "3000",
    "RAINBO_INSTANCE_LIMIT": "3300",
    "RAINBO_RUN_LIMIT": "3600",
}


@dataclass
class Testbed:
    """RAINBO's own database, the master and a second server, with RAINBO's tables."""

    root: Path
    fleet: LocalFleet
    state: State

    @property
    def own(self) -> Server:
        return self.fleet[OWN_DATABASE]

    @property
    def master(self) -> Server:
        return self.fleet[MASTER]

    @property
    def second(self) -> Server:
        return self.fleet[SECOND]

    @property
    def own_password(self) -> str:
        return self.state.settings["RAINBO_DB_PASSWORD"]

    def environment(self, **more: str) -> dict[str, str]:
        return self.state.environment() | PATIENT | more

    def own_session(self, **parameters: object) -> psycopg.Connection:
        """On RAINBO's own database, as superuser."""
        return self.own.connect(OWN_DATABASE, **parameters)

    def do(self, word: str, task: Mapping[str, Any] | None = None, **env: str) -> dict[str, Any]:
        """Let a process of RAINBO's own do a task of rainbo_process.py; what it answers."""
        with self.doing(word, **env) as child:
            answer: dict[str, Any] = child(task or {})
            return answer

    @contextmanager
    def doing(self, word: str, **env: str) -> Iterator[Callable[[Mapping[str, Any]], Any]]:
        """A process that does such tasks one after the other."""
        with (
            (self.root / "child.log").open("w+") as log,
            subprocess.Popen(
                [sys.executable, "-m", "bench.testbed.rainbo_process", word],
                cwd=CHECKOUT,
                env=self.environment(**env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):

            def answer(task: Mapping[str, Any]) -> Any:
                with suppress(BrokenPipeError):
                    print(json.dumps(task), file=process.stdin, flush=True)
                line = process.stdout.readline() if process.stdout else ""
                if not line:
                    log.seek(0)
                    raise BenchError(f"{word} failed: {log.read().strip()[-2000:]}")
                return json.loads(line)

            yield answer

    def psql(self) -> Path:
        """The psql that came with the servers, else Debian's."""
        bundled = binaries.find() / "psql"
        return bundled if bundled.exists() else Path("psql")


@contextmanager
def prepared(**options: str) -> Iterator[Testbed]:
    """Start everything, from nothing; leave nothing behind. options: of the servers."""
    with ExitStack() as stack:
        root = stack.enter_context(scratch_root(local_root()))
        fleet = LocalFleet(root, (OWN_DATABASE, MASTER, SECOND), options=OPTIONS | options)
        stack.enter_context(fleet)
        state = State.load(root)
        testbed = Testbed(root, fleet, state)
        state.point_to(testbed.own)
        instances.prepare_own(testbed.own, testbed.own_password)
        _migrate(testbed)
        yield testbed


def _migrate(testbed: Testbed) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate", "--no-input"],
        cwd=CHECKOUT,
        env=testbed.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"migrate failed: {done.stderr.strip()[-2000:]}")
