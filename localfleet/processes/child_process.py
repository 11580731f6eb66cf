"""Child processes that don't outlive us, and process facts."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from signal import Signals
from typing import IO, TypedDict

from localfleet.servers.account import Account

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forker")


def spawn(
    args: Sequence[str | Path],
    *,
    death_signal: Signals,
    cwd: Path,
    env: Mapping[str, str],
    output: IO[bytes] | int | None = None,
    account: Account | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child, in a session of its own, that gets `death_signal` when this process dies.

    The kernel ties that signal to the forking *thread*, so that one thread, which lives as long
    as the process, forks all children.
    """

    def fork() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            args,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=partial(_die_with_parent, death_signal, os.getpid()),
            **as_account(account),
        )

    return _forker.submit(fork).result()


class RunAs(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[str | int]


def as_account(account: Account | None) -> RunAs:
    """The arguments of `subprocess` that run a child under this account."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def _die_with_parent(death_signal: Signals, parent: int) -> None:
    # Runs in the child after it changed its user, which would have cleared the death signal.
    if sys.platform == "linux":
        _libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
