"""The data folder of one server: made by initdb, never copied, so that each has an identity."""

from __future__ import annotations

import secrets
import shutil
import signal
import tempfile
from pathlib import Path

from localfleet.errors import FleetError
from localfleet.processes.child_process import spawn
from localfleet.servers.account import Account

SUPERUSER = "postgres"
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


def make(folder: Path, bin_folder: Path, password_file: Path, account: Account | None) -> None:
    """Run initdb into `folder/data` with a random password for the superuser.

    An interrupted attempt leaves no data folder. The next one starts afresh in another folder,
    since the initdb of a killed process may still be at work for a moment.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    for former in folder.glob("unfinished-*"):
        shutil.rmtree(former, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder))
    write_private(password_file, secrets.token_urlsafe(24))
    readable = folder / "password"
    write_private(readable, password_file.read_text())
    if account:
        for path in (folder, unfinished, readable):
            account.own(path)
    _initdb(bin_folder, unfinished, readable, account)
    readable.unlink()
    unfinished.rename(folder / "data")


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only we can read, at no time readable by others."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _initdb(bin_folder: Path, data: Path, password_file: Path, account: Account | None) -> None:
    arguments = [
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]
    with tempfile.TemporaryFile() as output:
        initdb = spawn(
            [bin_folder / "initdb", *arguments],
            death_signal=signal.SIGKILL,
            cwd=data.parent,
            env=ENVIRONMENT,
            output=output,
            account=account,
        )
        if initdb.wait():
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
            raise FleetError(f"initdb in {data.parent} failed: {said}")
