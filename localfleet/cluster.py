"""The data folder of one server: made by initdb, never copied, so that each has an identity."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path

from localfleet.account import Account
from localfleet.errors import FleetError
from localfleet.process import as_account

SUPERUSER = "postgres"
ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


def make(folder: Path, bin_folder: Path, password_file: Path, account: Account | None) -> None:
    """Run initdb into `folder/data` with a random password for the superuser.

    An interrupted attempt leaves no data folder, so that the next one starts afresh.
    """
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    write_private(password_file, secrets.token_urlsafe(24))
    readable = folder / "password"
    write_private(readable, password_file.read_text())
    if account:
        account.own(folder)
        account.own(readable)
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
    done = subprocess.run(
        [str(bin_folder / "initdb"), *arguments],
        check=False,
        cwd=data.parent,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        **as_account(account),
    )
    if done.returncode:
        raise FleetError(f"initdb in {data.parent} failed: {done.stderr.strip()}")
