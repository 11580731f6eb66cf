"""PgBouncer in front of a test's server, as operators run it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import psycopg

from localfleet.processes.child_process import spawn
from localfleet.servers.account import server_account
from localfleet.servers.server import HOST, Server, free_port

PROGRAM = which("pgbouncer") or next(
    (path for path in ("/usr/sbin/pgbouncer",) if Path(path).exists()), None
)


@contextmanager
def pooler(
    root: Path,
    server: Server,
    users: Mapping[str, str],
    *,
    mode: str = "transaction",
    size: int = 2,
    ignore: str = "",
    port: int | None = None,
) -> Iterator[int]:
    """Run PgBouncer before a server; yields its port.

    users: passwords by role. mode: of pooling. size: server sessions per role and database.
    ignore: its ignore_startup_parameters. port: that of one before; default: a free one.
    """
    assert PROGRAM is not None
    port, account = port or free_port(), server_account()
    folder = root / f"pooler-{port}"
    folder.mkdir(mode=0o700, exist_ok=True)
    names = folder / "users.txt"
    names.write_text("".join(f'"{name}" "{password}"\n' for name, password in users.items()))
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={server.host} port={server.port}\n"
        f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {names}\npool_mode = {mode}\n"
        f"default_pool_size = {size}\nignore_startup_parameters = {ignore}\n"
        # So that the sessions of the server change hands as often as they can.
        "server_round_robin = 1\n"
    )
    for path in (folder, names, config):
        if account is not None:
            account.own(path)
    with (folder / "log").open("ab") as log:
        process = spawn(
            [PROGRAM, config],
            death_signal=signal.SIGKILL,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin"},
            output=log,
            account=account,
        )
        try:
            _wait(process, port, folder / "log")
            yield port
        finally:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(host=HOST, port=port, user="nobody", dbname="x", connect_timeout=2)
        except psycopg.OperationalError as error:
            if "refused" not in str(error):
                return
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
