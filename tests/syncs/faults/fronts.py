"""Instances that are reached in other ways than RAINBO's own: what the long loop draws from.

Directly, through a pooler, as a hot standby, and on a server that speaks German. The first three
are one server.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from localfleet.folders import local_root, scratch_root
from localfleet.servers import binaries, data_folder
from localfleet.servers.server import Server
from tests import pooler
from tests.fleet_fixtures import needs
from tests.instances import END_SESSIONS, Instance
from tests.standby import catch_up, standby
from tests.syncs.faults.names import TENANTS
from tests.syncs.faults.stage import Stage, until

MET = """
    SELECT 1 FROM syncs_runtarget AS part JOIN syncs_syncrun AS run ON run.id = part.run_id
     WHERE run.sync = %s AND run.slot = %s AND part.state = 'failed'"""
PUBLISHED = "SELECT name FROM tenant_master WHERE instance_id = %s ORDER BY name"

Fault = Callable[[datetime], object]


class Fronts:
    """direct, behind, replica, german: the instances 1 to 4 of RAINBO."""

    def __init__(self, root: Path, open_: ExitStack, german_bin: Path) -> None:
        self._root = root
        self._added = 0
        primary = Server(root, "primary", durable=False)
        german = Server(
            root,
            "german",
            bin_folder=german_bin,
            durable=False,
            options={"lc_messages": "C.UTF-8"},
        )
        for server in (primary, german):
            open_.callback(server.stop)
            server.start()
        self.direct = Instance.create(primary, 1)
        self.german = Instance.create(german, 4)
        self.direct.execute("GRANT pg_read_all_stats TO rainbo")
        self.replica = open_.enter_context(standby(root, primary))
        self._poolers = open_.enter_context(ExitStack())
        self.port = self._start_pooler()
        self._outages: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "pooler": (self._poolers.close, lambda: self._start_pooler(self.port)),
            "standby": (self.replica.stop, self.replica.start),
            "German server": (german.stop, german.start),
        }

    def register(self, stage: Stage) -> None:
        """Let an installation know the four."""
        ports = {1: self.direct.port, 2: self.port, 3: self.replica.port, 4: self.german.port}
        for number, port in ports.items():
            at = self.german if number == 4 else self.direct
            copy = [f"--copy-of={number - 1}"] if number in (2, 3) else []
            done = stage.run(
                *("add_instance", f"--id={number}", f"--name=front{number}", f"--host={at.host}"),
                *(f"--port={port}", f"--database={at.database}", f"--user={at.user}", *copy),
                *("--ssl-mode=disable", "--no-ghosts", "--password-env=PASSWORD_THERE"),
                PASSWORD_THERE=at.rainbo_password,
            )
            assert done.returncode == 0, done.stdout + done.stderr

    def draw(self, stage: Stage, chance: random.Random) -> tuple[str, Fault]:
        """Add a tenant everywhere, and let one of the ways to the instances fail.

        Returns what fails, and what to call once a slot is due: it ends the outage at once, or when
        a run has met it, so that only a retry can succeed.
        """
        self._added += 1
        for at in (self.direct, self.german):
            at.add_tenant(self._added, f"Tenant {self._added:04} {chance.random()}")
        catch_up(self.direct.server, self.replica)
        name = chance.choice(["sessions", *sorted(self._outages)])
        if name == "sessions":
            return "sessions ended", lambda _: self.direct.execute(END_SESSIONS)
        stop, start = self._outages[name]
        stop()
        if chance.random() < 0.5:
            return f"{name} restarted", lambda _: start()

        def end(slot: datetime) -> None:
            until(lambda: stage.query(MET, TENANTS, slot), 40)
            start()

        return f"{name} away until a run has met it", end

    def check(self, stage: Stage) -> None:
        """What is published of each is what it has, and no error was other than a sentence."""
        for number in (1, 2, 3, 4):
            at = self.german if number == 4 else self.direct
            there = at.execute("SELECT name FROM tenants ORDER BY name")
            assert stage.query(PUBLISHED, number) == there, number
        errors = stage.query(
            "SELECT part.error FROM syncs_runtarget AS part JOIN syncs_syncrun AS run "
            "ON run.id = part.run_id WHERE run.sync = %s "
            "AND (part.error ~ 'unexpected|Traceback' OR strpos(part.error, %s) > 0)",
            TENANTS,
            self.direct.rainbo_password,
        )
        assert not errors

    def _start_pooler(self, port: int | None = None) -> int:
        users = {self.direct.user: self.direct.rainbo_password}
        running = pooler.pooler(self._root, self.direct.server, users, port=port)
        return self._poolers.enter_context(running)


@contextmanager
def fronts() -> Iterator[Fronts]:
    needs(pooler.PROGRAM, "PgBouncer is not installed: apt install pgbouncer")
    german_bin = needs(binaries.debian(), "Debian's PostgreSQL is not installed")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setitem(data_folder.ENVIRONMENT, "LANGUAGE", "de")  # counts for every locale but C
        yield Fronts(stack.enter_context(scratch_root(local_root())), stack, german_bin)
