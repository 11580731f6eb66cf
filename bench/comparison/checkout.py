"""A commit in a git work tree of its own, and the Python that has what it requires."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.progress import note
from localfleet.folders import SHARED

REQUIREMENTS = "requirements-dev.txt"
BENCH = "bench/__main__.py"


@dataclass(frozen=True)
class Checkout:
    """A tree of files and the interpreter that runs them."""

    folder: Path
    python: Path


def resolve(repository: Path, name: str) -> str:
    """Return the full id of a commit that has a benchmark; raise BenchError otherwise."""
    found = _git(repository, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    commit = found.stdout.strip()
    if found.returncode:
        raise BenchError(f"There is no commit {name!r} in {repository}: {_last_line(found)}")
    for path in (BENCH, REQUIREMENTS):
        if _git(repository, "cat-file", "-e", f"{commit}:{path}").returncode:
            raise BenchError(f"Commit {commit[:12]} has no {path}: choose one with a benchmark.")
    return commit


@contextmanager
def checked_out(repository: Path, commit: str, cache: Path) -> Iterator[Checkout]:
    """The commit below `cache`, removed at the end with all that it kept on this machine."""
    tree = cache / "tree"
    _remove(repository, tree)  # of a comparison that was killed
    try:
        # No hook: a checkout for a measurement is nobody's working copy.
        added = _git(
            repository,
            "-c",
            "core.hooksPath=/dev/null",
            "worktree",
            "add",
            "--detach",
            tree,
            commit,
        )
        if added.returncode:
            raise BenchError(f"Commit {commit[:12]} can't be checked out: {_last_line(added)}")
        yield Checkout(tree, _python(repository, tree, cache))
    finally:
        _remove(repository, tree)


def _python(repository: Path, tree: Path, cache: Path) -> Path:
    """The interpreter that runs us where the commit requires the same, else one of its own."""
    wanted = (tree / REQUIREMENTS).read_bytes()
    with suppress(FileNotFoundError):
        if wanted == (repository / REQUIREMENTS).read_bytes():
            return Path(sys.executable)
    folder = cache / f"venv-{hashlib.sha256(wanted).hexdigest()[:12]}"
    done, python = folder / REQUIREMENTS, folder / "bin" / "python"
    # The copied file is the sign that an install came to its end.
    if not done.exists():
        note("building a virtual environment for the base (once, about a minute)")
        _install([sys.executable, "-m", "venv", "--clear", folder])
        pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--require-hashes"]
        _install([*pip, "-r", tree / REQUIREMENTS])
        done.write_bytes(wanted)
    return python


def _remove(repository: Path, tree: Path) -> None:
    _remove_fleet_of(tree)
    shutil.rmtree(tree, ignore_errors=True)
    _git(repository, "worktree", "prune")


def _remove_fleet_of(tree: Path) -> None:
    """Remove what the tree's servers left: for root, `.local` links to a folder elsewhere."""
    link = tree / ".local"
    with suppress(OSError):
        folder = link.readlink()
        if folder.parent == SHARED and folder.name.startswith("rainbo-"):
            shutil.rmtree(folder, ignore_errors=True)


def _git(repository: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    # Inside a git hook, variables would point git elsewhere.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            ["git", *words], cwd=repository, env=env, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise BenchError("A comparison needs git, which isn't installed.") from None


def _install(words: Sequence[str | Path]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"The base's virtual environment can't be built: {_last_line(done)}")


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {done.returncode}"
