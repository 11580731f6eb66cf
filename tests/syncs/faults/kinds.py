"""The kinds of random faults: what is done, what shows that it bit, and how it ends."""

from __future__ import annotations

import os
import random
import signal
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from bench.testbed import proxy
from bench.testbed.hostile_peer import FILLING, WRONG, Answer
from localfleet.processes import process_table
from localfleet.servers import databases
from tests.instances import END_SESSIONS
from tests.syncs.faults.names import TENANTS
from tests.syncs.faults.stage import USER, until
from tests.syncs.faults.test_kills import idle_worker
from tests.syncs.faults.world import (
    ALL,
    GERMAN,
    HOSTILE,
    NEVER,
    OF_PRIMARY,
    POOLED,
    SPOILED,
    STANDBY,
    World,
)

BITES_IN_TIME = 90  # seconds
FAILING, HELD, FUTURE = "/failing", "/held", "/confirmed in the future"


class Fault:
    """One fault. It is inflicted, then a slot becomes due, and `evidence` waits until it bit.

    hit: the instances that it may keep from being published. alert: the end of the key of the
    problem that is reported; empty if none has to be. repeats: a run is retried once it has ended,
    so that the slot's last outcome is a success. keeps_slot: the slot is known afterwards.
    """

    hit: Collection[int] = ALL
    alert: str = ""
    repeats: bool = True
    keeps_slot: bool = True

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance

    def inflict(self) -> None:
        """Break it, or prepare to."""

    def evidence(self, slot: datetime) -> str:
        """Return what shows that it bit; empty if it did not."""
        raise NotImplementedError

    def heal(self) -> None:
        """Restore what does not come back by itself."""

    def failure(self, slot: datetime, says: str, state: str = "failed") -> str:
        """What a run of the slot says of an instance that was hit; empty if it is not that."""

        def found() -> list[str]:
            return [
                text
                for target, was, text, _ in self.world.parts(slot)
                if target in self.hit and was == state and says in text
            ]

        until(lambda: found() or self.world.has_ended(slot), BITES_IN_TIME)
        return next(iter(found()), "")


@dataclass(frozen=True)
class Statements:
    """What is executed on the German instance: to break it, and to repair it."""

    broken: str
    repaired: str
    says: str
    state: str = "failed"
    repeats: bool = False
    alert: str = FAILING


KEEP = "CREATE TABLE kept AS TABLE tenants; "
BACK = "TRUNCATE tenants; INSERT INTO tenants TABLE kept; DROP TABLE kept"
AS_VIEW = (
    "ALTER TABLE tenants RENAME TO kept; CREATE VIEW tenants AS SELECT {}, name, status, "
    "primary_contact_name, primary_contact_email, trial_ends_at, subscription_started_at "
    "FROM kept; GRANT SELECT ON tenants TO rainbo"
)
AS_TABLE = "DROP VIEW tenants; ALTER TABLE kept RENAME TO tenants"
# So that its query sorts more than its role may keep in memory, and has no room for files.
SMALL = {"work_mem": "64kB", "temp_file_limit": "64kB", "enable_hashagg": "off"}
SORTED = (
    "INSERT INTO users (tenant_id, email) SELECT n % 50, n || '@example.com' "
    "FROM generate_series(1, 20000) AS n; ANALYZE users; DROP INDEX users_tenant_id; "
)
UNSORTED = "; TRUNCATE users; CREATE INDEX users_tenant_id ON users (tenant_id)"
STATEMENTS: Mapping[str, Statements] = {
    "privilege revoked": Statements(
        "REVOKE SELECT ON tenants FROM rainbo", "GRANT SELECT ON tenants TO rainbo", "tenants"
    ),
    "column gone": Statements(
        "ALTER TABLE tenants RENAME status TO gone",
        "ALTER TABLE tenants RENAME gone TO status",
        "status",
    ),
    "password changed": Statements(
        "ALTER ROLE rainbo PASSWORD 'changed'", "ALTER ROLE rainbo PASSWORD {password}", "password"
    ),
    # In German, RAINBO can't know that this passes by itself: it is not retried.
    "no connection left": Statements(
        "ALTER ROLE rainbo CONNECTION LIMIT 0", "ALTER ROLE rainbo CONNECTION LIMIT -1", ""
    ),
    "database closed": Statements(
        "ALTER DATABASE {database} CONNECTION LIMIT 0",
        "ALTER DATABASE {database} CONNECTION LIMIT -1",
        "",
    ),
    "error in its query": Statements(AS_VIEW.format("1 / (id - id) AS id"), AS_TABLE, "Division"),
    "another table": Statements(
        AS_VIEW.format("id"), AS_TABLE, "reads other tables", state="held", alert=HELD
    ),
    "emptied": Statements(KEEP + "DELETE FROM tenants", BACK, "", state="held", alert=HELD),
    "half of it gone": Statements(
        KEEP + "DELETE FROM tenants WHERE id % 2 = 0", BACK, "remove", state="held", alert=HELD
    ),
    "no room for temporary files": Statements(
        SORTED + "; ".join(f"ALTER ROLE rainbo SET {k} = '{v}'" for k, v in SMALL.items()),
        "; ".join(f"ALTER ROLE rainbo RESET {name}" for name in SMALL) + UNSORTED,
        "temp_file_limit",
        repeats=True,
    ),
}


class BrokenInstance(Fault):
    hit = frozenset({GERMAN})
    how: ClassVar[Statements]

    def inflict(self) -> None:
        self._execute(self.how.broken)

    def evidence(self, slot: datetime) -> str:
        self.alert, self.repeats = self.how.alert, self.how.repeats
        return self.failure(slot, self.how.says, self.how.state)

    def heal(self) -> None:
        self._execute(self.how.repaired)

    def _execute(self, statement: str) -> None:
        at = self.world.german
        statement = statement.replace("{password}", f"'{at.rainbo_password}'")
        at.execute(statement.replace("{database}", at.database))


class LongValue(Fault):
    """A row that can't be shown is withheld; the others are published."""

    hit = frozenset({GERMAN})

    def inflict(self) -> None:
        self.world.german.execute("UPDATE tenants SET name = repeat('n', 1001) WHERE id = 7")

    def evidence(self, slot: datetime) -> str:
        until(lambda: self.world.has_ended(slot), BITES_IN_TIME)
        found = self.world.stage.query("SELECT reason FROM syncs_withheldrow WHERE target = '4'")
        return found[0][0] if found else ""

    def heal(self) -> None:
        self.world.german.execute("UPDATE tenants SET name = 'Tenant 7' WHERE id = 7")


class LockedTable(Fault):
    """Nobody can read the table there, for longer than RAINBO waits, or not."""

    hit = frozenset({GERMAN})

    def inflict(self) -> None:
        self._held = self.world.german.connect(autocommit=False)
        self._held.execute("LOCK TABLE tenants")

    def evidence(self, slot: datetime) -> str:
        ends = time.monotonic() + self.chance.uniform(1, 10)
        until(lambda: self.world.parts(slot), BITES_IN_TIME)
        time.sleep(max(0.0, ends - time.monotonic()))
        found = [
            text
            for target, state, text, _ in self.world.parts(slot)
            if target == GERMAN and state == "failed"
        ]
        self.alert = FAILING if found else ""
        return next(iter(found), "")

    def heal(self) -> None:
        self._held.close()


@dataclass(frozen=True)
class Service:
    """What RAINBO reaches instances by, and how to stop and to start it."""

    hit: Collection[int]
    stop: Callable[[World], object]
    start: Callable[[World], object]


SERVICES: Mapping[str, Service] = {
    "pooler": Service({POOLED}, World.stop_pooler, World.start_pooler),
    "standby": Service({STANDBY}, lambda w: w.standby.stop(), lambda w: w.standby.start()),
    "instance": Service(
        {GERMAN}, lambda w: w.german_server.stop(), lambda w: w.german_server.start()
    ),
    "primary, with its standby": Service(
        OF_PRIMARY, lambda w: w.primary.stop(), lambda w: w.primary.start()
    ),
    "instance, by kill -9,": Service(
        {GERMAN}, lambda w: w.german_server.kill(), lambda w: w.german_server.start()
    ),
}


class Away(Fault):
    """It is away until a run has met that, so that only a retry can succeed."""

    of: ClassVar[Service]
    alert = FAILING

    def inflict(self) -> None:
        self.hit = self.of.hit
        self.of.stop(self.world)

    def evidence(self, slot: datetime) -> str:
        return self.failure(slot, "")

    def heal(self) -> None:
        self.of.start(self.world)


class SessionsEnded(Fault):
    """While a run is in progress, all sessions there are ended, again and again.

    A short read may end before it is met, so that half of the time a lock holds it up.
    """

    hit = frozenset({GERMAN})

    def inflict(self) -> None:
        self._held = self.world.german.connect(autocommit=False)
        if self.chance.random() < 0.5:
            self._held.execute("LOCK TABLE tenants")

    def evidence(self, slot: datetime) -> str:
        until(lambda: self.world.attempts(slot), BITES_IN_TIME)
        with self.world.german.connect() as another:
            while not self._failed(slot) and not self.world.has_ended(slot):
                another.execute(f"{END_SESSIONS} AND pid <> %s", [self._held.info.backend_pid])
        failed = self._failed(slot)
        self.alert = FAILING if failed else ""
        return failed

    def heal(self) -> None:
        self._held.close()

    def _failed(self, slot: datetime) -> str:
        found = self.world.parts(slot)
        return next((t for n, state, t, _ in found if n == GERMAN and state == "failed"), "")


class Spoiled(Fault):
    """The project's own proxy spoils connections after some bytes, perhaps more than there are."""

    hit = frozenset({SPOILED})
    how: ClassVar[str]

    def inflict(self) -> None:
        self.world.proxy.spoil(self.how, self.chance.randrange(0, 9_000))

    def evidence(self, slot: datetime) -> str:
        failed = self.failure(slot, "")
        spoiled = self.world.proxy.spoil(proxy.NONE)
        self.alert = FAILING if failed else ""
        return f"{spoiled} spoiled: {failed}" if spoiled and failed else ""

    def heal(self) -> None:
        self.world.proxy.spoil(proxy.NONE)


class Lying(Fault):
    """A peer answers a COPY as no server does; see bench/testbed/hostile_peer.py."""

    hit = frozenset({HOSTILE})
    alert = FAILING
    repeats = False
    answers: ClassVar[Mapping[str, Answer]]

    def inflict(self) -> None:
        self._answered = self.world.peer.answered
        self.world.peer.answer = self.answers[self.chance.choice([*self.answers])]
        self.world.peer.after = b"COPY "

    def evidence(self, slot: datetime) -> str:
        failed = self.failure(slot, "")
        return failed if self.world.peer.answered > self._answered else ""

    def heal(self) -> None:
        self.world.peer.after = NEVER


class Killed(Fault):
    """kill -9 of a process of the cluster; it is replaced."""

    victim: ClassVar[str]

    def inflict(self) -> None:
        self._pid = VICTIMS[self.victim](self.world)
        os.kill(self._pid, signal.SIGKILL)

    def evidence(self, slot: datetime) -> str:
        gone = process_table.wait_gone(self._pid, BITES_IN_TIME)
        until(lambda: self.world.has_ended(slot), BITES_IN_TIME)
        return f"process {self._pid} is gone" if gone else ""


class SupervisorKilled(Fault):
    """kill -9 of `schedule_work` itself: all that it started ends, and it is started again."""

    def inflict(self) -> None:
        self._left = self.world.work.all()
        os.kill(self.world.work.pid, signal.SIGKILL)

    def evidence(self, slot: datetime) -> str:
        until(lambda: not any(map(process_table.program, self._left)), BITES_IN_TIME)
        return f"{len(self._left)} processes are gone"

    def heal(self) -> None:
        self.world.work.wait()
        self.world.start_work()


class InMidRun(Fault):
    """A run is stopped where it reads or where it publishes, by a lock; then its worker is hit.

    What a retry repairs at once is not reported.
    """

    def __init__(self, world: World, chance: random.Random) -> None:
        super().__init__(world, chance)
        self._locks = ExitStack()

    def inflict(self) -> None:
        if self.chance.random() < 0.5:
            held = self.world.german.connect(autocommit=False)
            held.execute("LOCK TABLE tenants")
        else:
            stage = self.world.stage
            held = stage.server.connect(stage.name, autocommit=False)
            held.execute("LOCK TABLE tenant_master IN EXCLUSIVE MODE")
        self._locks.callback(held.close)

    def worker(self, slot: datetime) -> int:
        running = (
            "SELECT run.pid FROM syncs_syncrun AS run JOIN syncs_runtarget ON run_id = run.id "
            "WHERE sync = %s AND slot = %s AND run.state = 'running'"
        )
        until(lambda: self.world.stage.query(running, TENANTS, slot), BITES_IN_TIME)
        time.sleep(self.chance.uniform(0, 1.5))
        rows = self.world.stage.query(running, TENANTS, slot)
        return rows[0][0] if rows else 0

    def lost(self, slot: datetime) -> str:
        def found() -> list[str]:
            return [error for state, error, _ in self.world.attempts(slot) if state == "lost"]

        until(lambda: found() or self.world.has_ended(slot), BITES_IN_TIME)
        return next(iter(found()), "")


class WorkerKilled(InMidRun):
    def evidence(self, slot: datetime) -> str:
        if not (pid := self.worker(slot)):
            return ""
        os.kill(pid, signal.SIGKILL)
        self._locks.close()
        return self.lost(slot)

    def heal(self) -> None:
        self._locks.close()


class WorkerAsleep(InMidRun):
    """It is stopped for longer than its lease lasts, and wakes up: it publishes nothing late."""

    _pid = 0

    def evidence(self, slot: datetime) -> str:
        if not (pid := self.worker(slot)):
            return ""
        self._pid = pid
        os.kill(pid, signal.SIGSTOP)
        self._locks.close()
        return self.lost(slot)

    def heal(self) -> None:
        self._locks.close()
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGCONT)


class OwnSessionsEnded(Fault):
    """All sessions of RAINBO on its own database are ended, once or a few times."""

    def evidence(self, slot: datetime) -> str:
        stage, count = self.world.stage, 0
        for _ in range(self.chance.randrange(1, 4)):
            time.sleep(self.chance.uniform(0, 0.5))
            count += len(stage.query(END_SESSIONS))
        until(lambda: self.world.has_ended(slot), BITES_IN_TIME)
        return f"{count} sessions ended" if count else ""


class OwnDatabaseStopped(Fault):
    """RAINBO's own database is stopped, or killed, and comes back after a moment."""

    def evidence(self, slot: datetime) -> str:
        server = self.world.stage.server
        said = len(server.log_text())
        time.sleep(self.chance.uniform(0, 1))
        kill = self.chance.random() < 0.5
        (server.kill if kill else server.stop)()
        time.sleep(self.chance.uniform(0, 2))
        server.start()
        text = server.log_text()[said:]
        words = "was not properly shut down" if kill else "database system is shut down"
        return words if words in text else ""


class OwnDatabaseReadOnly(Fault):
    """It accepts no writes, as a standby or with a full disk."""

    def evidence(self, slot: datetime) -> str:
        stage = self.world.stage
        said = len(stage.server.log_text())
        self._switch("SET default_transaction_read_only = on")
        words = "read-only"
        with suppress(AssertionError):
            until(lambda: words in stage.server.log_text()[said:], self.chance.uniform(2, 6))
        log = stage.server.log_text()[said:]
        return f"{log.count(words)} statements refused" if words in log else ""

    def heal(self) -> None:
        self._switch("RESET default_transaction_read_only")

    def _switch(self, value: str) -> None:
        stage = self.world.stage
        with stage.server.connect() as session:
            session.execute(f'ALTER DATABASE "{stage.name}" {value}')
        with stage.server.connect(stage.name) as session:
            session.execute(END_SESSIONS)


class OwnDatabaseRestored(InMidRun):
    """While a run reads, the database is replaced by a copy that does not know of it."""

    keeps_slot = False

    def inflict(self) -> None:
        stage = self.world.stage
        self._copy = f"{stage.name}_copy"
        self._closed(
            lambda: databases.create(stage.server, self._copy, owner=USER, template=stage.name)
        )
        super().inflict()

    def evidence(self, slot: datetime) -> str:
        stage = self.world.stage
        if not self.worker(slot):
            return ""
        (newest,) = stage.query("SELECT max(id) FROM syncs_syncrun")[0]
        self._locks.close()
        self._closed(self._replace)
        (left,) = stage.query("SELECT max(id) FROM syncs_syncrun")[0]
        return f"run {newest} is unknown again, {left} is the newest" if left < newest else ""

    def heal(self) -> None:
        self._locks.close()
        databases.drop(self.world.stage.server, self._copy)

    def _replace(self) -> None:
        stage = self.world.stage
        databases.drop(stage.server, stage.name)
        with stage.server.connect() as session:
            session.execute(f'ALTER DATABASE "{self._copy}" RENAME TO "{stage.name}"')

    def _closed(self, act: Callable[[], object]) -> None:
        """Do it while nobody can connect."""
        stage = self.world.stage
        with stage.server.connect() as session:
            session.execute(f'ALTER DATABASE "{stage.name}" ALLOW_CONNECTIONS false')
            session.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [stage.name],
            )
            try:
                act()
            finally:
                session.execute(f'ALTER DATABASE "{stage.name}" ALLOW_CONNECTIONS true')


class LeaseOfTheFuture(Fault):
    """A lease from before the clock was set back would block for an hour."""

    hit = frozenset()

    def inflict(self) -> None:
        self._token = self.chance.randrange(2**40)
        self.world.stage.query(
            "UPDATE syncs_lease SET token = %s, renewed_at = now() + interval '1 hour', "
            "expires_at = now() + interval '61 minutes' WHERE sync = %s",
            self._token,
            TENANTS,
        )

    def evidence(self, slot: datetime) -> str:
        until(lambda: self.world.has_ended(slot), BITES_IN_TIME)
        found = self.world.stage.query("SELECT token FROM syncs_lease WHERE sync = %s", TENANTS)
        return "taken over" if found != [(self._token,)] else ""


class ConfirmationOfTheFuture(Fault):
    """Confirmed by a clock that was set back since: unknown until the next run."""

    hit = frozenset()
    alert = FUTURE

    def inflict(self) -> None:
        self.world.stage.query(
            "UPDATE syncs_confirmation SET at = now() + interval '1 hour' WHERE sync = %s", TENANTS
        )
        self.world.ask("evaluate")

    def evidence(self, slot: datetime) -> str:
        until(lambda: self.world.has_ended(slot), BITES_IN_TIME)
        return ", ".join(key for key in self.world.reported() if key.endswith(FUTURE))


class SlotOfTheFuture(Fault):
    """Times that had their runs before the clock was set back come again."""

    hit = frozenset()

    def inflict(self) -> None:
        query = self.world.stage.query
        ((self._run,),) = query("SELECT max(id) FROM syncs_syncrun WHERE sync = %s", TENANTS)
        self.world.publish()  # else the schedule's last slot would have no run, and get another
        # By a day, so that no run of the next hours seems to overlap this one.
        query(
            "UPDATE syncs_syncrun SET slot = now() + interval '1 day', started_at = started_at "
            "+ interval '1 day', finished_at = finished_at + interval '1 day' WHERE id = %s",
            self._run,
        )
        query(
            "DELETE FROM made_slots WHERE sync = %s AND slot NOT IN "
            "(SELECT slot FROM syncs_syncrun WHERE slot IS NOT NULL)",
            TENANTS,
        )

    def evidence(self, slot: datetime) -> str:
        until(lambda: self.world.has_ended(slot), BITES_IN_TIME)
        freed = self.world.stage.query(
            "SELECT 1 FROM syncs_syncrun WHERE id = %s AND slot IS NULL", self._run
        )
        return f"the time of run {self._run} is free" if freed else ""


class TaskLost(Fault):
    """What django-q has queued disappears, as when a table was truncated, the slot's task too."""

    hit = frozenset()

    def evidence(self, slot: datetime) -> str:
        lost: list[str] = []
        ends = time.monotonic() + self.chance.uniform(1, 4)
        stage = self.world.stage
        with stage.server.connect(stage.name) as session:
            while time.monotonic() < ends and not self.world.attempts(slot):
                gone = session.execute("DELETE FROM django_q_ormq RETURNING payload")
                lost += [payload for (payload,) in gone]
        until(lambda: self.world.has_ended(slot), BITES_IN_TIME)
        of_slot = sum(_names(payload, slot) for payload in lost)
        return f"{len(lost)} tasks lost, {of_slot} of this time" if of_slot else ""


def _names(payload: str, slot: datetime) -> bool:
    """Whether this task of django-q is to run that slot."""
    packed = payload.partition(":")[0]
    text = urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    return slot.astimezone(UTC).isoformat().encode() in text


def _made(base: type[Fault], **fields: object) -> type[Fault]:
    return type(base.__name__, (base,), fields)


VICTIMS: Mapping[str, Callable[[World], int]] = {
    "main process": lambda world: world.work.main(),
    "sentinel": lambda world: world.work.sentinel(),
    "pusher": lambda world: world.work.role("pusher")[-1],
    "monitor": lambda world: world.work.role("monitor")[-1],
    "idle worker": lambda world: idle_worker(world.stage, world.work),
}
TOXICS = (proxy.SLOW, proxy.CUT, proxy.RESET, proxy.STALL, proxy.HALF_OPEN)

KINDS: Mapping[str, type[Fault]] = {
    **{f"instance: {name}": _made(BrokenInstance, how=how) for name, how in STATEMENTS.items()},
    "instance: a value too long": LongValue,
    "instance: table locked": LockedTable,
    "instance: sessions ended": SessionsEnded,
    **{f"{name} away": _made(Away, of=of) for name, of in SERVICES.items()},
    **{f"network: {how}": _made(Spoiled, how=how) for how in TOXICS},
    "peer: no answer to a COPY": _made(Lying, answers=WRONG),
    "peer: more than its budget": _made(Lying, answers=FILLING),
    **{f"{name} killed": _made(Killed, victim=name) for name in VICTIMS},
    "supervisor killed": SupervisorKilled,
    "worker killed in a run": WorkerKilled,
    "worker asleep in a run": WorkerAsleep,
    "own database: sessions ended": OwnSessionsEnded,
    "own database: stopped or killed": OwnDatabaseStopped,
    "own database: read-only": OwnDatabaseReadOnly,
    "own database: restored": OwnDatabaseRestored,
    "clock: a lease of the future": LeaseOfTheFuture,
    "clock: confirmations of the future": ConfirmationOfTheFuture,
    "clock: a slot of the future": SlotOfTheFuture,
    "queue: tasks lost": TaskLost,
}
