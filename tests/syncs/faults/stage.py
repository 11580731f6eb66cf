"""An installation to break: a database of its own, and the processes that work on it."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from localfleet.folders import local_root, scratch_root
from localfleet.processes import process_table
from localfleet.servers import databases
from localfleet.servers.server import Server
from syncs.workers.cluster import PROC
from tests.syncs.faults.names import CRONS

ROOT = Path(__file__).parents[3]
USER = TEMPLATE = "faults"
HASTE = 30
REAL: dict[str, str] = {"RAINBO_WORKERS": "2"}
QUICK = REAL | {
    "FAULTS_HASTE": str(HASTE),
    "RAINBO_HEARTBEAT_INTERVAL": "2",
    "RAINBO_HEARTBEAT_TIMEOUT": "6",
    "RAINBO_QUEUE_MAX_WAIT": "10",
    "RAINBO_LEASE_TTL": "3",
    "RAINBO_LEASE_RENEWAL": "1",
    "RAINBO_RUN_LIMIT": "60",
    "RAINBO_RETRY_SECONDS": "2,10,20",
    "RAINBO_INSTANCE_LIMIT": "30",
    "RAINBO_STATEMENT_TIMEOUT": "30",
}
ROLES = {
    "worker": r"ready for work at (\d+)",
    "monitor": r"monitoring at (\d+)",
    "pusher": r"pushing tasks at (\d+)",
}
SCHEDULE = """
    INSERT INTO django_q_schedule
           (name, func, args, schedule_type, cron, intended_date_kwarg, repeats, next_run)
    VALUES (%s, 'syncs.tasks.run_slot', %s, 'C', %s, 'slot', -1, 'tomorrow')"""
VERDICT_SQL = Path(__file__).with_name("verdict.sql")


@dataclass(frozen=True)
class Verdict:
    """What the run rows say of all slots that were made."""

    slots: int
    outcomes: int
    missing: int
    duplicates: int
    overlaps: int
    running: int

    @property
    def is_clean(self) -> bool:
        return self.outcomes == self.slots and not (
            self.missing or self.duplicates or self.overlaps or self.running
        )


class Process:
    """A management command, its output in a file, all that it starts in its session."""

    def __init__(self, words: Sequence[str], env: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def lives(self) -> bool:
        return self._popen.poll() is None

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def all(self) -> list[int]:
        return process_table.descendants(self.pid)

    def main(self) -> int:
        """The cluster's main process: this one, or the child of a supervisor."""
        started = re.findall(r"qcluster", _command(self.pid))
        return self.pid if started else process_table.children(self.pid)[-1]

    def sentinel(self) -> int:
        return process_table.children(self.main())[0]

    def role(self, name: str) -> list[int]:
        """The living processes that reported in this role, in the order of their birth."""
        said = [int(pid) for pid in re.findall(ROLES[name], self.text())]
        return [pid for pid in said if process_table.program(pid)]

    def ask_to_stop(self) -> None:
        self._popen.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 15) -> int:
        return self._popen.wait(seconds)

    def end(self) -> None:
        """Kill it and all that came of it."""
        left = [self.pid, *self.all()]
        sessions = {int(session) for pid in left if (session := _session(pid)) is not None}
        for session in sessions:
            with suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)
        self._popen.wait(10)


class Stage:
    def __init__(self, server: Server, name: str, folder: Path, env: dict[str, str]) -> None:
        self.server = server
        self.name = name
        self.folder = folder
        self.env = env
        self._started: list[Process] = []

    def start(self, *words: str, **env: str) -> Process:
        """`manage.py words`, in the background."""
        log = self.folder / f"{self.name}-{len(self._started)}-{words[0]}.log"
        process = Process(["manage.py", *words], self.env | env, log)
        self._started.append(process)
        return process

    def program(self, module: str, *words: str) -> Process:
        log = self.folder / f"{self.name}-{len(self._started)}.log"
        process = Process(["-m", module, *words], self.env, log)
        self._started.append(process)
        return process

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.env | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def query(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        with self.server.connect(self.name) as connection:
            cursor = connection.execute(statement, params or None)
            return cursor.fetchall() if cursor.description else []

    def make_slots(self, *syncs: str) -> datetime:
        """Make a slot of each of these syncs due now; returns its scheduled time."""
        return self.make_slot_at("clock_timestamp()", *syncs)

    def make_slot_at(self, when: str, *syncs: str, cron: str | None = None) -> datetime:
        """cron: the line that their schedules get; by default they keep theirs."""
        (slot,) = self.query(f"SELECT date_trunc('milliseconds', {when})")[0]
        assert isinstance(slot, datetime)
        names = [f"('{sync}',)" for sync in syncs]
        self.query(
            "INSERT INTO made_slots SELECT substr(args, 3, length(args) - 5), %s::timestamptz "
            "FROM django_q_schedule WHERE args = ANY (%s)",
            slot,
            names,
        )
        self.query(
            "UPDATE django_q_schedule SET next_run = %s, cron = coalesce(%s, cron) "
            "WHERE args = ANY (%s)",
            *(slot, cron, names),
        )
        return slot

    def outcome(self, sync: str, slot: datetime) -> str | None:
        rows = self.query(
            "SELECT state FROM syncs_syncrun WHERE sync = %s AND slot = %s "
            "ORDER BY attempt DESC LIMIT 1",
            sync,
            slot,
        )
        return rows[0][0] if rows else None

    def verdict(self) -> Verdict:
        return Verdict(*self.query(VERDICT_SQL.read_text())[0])

    def texts(self) -> str:
        return "\n".join(f"== {p.log.name}\n{p.text()[-6000:]}" for p in self._started)

    def close(self) -> None:
        for process in self._started:
            process.end()
        databases.drop(self.server, self.name)


class Theatre:
    """A server whose databases are copies of one that has all migrations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(folder, "faults", durable=False, options={"max_connections": "300"})
        self._password = secrets.token_urlsafe(16)
        self._count = 0
        self._secrets = {
            "RAINBO_SECRET_KEY": secrets.token_urlsafe(48),
            "RAINBO_CREDENTIAL_KEYS": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        }

    def open(self) -> None:
        self.server.start()
        databases.set_role(self.server, USER, self._password)
        databases.create(self.server, TEMPLATE, owner=USER)
        stage = Stage(self.server, TEMPLATE, self.folder, self._env(TEMPLATE, {}))
        done = stage.run("migrate", "-v0")
        assert done.returncode == 0, done.stdout + done.stderr
        stage.query("CREATE TABLE made_slots (sync text, slot timestamptz)")
        for name, cron in CRONS.items():
            stage.query(SCHEDULE, name, repr((name,)), cron)

    @contextmanager
    def stage(self, scale: dict[str, str] = QUICK) -> Iterator[Stage]:
        """A fresh installation; what was started on it is gone afterwards."""
        self._count += 1
        name = f"stage{self._count}"
        databases.create(self.server, name, owner=USER, template=TEMPLATE)
        stage = Stage(self.server, name, self.folder, self._env(name, scale))
        try:
            yield stage
        finally:
            stage.close()

    def _env(self, name: str, scale: dict[str, str]) -> dict[str, str]:
        others = {k: v for k, v in os.environ.items() if not k.startswith("RAINBO_")}
        return (
            others
            | self._secrets
            | {
                "DJANGO_SETTINGS_MODULE": "tests.syncs.faults.settings",
                "RAINBO_LOG_FORMAT": "text",
                "RAINBO_HTTPS": "off",
                "RAINBO_DB_HOST": self.server.host,
                "RAINBO_DB_PORT": str(self.server.port),
                "RAINBO_DB_NAME": name,
                "RAINBO_DB_USER": USER,
                "RAINBO_DB_PASSWORD": self._password,
            }
            | scale
        )


@contextmanager
def theatre() -> Iterator[Theatre]:
    with ExitStack() as stack:
        opened = Theatre(stack.enter_context(scratch_root(local_root())))
        stack.callback(opened.server.stop)
        opened.open()
        yield opened


def until(happened: Callable[[], object], seconds: float = 30) -> float:
    """Poll for a condition; the seconds that it took."""
    began = time.monotonic()
    while not happened():
        assert time.monotonic() - began < seconds, f"it did not happen within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


def _command(pid: int) -> str:
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_text().replace("\0", " ")
    return ""


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None
