"""`make release-check`: whether the present commit can be released.

The notes name the version; in a fresh clone both commands of the README work; and a demo of the
version before, with its data, goes on with this one. Takes about half an hour. Exit code 1 names
what failed.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from common.version import version
from localfleet.folders import CHECKOUT
from localfleet.servers.server import free_port

SERVED = 600
HEALTHY = 300
COUNTED = (
    "from django.contrib.auth.models import User; from syncs.models import SyncRun; "
    "from tenants.models import GhostUser, RdsInstance, Tenant, UserRoute; "
    "print([m.objects.count() for m in (User, RdsInstance, Tenant, UserRoute, GhostUser)], "
    "list(SyncRun.objects.order_by('pk').values_list('pk', 'sync')[:5]))"
)


class Failed(Exception):
    """What keeps the commit from being released, as a sentence."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make release-check")
    parser.add_argument("--from", dest="before", help="a commit instead of the last tag")
    parser.add_argument("--only", choices=["notes", "clone", "upgrade"], help="one of the parts")
    parser.add_argument("--tests", default="", help="what `make test` runs; default: all tests")
    given = parser.parse_args()
    try:
        if given.only in (None, "notes"):
            problems = notes(
                version(), (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), tags()
            )
            if problems:
                raise Failed("; ".join(problems))
        if given.only in (None, "clone"):
            fresh_clone(given.tests)
        if given.only in (None, "upgrade"):
            upgrade(given.before or last_tag())
    except Failed as error:
        print(f"Not to be released: {error}", file=sys.stderr)
        return 1
    if given.only or given.tests:
        print("What was tried works; without --only and --tests, all of it is tried.")
    else:
        print(f"{version()} can be released: git tag --annotate v{version()}")
    return 0


def notes(number: str, changelog: str, tagged: dict[str, bool]) -> list[str]:
    """What is wrong with the version, the notes and the tags.

    tagged: each tag of a version, and whether it is the present commit.
    """
    problems = []
    if not re.fullmatch(r"\d+\.\d+\.\d+", number):
        problems.append(f"pyproject.toml has the version {number!r}, which is none like 1.2.3")
    if tagged.get(f"v{number}") is False:
        problems.append(f"v{number} is the tag of another commit: raise the version")
    sections = re.findall(r"^## (\S+)(?: – (\S+))?$", changelog, re.MULTILINE)
    names = [name for name, _ in sections if name != "Unreleased"]
    if not names or names[0] != number:
        problems.append(f"CHANGELOG.md has no section `## {number} – {date.today()}` on top")  # noqa: DTZ011
    elif not re.fullmatch(r"\d{4}-\d\d-\d\d", dict(sections)[number]):
        problems.append(f"CHANGELOG.md has no date at {number}")
    left = changelog.partition("## Unreleased")[2].partition("\n## ")[0]
    if left.strip():
        problems.append("CHANGELOG.md has lines in Unreleased")
    return problems


def git(*words: str) -> str:
    return subprocess.run(
        ["git", *words], cwd=CHECKOUT, capture_output=True, text=True, check=True
    ).stdout.strip()


def tags() -> dict[str, bool]:
    here = git("rev-parse", "HEAD")
    return {
        tag: git("rev-parse", f"{tag}^{{commit}}") == here
        for tag in git("tag", "--list", "v*").split()
    }


def last_tag() -> str:
    """The newest tag before the present commit."""
    done = subprocess.run(
        ["git", "describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed("there is no tag of an earlier version: name a commit, FROM=commit")
    return done.stdout.strip()


@contextmanager
def clone(commit: str) -> Iterator[Path]:
    """A fresh clone; what its demo left outside goes with it."""
    with tempfile.TemporaryDirectory(prefix="rainbo-release-") as folder:
        subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), folder], check=True)
        subprocess.run(["git", "checkout", "--quiet", "--detach", commit], cwd=folder, check=True)
        try:
            yield Path(folder)
        finally:
            make(Path(folder), "clean")


def make(folder: Path, *words: str) -> tuple[int, str]:
    env = {name: value for name, value in os.environ.items() if not _of_this_checkout(name)}
    done = subprocess.run(
        ["make", *words],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def _of_this_checkout(name: str) -> bool:
    """What this `make` and its settings handed on: its ARGS are not those of the clone's `make`."""
    settings = ("RAINBO_", "MAKE", "PIP_CACHE", "PYTEST_")
    return name.startswith(settings) or name in {"MFLAGS", "ARGS", "FROM", "SEED", "PORT"}


@contextmanager
def demo(folder: Path) -> Iterator[None]:
    """`make demo`, once it serves; Ctrl-C ends it."""
    port = free_port()
    log = folder / ".demo.log"
    env = {name: value for name, value in os.environ.items() if not _of_this_checkout(name)}
    with (
        log.open("w") as said,
        subprocess.Popen(
            ["make", "demo", f"PORT={port}"],
            cwd=folder,
            env=env,
            stdout=said,
            stderr=said,
            start_new_session=True,
        ) as process,
    ):
        try:
            wait(lambda: process.poll() is not None or serves(port), SERVED, "make demo serves")
            if process.poll() is not None:
                raise Failed(f"make demo ended: {log.read_text()[-2000:]}")
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(60)


def serves(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait(happened: object, seconds: float, what: str) -> None:
    assert callable(happened)
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} seconds: {what}")
        time.sleep(1)


def manage(folder: Path, line: str) -> str:
    code, said = make(folder, "manage", f"CMD={line}")
    if code:
        raise Failed(f"manage.py {line}: {said[-2000:]}")
    return said


def all_is_well(folder: Path) -> None:
    """Every sync confirms, the caches equal their sources, no migration is missing."""
    wait(
        lambda: make(folder, "manage", "CMD=rainbo_status --check")[0] == 0,
        HEALTHY,
        "rainbo_status --check",
    )
    for line in ("migrate --check", "sync_all --force", "verify_cache", "worker_health"):
        manage(folder, line)


def fresh_clone(tests: str) -> None:
    """Both commands of the README."""
    with clone("HEAD") as folder:
        began = time.monotonic()
        with demo(folder):
            print(f"make demo serves after {time.monotonic() - began:.0f} s", flush=True)
            all_is_well(folder)
        print("make test", flush=True)
        code, said = make(folder, "test", f"ARGS={tests}")
        print(said[-1000:], flush=True)
        if code:
            raise Failed("make test failed in a fresh clone")


def upgrade(before: str) -> None:
    """The demo of an earlier version goes on with this one, with its data."""
    with clone(before) as folder:
        print(f"{before}: make demo", flush=True)
        with demo(folder):
            wait(
                lambda: make(folder, "manage", "CMD=rainbo_status --check")[0] == 0,
                HEALTHY,
                f"rainbo_status --check of {before}",
            )
            kept = counted(folder)
        subprocess.run(
            ["git", "checkout", "--quiet", "--detach", git("rev-parse", "HEAD")],
            cwd=folder,
            check=True,
        )
        print(f"make demo of this commit, on the data of {before}", flush=True)
        with demo(folder):
            all_is_well(folder)
            now = counted(folder)
        if now != kept:
            raise Failed(f"{before} had {kept}, and after the upgrade there is {now}")


def counted(folder: Path) -> str:
    return manage(folder, f'shell -c "{COUNTED}"').strip().splitlines()[-1]


if __name__ == "__main__":
    sys.exit(main())
