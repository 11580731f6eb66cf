"""RAINBO's management commands, run against the demo as a person would run them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from localfleet.errors import FleetError
from localfleet.folders import CHECKOUT
from localfleet.processes.child_process import spawn

MANAGE = [sys.executable, str(CHECKOUT / "manage.py")]

WORD = re.compile(r"""(--[\w-]+=)?((?:"[^"]*"|'[^']*')+)(?!\S)|(\S+)""")
QUOTED = re.compile(r""""([^"]*)"|'([^']*)'""")


def words_of(line: str) -> list[str]:
    """The words of a line. Quotes hold a word together; within a word they are letters: o'brien."""
    return [
        found[3] or (found[1] or "") + QUOTED.sub(r"\1\2", found[2])
        for found in WORD.finditer(line)
    ]


def run(
    words: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    accepted: Collection[int] = (0,),
) -> int:
    """Run a command to its end, its output into the log; an unexpected exit code is an error."""
    with log.open("ab") as output:
        begin = output.tell()
        child = spawn(
            [*MANAGE, *words], death_signal=signal.SIGTERM, cwd=CHECKOUT, env=env, output=output
        )
        try:
            code = child.wait()
        except BaseException:
            _end(child)
            raise
    if code not in accepted:
        said = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()[-3:]
        reason = "\n".join([f"`manage.py {words[0]}` ended with {code}:", *said])
        raise FleetError(f"{reason}\nIts whole output is in {log}")
    return code


def answer(words: Sequence[str], env: Mapping[str, str]) -> str:
    """Run a command and return what it prints, which is for no log."""
    done = subprocess.run(
        [*MANAGE, *words], cwd=CHECKOUT, env=dict(env), capture_output=True, text=True
    )
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise FleetError(f"`manage.py {words[0]}` ended with {done.returncode}:\n{said}")
    return done.stdout.strip()


def become(words: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Turn this process into the command."""
    os.execve(sys.executable, [*MANAGE, *words], dict(env))  # noqa: S606 - no shell is wanted


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
