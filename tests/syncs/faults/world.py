"""An installation at work, which random faults are inflicted on, and what must hold after each.

Its six instances are reached in all ways: directly, through a pooler, as a hot standby, on a server
that speaks German, through the proxy that spoils connections, and through a peer that lies. All but
the German one are one server.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.testbed.hostile_peer import HostilePeer
from bench.testbed.proxy import proxy
from localfleet.folders import local_root, scratch_root
from localfleet.processes import process_table
from localfleet.servers import binaries, data_folder
from localfleet.servers.server import Server
from tests import pooler
from tests.fleet_fixtures import needs
from tests.http_servers import Receiver, receiver
from tests.instances import Instance
from tests.standby import catch_up, standby
from tests.syncs.faults.names import TENANTS
from tests.syncs.faults.stage import QUICK, ROOT, Process, Stage, Theatre, until

# Not as hurried as others: a busy machine alone must look like no fault.
HURRIED = QUICK | {
    "FAULTS_HASTE": "60",
    "RAINBO_HEARTBEAT_INTERVAL": "1",
    "RAINBO_HEARTBEAT_TIMEOUT": "40",
    "RAINBO_QUEUE_MAX_WAIT": "86400",  # slots are of hours ago
    "RAINBO_LEASE_TTL": "5",
    "RAINBO_LEASE_RENEWAL": "1",
    "RAINBO_CONNECT_TIMEOUT": "2",
    "RAINBO_STATEMENT_TIMEOUT": "3",
    "RAINBO_INSTANCE_LIMIT": "4",
    "RAINBO_RETRY_SECONDS": "1,2,4,8",
    "RAINBO_ANSWER_MAX_KB": "1024",
    "RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1",
}
DIRECT, POOLED, STANDBY, GERMAN, SPOILED, HOSTILE = range(1, 7)
ALL = frozenset(range(1, 7))
OF_PRIMARY = ALL - {GERMAN}
ROWS = 60  # tenants on each server
PUBLISHED_IN_TIME, HEALED_IN_TIME, QUIET_IN_TIME = 120, 120, 30  # seconds

_GENERATION = "UPDATE tenants SET subscription_started_at = timestamptz '2001-01-01Z' + %s * {day}"
_SOURCE = "SELECT id::text, name, subscription_started_at FROM tenants ORDER BY id::text"
_CACHED = """
    SELECT remote_id, name, subscription_started_at FROM tenant_master
     WHERE instance_id = %s ORDER BY remote_id"""
# Of a row that is withheld, the last one stays that could be shown.
_MIXED = """
    SELECT instance_id FROM tenant_master AS tenant
     WHERE NOT EXISTS (SELECT FROM syncs_withheldrow AS bad
                        WHERE bad.sync = 'tenant_summaries' AND bad.source_id = tenant.remote_id
                          AND bad.target = tenant.instance_id::text)
     GROUP BY 1 HAVING count(DISTINCT subscription_started_at) > 1"""
_PARTS = """
    SELECT part.target::int, part.state, part.error || part.note, run.attempt
      FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE run.sync = %s AND run.slot = %s ORDER BY run.attempt, part.target"""
_ATTEMPTS = """
    SELECT state, error, attempt FROM syncs_syncrun WHERE sync = %s AND slot = %s
     ORDER BY attempt"""
_TEXTS = """
    SELECT error FROM syncs_syncrun UNION ALL SELECT note || error FROM syncs_runtarget
     UNION ALL SELECT message FROM syncs_runlog UNION ALL SELECT text || brief FROM alert_incidents
     UNION ALL SELECT last_error FROM rds_instances UNION ALL SELECT detail FROM syncs_heldchange"""
# RAINBO's are always in a transaction; those that the pooler keeps are idle.
_SESSIONS = """
    SELECT pid, state, query FROM pg_stat_activity
     WHERE application_name LIKE %s AND backend_type = 'client backend' AND state <> 'idle'"""
# The probes, which other tests run, were never confirmed here.
_OPEN_INCIDENTS = """
    SELECT key, text FROM alert_incidents
     WHERE resolved_at IS NULL AND opened_at IS NOT NULL
       AND (key NOT LIKE 'sync/%' OR key LIKE 'sync/tenant_summaries/%')"""
_FORGET = """
    SET LOCAL lock_timeout = '200ms'; TRUNCATE alert_incidents, alert_deliveries CASCADE"""
_UNEXPECTED = re.compile(r"unexpected \w+(;| with )")  # libpq has words of its own
_ENDED = ("succeeded", "partial", "held", "failed", "lost", "cancelled", "skipped")


class World:
    """See the module. hit: instances that the present fault may keep from being published."""

    def __init__(self, house: Theatre, open_: ExitStack) -> None:
        self.stage: Stage = open_.enter_context(house.stage(HURRIED))
        self._start_instances(open_)
        self.inbox: Receiver = open_.enter_context(receiver())
        self._helper = open_.enter_context(self._helping())
        self._register()
        self.ask("channel", self.inbox.url("/alerts"))
        self._generation = 0
        self._slot = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=23)
        self.start_work()
        self.stage.query("UPDATE syncs_syncschedule SET planned_since = now() - interval '2 days'")
        self._readers = open_.enter_context(_Reader.reading(self.stage))
        self.begin()
        self.publish()

    def _start_instances(self, open_: ExitStack) -> None:
        german_bin = needs(binaries.debian(), "Debian's PostgreSQL is not installed")
        needs(pooler.PROGRAM, "PgBouncer is not installed: apt install pgbouncer")
        self._root: Path = open_.enter_context(scratch_root(local_root()))
        patch = open_.enter_context(pytest.MonkeyPatch.context())
        patch.setitem(data_folder.ENVIRONMENT, "LANGUAGE", "de")  # counts for every locale but C
        self.primary = Server(self._root, "primary", durable=False)
        self.german_server = Server(
            self._root,
            "german",
            bin_folder=german_bin,
            durable=False,
            options={"lc_messages": "C.UTF-8"},
        )
        for server in (self.primary, self.german_server):
            open_.callback(server.stop)
            server.start()
        self.direct = Instance.create(self.primary, DIRECT)
        self.german = Instance.create(self.german_server, GERMAN)
        self.direct.execute("GRANT pg_read_all_stats TO rainbo")
        for at in (self.direct, self.german):
            for number in range(1, ROWS + 1):
                at.add_tenant(number)
        self.standby = open_.enter_context(standby(self._root, self.primary))
        self._poolers = open_.enter_context(ExitStack())
        self.pooler_port = self.start_pooler()
        self.proxy = open_.enter_context(proxy(self.primary.port))
        self.peer = HostilePeer((self.primary.host, self.primary.port), b"", lambda: iter(()))
        self.peer.after = NEVER
        self.peer_port = self.peer.start()
        open_.callback(self.peer.stop)

    def start_pooler(self) -> int:
        users = {self.direct.user: self.direct.rainbo_password}
        port = getattr(self, "pooler_port", None)
        running = pooler.pooler(self._root, self.primary, users, port=port)
        return self._poolers.enter_context(running)

    def stop_pooler(self) -> None:
        self._poolers.close()

    def _register(self) -> None:
        ports = {
            DIRECT: self.primary.port,
            POOLED: self.pooler_port,
            STANDBY: self.standby.port,
            GERMAN: self.german_server.port,
            SPOILED: self.proxy.port,
            HOSTILE: self.peer_port,
        }
        before = DIRECT
        for number, port in ports.items():
            at = self.german if number == GERMAN else self.direct
            copy = [] if number in (DIRECT, GERMAN) else [f"--copy-of={before}"]
            self.ask(
                *("command", "add_instance", f"--id={number}", f"--name=front{number}"),
                *(f"--host={at.host}", f"--port={port}", f"--database={at.database}"),
                *(f"--user={at.user}", *copy, "--ssl-mode=disable", "--no-ghosts"),
                f"--password-env=PASSWORD_{at.id}",
            )
            before = before if number == GERMAN else number

    @contextmanager
    def _helping(self) -> Iterator[subprocess.Popen[str]]:
        with (
            (self.stage.folder / f"{self.stage.name}-helper.log").open("ab") as log,
            subprocess.Popen(
                [sys.executable, "-m", "tests.syncs.faults.helper"],
                cwd=ROOT,
                env=self.stage.env
                | {f"PASSWORD_{at.id}": at.rainbo_password for at in (self.direct, self.german)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def ask(self, *words: str) -> None:
        assert self._helper.stdin is not None
        assert self._helper.stdout is not None
        print(*words, file=self._helper.stdin, flush=True)
        answer = self._helper.stdout.readline().strip()
        assert answer == "done", answer

    def start_work(self) -> None:
        self.work: Process = self.stage.start("schedule_work")
        until(self.is_whole, HEALED_IN_TIME)

    def is_whole(self) -> bool:
        """A worker has beaten lately, and all processes of the cluster are there."""
        alive = "SELECT 1 FROM syncs_heartbeat WHERE at > clock_timestamp() - interval '15 s'"
        there = (self.work.role(name) for name in ("worker", "monitor", "pusher"))
        return self.work.lives and bool(self.stage.query(alive)) and all(there)

    @property
    def secrets(self) -> list[str]:
        env = self.stage.env
        known = [env["RAINBO_SECRET_KEY"], env["RAINBO_CREDENTIAL_KEYS"], env["RAINBO_DB_PASSWORD"]]
        return [*known, self.direct.rainbo_password, self.german.rainbo_password]

    def begin(self) -> None:
        """Put another generation on the instances, and forget the alerts of before."""
        self._generation += 1
        for at in (self.direct, self.german):
            at.execute(_GENERATION.format(day="interval '1 day'"), [self._generation])
        catch_up(self.primary, self.standby)
        until(self._forget_alerts)
        self.inbox.received.clear()
        self._readers.mixed.clear()
        self._known = {self.work.pid, *self.work.all()}
        until(self.is_whole, HEALED_IN_TIME)

    def _forget_alerts(self) -> bool:
        """Whether that could be done without a deadlock with RAINBO's processes."""
        with suppress(psycopg.errors.LockNotAvailable):
            self.stage.query(_FORGET)
            return True
        return False

    def parts(self, slot: datetime) -> list[tuple[int, str, str, int]]:
        """(instance, state, what it says, attempt) of a slot's runs."""
        return self.stage.query(_PARTS, TENANTS, slot)

    def attempts(self, slot: datetime) -> list[tuple[str, str, int]]:
        return self.stage.query(_ATTEMPTS, TENANTS, slot)

    def has_ended(self, slot: datetime) -> bool:
        """Whether no attempt of it is open or still to come."""
        found = self.attempts(slot)
        return bool(found) and all(state in _ENDED for state, *_ in found)

    def make_slot(self) -> datetime:
        """Make the next slot due; its time.

        It is the last one of its schedule's cron line, as RAINBO finds one whose task was lost only
        by that line. It follows its predecessor by a minute; the first is of almost a day ago.
        """
        self._slot += timedelta(minutes=1)
        cron = f"{self._slot:%-M %-H %-d %-m} *"
        return self.stage.make_slot_at(f"timestamptz '{self._slot}'", TENANTS, cron=cron)

    def publish(self) -> datetime:
        """A due slot succeeds, by itself; its time."""
        slot = self.make_slot()
        try:
            until(lambda: self.stage.outcome(TENANTS, slot) == "succeeded", PUBLISHED_IN_TIME)
        except AssertionError:
            pytest.fail(f"it did not succeed: {self.attempts(slot)} {self.parts(slot)}")
        return slot

    def check(self) -> None:
        """What must hold after each fault, once its end is followed by a run that succeeded."""
        for number in ALL:
            at = self.german if number == GERMAN else self.direct
            assert self.stage.query(_CACHED, number) == at.execute(_SOURCE), number
        assert not self._readers.mixed, "a reader saw a mixture of two generations"
        assert not self._readers.errors
        _becomes(True, lambda: self.stage.verdict().is_clean or self.stage.verdict())
        _becomes([], self._sessions)
        _becomes([], self._orphans)
        self._check_secrets()

    def check_alerts(self, expected: str) -> None:
        """Each problem was reported once, the expected one among them, and all have ended."""
        self.ask("evaluate")
        sent = self.reported()
        assert all(count == 1 for count in sent.values()), sent
        if expected:
            assert any(key.endswith(expected) for key in sent), (expected, sent)
        left = self.stage.query(_OPEN_INCIDENTS)
        assert not left, left

    def reported(self) -> dict[str, int]:
        """How many messages said that a problem began, by its key; a repeated one counts once.

        Of the probes, which other tests run, it is known at the start that they were never
        confirmed: a database that is restored to before its first message sends that again.
        """
        found: dict[str, set[str]] = {}
        for request in self.inbox.received:
            for one in json.loads(request.body)["data"]["incidents"]:
                if one["kind"] in ("opened", "reopened") and "/probe_" not in one["key"]:
                    found.setdefault(one["key"], set()).add(request.headers["webhook-id"])
        return {key: len(ids) for key, ids in found.items()}

    def check_others(self, slot: datetime, hit: Collection[int]) -> None:
        """Whatever runs said of instances that the fault did not hit is that they succeeded."""
        others = [part for part in self.parts(slot) if part[0] not in hit]
        assert all(state == "succeeded" for _, state, *_ in others), others

    def _sessions(self) -> list[Any]:
        servers = {"postgres": self.primary, "german": self.german_server}
        found: list[Any] = []
        for server in servers.values():
            with server.connect() as session:
                found += session.execute(_SESSIONS, [f"rainbo/{TENANTS}%"]).fetchall()
        return found

    def _orphans(self) -> list[int]:
        belongs = {self.work.pid, *self.work.all()}
        return [pid for pid in self._known - belongs if process_table.program(pid)]

    def _check_secrets(self) -> None:
        texts = [self.stage.texts(), *(text for (text,) in self.stage.query(_TEXTS) if text)]
        texts += [request.body.decode() for request in self.inbox.received]
        whole = "\n".join(texts)
        for secret in self.secrets:
            assert secret not in whole
        assert "Traceback" not in "\n".join(texts[1:])
        assert not _UNEXPECTED.search("\n".join(texts[1:]))


NEVER = b"\0no statement has this\0"


def _becomes(wanted: object, read: Callable[[], object]) -> None:
    with suppress(AssertionError):
        until(lambda: read() == wanted, QUIET_IN_TIME)
    assert read() == wanted


class _Reader:
    """Reads all the time, as pages do, and remembers what no reader may see."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.mixed: list[Any] = []
        self.errors: list[str] = []

    @classmethod
    @contextmanager
    def reading(cls, stage: Stage) -> Iterator[_Reader]:
        reader, stopping = cls(stage), threading.Event()
        thread = threading.Thread(target=reader._read, args=(stopping.is_set,))
        thread.start()
        try:
            yield reader
        finally:
            stopping.set()
            thread.join()

    def _read(self, stops: Callable[[], bool]) -> None:
        while not stops():
            try:
                with self._stage.server.connect(self._stage.name) as session:
                    while not stops():
                        self.mixed += session.execute(_MIXED).fetchall()
                        time.sleep(0.02)
            except psycopg.OperationalError:  # the own database is away: others see that, too
                time.sleep(0.1)
            except psycopg.Error as error:
                self.errors.append(str(error))


@contextmanager
def world(house: Theatre) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(house, stack)
