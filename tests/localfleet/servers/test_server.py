from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from localfleet.errors import FleetError
from localfleet.folders import local_root, scratch_root
from localfleet.processes import process_table
from localfleet.servers import orphans
from localfleet.servers.server import Server

RUNNER = """
import os, sys, threading
from pathlib import Path
from localfleet.servers.server import Server
server = Server(Path(sys.argv[1]), "one", durable=False)
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
print(server.pid, flush=True)
sys.stdin.read()
"""


def _runner(root: Path) -> tuple[subprocess.Popen[str], int]:
    runner = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert runner.stdout
    return runner, int(runner.stdout.readline())


@pytest.fixture
def root() -> Iterator[Path]:
    with scratch_root(local_root()) as folder:
        yield folder


def test_server_lets_in_by_password_only(extra_server: Callable[..., Server]) -> None:
    server = extra_server()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect(password="wrong")
    with server.connect() as connection:
        rows = connection.execute("SELECT type, address, auth_method FROM pg_hba_file_rules")
        assert {row[2] for row in rows} == {"scram-sha-256"}


def test_server_listens_on_loopback_only(extra_server: Callable[..., Server]) -> None:
    with extra_server().connect() as connection:
        query = "SELECT current_setting('listen_addresses'), current_setting(%s)"
        row = connection.execute(query, ["unix_socket_directories"]).fetchone()
    assert row == ("127.0.0.1", "")


def test_options_reach_the_server(extra_server: Callable[..., Server]) -> None:
    with extra_server(options={"log_statement": "ddl"}).connect() as connection:
        assert connection.execute("SHOW log_statement").fetchone() == ("ddl",)


def test_rows_outlive_kill_and_restart(extra_server: Callable[..., Server]) -> None:
    server = extra_server()
    with server.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS id")
        connection.execute("CHECKPOINT")
    server.kill()
    assert not server.running
    server.start()
    server.restart()
    with server.connect() as connection:
        assert connection.execute("SELECT id FROM kept").fetchone() == (1,)


def test_taken_port_is_replaced(root: Path, extra_server: Callable[..., Server]) -> None:
    taken = extra_server().port
    server = Server(root, "second", durable=False)
    (root / "second.port").write_text(str(taken))
    server.start()
    try:
        assert server.port != taken
    finally:
        server.stop()


def test_wrong_option_is_named(extra_server: Callable[..., Server]) -> None:
    with pytest.raises(FleetError, match="no_such_setting"):
        extra_server(options={"no_such_setting": "1"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_server_ends_with_its_runner(root: Path, number: signal.Signals) -> None:
    runner, server = _runner(root)
    assert process_table.program(server) == "postgres"
    with runner:
        runner.send_signal(number)
    assert process_table.wait_gone(server, seconds=20)


def test_orphan_is_stopped_by_the_next_start(root: Path) -> None:
    former, server = (Server(root, "one", durable=False) for _ in range(2))
    former.start()
    orphan = former.pid
    server.start()
    try:
        assert orphan
        assert not former.running
        assert server.running
    finally:
        server.stop()


def test_process_that_is_no_server_of_this_data_is_left_alone(root: Path) -> None:
    data = root / "data"
    data.mkdir()
    with subprocess.Popen(["sleep", "60"], cwd=data) as bystander:
        (data / "postmaster.pid").write_text(f"{bystander.pid}\n")
        orphans.stop(data)
        assert bystander.poll() is None
        bystander.kill()
    assert not (data / "postmaster.pid").exists()
