"""A hot standby of a test's server, made by pg_basebackup as operators make one."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localfleet.processes.child_process import spawn
from localfleet.servers import binaries, data_folder
from localfleet.servers.data_folder import SUPERUSER
from localfleet.servers.server import Server
from tests.children import until


@contextmanager
def standby(root: Path, primary: Server, name: str = "standby") -> Iterator[Server]:
    """Run a standby that follows the primary; it ends with the block."""
    # After its primary was away it tries again at once; by default it rests for 5 seconds.
    server = Server(root, name, durable=False, options={"wal_retrieve_retry_interval": "100ms"})
    folder = root / name
    folder.mkdir(mode=0o700)
    data_folder.write_private(root / f"{name}.password", primary.password)
    if server.account is not None:
        server.account.own(folder)
    source = f"host={primary.host} port={primary.port} user={SUPERUSER} sslmode=disable"
    with tempfile.TemporaryFile() as output:
        process = spawn(
            [
                *(binaries.for_servers() / "pg_basebackup", "--pgdata", server.data),
                *("--dbname", source, "--checkpoint=fast", "--no-sync", "--write-recovery-conf"),
            ],
            death_signal=signal.SIGKILL,
            cwd=folder,
            env=data_folder.ENVIRONMENT | {"PGPASSWORD": primary.password},
            output=output,
            account=server.account,
        )
        if process.wait():
            output.seek(0)
            raise AssertionError(output.read().decode(errors="replace"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def catch_up(primary: Server, replica: Server) -> None:
    """Wait until the standby has replayed all that the primary has written."""
    with primary.connect() as source, replica.connect() as target:
        (wanted,) = source.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone() or (
            "0/0",
        )
        until(
            lambda: (
                target.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [wanted]).fetchone()
                == (True,)
            )
        )
