"""What happens to a whole server, after which numbers of transactions are used again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localfleet.processes.child_process import spawn
from localfleet.servers import binaries, data_folder
from localfleet.servers.server import Server
from syncs.transfer import unchanged
from tests.children import until
from tests.instances import Instance
from tests.standby import catch_up, standby
from tests.tenants.routes.directory_views import compare, is_called_unchanged, see, snapshot
from tests.tenants.routes.test_unchanged import Drop, drop, fill, flushed

__all__ = ["drop"]

pytestmark = pytest.mark.soak  # servers are made, copied and broken

UPDATE = "UPDATE user_email_routing SET status = '{}' WHERE id = 7"
PASS_TIME = "SELECT pg_current_xact_id()"  # each takes a number

Extra = Callable[..., Instance]


@pytest.fixture
def source(extra_instance: Extra) -> Instance:
    source = extra_instance(4, master=True)
    fill(source)
    return flushed(source)


def pass_time(source: Instance, transactions: int = 20) -> None:
    with source.connect() as session:
        for _ in range(transactions):
            session.execute(PASS_TIME)
    source.execute("SELECT pg_switch_wal(); CREATE TABLE passed (); SELECT pg_switch_wal()")


def test_another_start(source: Instance) -> None:
    before = see(source)
    source.server.restart()
    assert not is_called_unchanged(source, before)
    assert is_called_unchanged(source, see(flushed(source)))


@pytest.mark.parametrize("dropped", [(), ("start",)])
def test_a_server_that_went_back(source: Instance, drop: Drop, dropped: tuple[str, ...]) -> None:
    """It is restored from a copy of its files, and the numbers of lost transactions are used."""
    drop(*dropped)
    server = source.server
    server.stop()
    copy = server.folder / "copy"
    subprocess.run(["cp", "-a", server.data, copy], check=True)
    server.start()
    source.execute(UPDATE.format("lost"))
    before = see(flushed(source))
    assert before.is_on_disk
    server.stop()
    shutil.rmtree(server.data)
    copy.rename(server.data)
    server.start()
    why, _ = compare(source, before.earlier)
    assert why == ("the server went back in time" if dropped else DIFFERENT)
    source.execute(UPDATE.format("other"))
    pass_time(source)
    why, rows = compare(source, before.earlier)
    assert rows != before.rows
    assert bool(why) != bool(dropped)


DIFFERENT = "the table, its columns or its server are not what they were"


@pytest.mark.parametrize("dropped", [(), ("start",), ("timeline",), ("start", "timeline")])
def test_a_promoted_replica(
    source: Instance, tmp_path: Path, drop: Drop, dropped: tuple[str, ...]
) -> None:
    """It has not received the last transaction. Either mark alone is enough."""
    drop(*dropped)
    root = source.server.folder.parent
    with standby(root, source.server, "replica") as replica:
        catch_up(source.server, replica)
        assert see(replace(source, server=replica)).why == "the server is a replica"
        replica.stop()
        source.execute(UPDATE.format("lost"))
        before = see(flushed(source))
        source.server.kill()
        replica.start()
        promoted = replace(source, server=replica)
        promoted.execute("SELECT pg_promote()")
        promoted.execute(UPDATE.format("other"))
        pass_time(promoted)
        why, rows = compare(promoted, before.earlier)
        assert rows != before.rows
        assert bool(why) != (len(dropped) == 2)


def test_a_crash_that_loses_commits(
    extra_server: Callable[..., Server], extra_instance: Extra
) -> None:
    """The server process lives on; the number of the lost transaction is used again."""
    options = {"synchronous_commit": "off", "wal_writer_delay": "10s", "autovacuum": "off"}
    source = extra_instance(4, server=extra_server("async", options=options), master=True)
    fill(source)
    source.execute("CHECKPOINT")
    flushed(source)
    with source.connect() as victim:
        victim.execute(UPDATE.format("lost"))
        before = see(source)
        os.kill(victim.info.backend_pid, signal.SIGKILL)
    assert not before.is_on_disk
    until(lambda: _answers(source))
    source.execute(UPDATE.format("other"))
    pass_time(source)
    why, rows = compare(source, before.earlier)
    assert (why, rows != before.rows) == ("", True)  # were it remembered


def _answers(source: Instance) -> bool:
    try:
        return source.execute("SELECT true") == [(True,)]
    except Exception:  # noqa: BLE001 (whatever a server says that is about to start again)
        return False


def test_numbers_beyond_32_bits(source: Instance) -> None:
    """The epoch counts, of which rows have nothing."""
    server = source.server
    server.stop()
    with (server.folder / "resetwal.log").open("w+b") as output:
        process = spawn(
            [binaries.for_servers() / "pg_resetwal", "--epoch=5", server.data],
            death_signal=signal.SIGKILL,
            cwd=server.folder,
            env=data_folder.ENVIRONMENT,
            output=output,
            account=server.account,
        )
        assert process.wait() == 0
    server.start()
    before = see(flushed(source))
    assert before.view
    assert before.view.xmin > 5 << 32
    assert is_called_unchanged(source, before)
    source.execute(UPDATE.format("x"))
    assert not is_called_unchanged(source, before)
    with snapshot(source) as session:
        view = replace(before.view, xmax=before.view.xmax + unchanged.FAR)
        assert before.earlier.why_not(view) == "too many transactions came between"
        assert session.execute("SELECT 1").fetchone() == (1,)
