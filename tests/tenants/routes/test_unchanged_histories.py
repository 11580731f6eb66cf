"""Random histories of a directory, with transactions that overlap the looks at it.

A count may call the rows unchanged only if they are the very rows of the snapshot that is
remembered, and those that follow from it and the new rows must be the very rows there are. Each
seed is one history; `HISTORIES=1000 make soak ARGS="-k unchanged_histories"` tries 1,000.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg
import pytest

from syncs.transfer.unchanged import Earlier
from tests.instances import Instance
from tests.tenants.routes.directory_views import Rows, compare, derive, see
from tests.tenants.routes.test_unchanged import fill

QUICK = 2
COUNT = int(os.environ.get("HISTORIES", "60"))
SHARE = 10  # histories of one test
STEPS = 40
ROWS = 6
WRITERS = 3
ADD = "INSERT INTO user_email_routing (id, email) VALUES (%s, %s)"
WRITES = {
    "update": "UPDATE user_email_routing SET status = '{new}' WHERE id % 3 = {third}",
    "same again": "UPDATE user_email_routing SET status = status WHERE id % 3 = {third}",
    "delete": "DELETE FROM user_email_routing WHERE id % 7 = {third}",
    "exchange": "WITH gone AS (DELETE FROM user_email_routing WHERE id = (SELECT min(id) FROM "
    "user_email_routing) RETURNING *) INSERT INTO user_email_routing (id, email) "
    "SELECT 1000 + {new}, 'x' FROM gone",
    "insert": "INSERT INTO user_email_routing (id, email) VALUES (2000 + {new}, 'new')",
    "other id": "UPDATE user_email_routing SET id = 3000 + {new} WHERE id = "
    "(SELECT max(id) FROM user_email_routing)",
    "same id": "INSERT INTO user_email_routing (id, email) "
    "SELECT id, 'x' FROM user_email_routing WHERE id % 7 = {third}",
    "lock": "SELECT FROM user_email_routing FOR UPDATE",
    "elsewhere": "INSERT INTO elsewhere VALUES ({new})",
}
# By a session of its own, which gives up where it would wait.
ALONE = {
    "freeze": "VACUUM (FREEZE) user_email_routing",
    "vacuum full": "VACUUM FULL user_email_routing",
    "cluster": "CLUSTER user_email_routing USING user_email_routing_pkey",
    "analyze": "ANALYZE user_email_routing",
    "refill": "CREATE TEMP TABLE kept AS TABLE user_email_routing; TRUNCATE user_email_routing; "
    "UPDATE kept SET status = '{new}' WHERE id % 2 = 0; "
    "INSERT INTO user_email_routing SELECT * FROM kept; DROP TABLE kept",
    "switch": "ALTER TABLE user_email_routing RENAME TO between; ALTER TABLE other RENAME TO "
    "user_email_routing; ALTER TABLE between RENAME TO other",
    "exchange columns": "ALTER TABLE user_email_routing RENAME user_name TO between; "
    "ALTER TABLE user_email_routing RENAME status TO user_name; "
    "ALTER TABLE user_email_routing RENAME between TO status",
    "new column": "ALTER TABLE user_email_routing DROP status; "
    "ALTER TABLE user_email_routing ADD status text DEFAULT '{new}'",
    "type": "ALTER TABLE user_email_routing ALTER user_name TYPE varchar(80)",
    "no key": "ALTER TABLE user_email_routing DROP CONSTRAINT user_email_routing_pkey",
    "index": "DROP INDEX IF EXISTS some; CREATE INDEX some ON user_email_routing (email)",
}


@dataclass
class History:
    source: Instance
    seed: int
    remembered: list[tuple[Earlier, Rows]] = field(default_factory=list)
    writers: list[psycopg.Connection] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter)
    counter: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def play(self) -> None:
        self.writers = [self.source.connect(autocommit=False) for _ in range(WRITERS)]
        for writer in self.writers:
            writer.execute("SET lock_timeout = '1ms'")
            writer.commit()
        acts: list[Callable[[], object]] = [
            *[self.write] * 10,
            *[self.end] * 5,
            *[self.compare] * 6,
            *[self.derive] * 6,
            *[self.remember] * 3,
            *[self.alone] * 2,
            *[self.prepare] * 2,
            *[self.finish_prepared] * 2,
        ]
        try:
            self.remember()
            for _ in range(STEPS):
                self.random.choice(acts)()
            self.compare()
            self.derive()
        finally:
            for writer in self.writers:
                writer.close()
            while self.prepared:
                self.finish_prepared()

    def write(self) -> None:
        writer = self.random.choice(self.writers)
        self.counter += 1
        text = self.random.choice([*WRITES.values()])
        with suppress(psycopg.Error):  # it waits for another one, or its transaction has failed
            if self.random.random() < 0.4:
                with writer.transaction(force_rollback=self.random.random() < 0.3):
                    writer.execute(self._filled(text))
            else:
                writer.execute(self._filled(text))

    def end(self) -> None:
        writer = self.random.choice(self.writers)
        writer.commit() if self.random.random() < 0.8 else writer.rollback()

    def prepare(self) -> None:
        writer = self.random.choice(self.writers)
        self.counter += 1
        name = f"{self.seed}/{self.counter}"
        with suppress(psycopg.Error):
            writer.execute(f"PREPARE TRANSACTION '{name}'")
            writer.commit()
        writer.rollback()
        if self.source.execute("SELECT gid FROM pg_prepared_xacts WHERE gid = %s", [name]):
            self.prepared.append(name)

    def finish_prepared(self) -> None:
        if self.prepared:
            name = self.prepared.pop(self.random.randrange(len(self.prepared)))
            how = "COMMIT" if self.random.random() < 0.8 else "ROLLBACK"
            self.source.execute(f"{how} PREPARED '{name}'")

    def alone(self) -> None:
        self.counter += 1
        name = self.random.choice([*ALONE])
        with self.source.connect() as session, suppress(psycopg.Error):
            session.execute("SET lock_timeout = '1ms'")
            session.execute(self._filled(ALONE[name]))
            self.said[name] += 1

    def remember(self) -> None:
        # A commit that waits for the disk: what is not there is not remembered.
        self.source.execute("SELECT pg_logical_emit_message(true, 'history', '')")
        seen = see(self.source)
        if seen.is_on_disk:
            self.remembered.append((seen.earlier, seen.rows))

    def compare(self) -> None:
        """With what the last run that read in full remembers, or any before: none may mislead."""
        if self.remembered:
            earlier, rows = self.random.choice(self.remembered[-3:])
            why, now = compare(self.source, earlier)
            assert why or now == rows, f"history {self.seed}: other rows were called unchanged"
            self.said["changed" if why else "unchanged"] += 1
            if why and now != rows:
                self.said["truly changed"] += 1

    def derive(self) -> None:
        """As `compare`, with the rows that are new."""
        if self.remembered:
            earlier, rows = self.random.choice(self.remembered[-3:])
            derived, now = derive(self.source, earlier, rows)
            if derived is not None:
                assert derived == Counter(now), f"history {self.seed}: other rows were derived"
                self.said["derived"] += now != rows

    def _filled(self, text: str) -> str:
        return text.format(new=self.counter, third=self.random.randrange(3))


@pytest.fixture
def source(
    extra_server: Callable[..., object], extra_instance: Callable[..., Instance]
) -> Instance:
    options = {"max_prepared_transactions": "20", "synchronous_commit": "on"}
    server = extra_server("histories", options=options)
    return extra_instance(4, server=server, master=True)


def play(source: Instance, seeds: range) -> Counter[str]:
    said: Counter[str] = Counter()
    for seed in seeds:
        source.execute(
            "DROP TABLE IF EXISTS other, elsewhere; TRUNCATE user_email_routing; "
            "CREATE TABLE other (LIKE user_email_routing INCLUDING ALL); "
            "CREATE TABLE elsewhere (number bigint)"
        )
        fill(source, rows=ROWS)
        fill(source, "other", ROWS)
        history = History(source, seed)
        history.play()
        said += history.said
    return said


def test_unchanged_histories(source: Instance) -> None:
    said = play(source, range(QUICK))
    assert min(said["unchanged"], said["truly changed"], said["derived"]) > 0


@pytest.mark.soak
@pytest.mark.parametrize("first", range(QUICK, QUICK + COUNT, SHARE))
def test_many_unchanged_histories(source: Instance, first: int) -> None:
    said = play(source, range(first, first + SHARE))
    assert min(said["unchanged"], said["truly changed"]) > SHARE
    assert said["derived"] > SHARE / 2
