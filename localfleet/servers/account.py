"""The operating system account that PostgreSQL servers run under."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from localfleet.errors import FleetError


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)


def server_account() -> Account | None:
    """`nobody` when we are root (PostgreSQL refuses to run as root), else None: as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise FleetError(
            "PostgreSQL refuses to run as root and this system has no user 'nobody': "
            "run this as a plain user."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)
