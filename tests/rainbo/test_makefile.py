"""`make` on machines where something is missing: one clear sentence, no half-made environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localfleet.folders import SHARED, local_root

ROOT = Path(__file__).parents[2]
TOOLS = (
    "bash",
    "cmp",
    "cp",
    "grep",
    "mkdir",
    "rm",
    "sed",
    "sh",
    "find",
    "readlink",
    "printf",
    "sha256sum",
    "cut",
)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder with the Makefile and a `bin` that holds tools, but no python3."""
    (tmp_path / "bin").mkdir()
    for tool in ("make", *TOOLS):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or pytest.fail(f"no {tool}"))
    for name in ("Makefile", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(machine: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [machine / "bin" / "make", *args],
        cwd=machine,
        env={"PATH": str(machine / "bin")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def install_python(machine: Path, script: str) -> None:
    path = machine / "bin" / "python3"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def refusal(machine: Path) -> str:
    """The one sentence of ours, next to progress and make's own closing line."""
    done = make(machine, "test")
    assert done.returncode == 2
    assert done.stdout == ""
    assert not (machine / ".venv").exists()
    lines = done.stderr.splitlines()
    (sentence,) = [line for line in lines if not line.startswith(("Building .venv", "make: ***"))]
    return sentence


def test_make_alone_lists_the_words(machine: Path) -> None:
    done = make(machine)
    assert done.returncode == 0
    args = [line.split()[1] for line in done.stdout.splitlines()]
    assert {"demo", "test", "lint", "format", "lock", "manage", "clean"} <= set(args)


def test_without_python(machine: Path) -> None:
    assert "'python3' does not run" in refusal(machine)


def test_with_an_old_python(machine: Path) -> None:
    install_python(machine, 'case "$2" in *exit*) exit 1;; *print*) echo 3.10;; esac')
    assert "needs Python 3.11 or newer, and 'python3' is 3.10" in refusal(machine)


@pytest.mark.parametrize("module", ["ensurepip", "venv"])
def test_without_what_makes_environments(machine: Path, module: str) -> None:
    install_python(machine, f'case "$2" in *{module}*) exit 1;; esac; exec {sys.executable} "$@"')
    assert "install its venv package" in refusal(machine)


def test_when_the_environment_cannot_be_made(machine: Path) -> None:
    install_python(machine, f'case "$1" in -m) exit 1;; esac; exec {sys.executable} "$@"')
    assert "could not make .venv" in refusal(machine)


def test_an_environment_whose_python_is_gone_is_made_anew(machine: Path) -> None:
    (machine / ".venv").mkdir()
    shutil.copy(machine / "requirements-dev.txt", machine / ".venv")
    done = make(machine, "test")
    assert "'python3' does not run" in done.stderr


def test_an_environment_that_is_ready_is_used_as_it_is(machine: Path) -> None:
    python = machine / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    shutil.copy(machine / "requirements-dev.txt", machine / ".venv")
    started = make(machine, "test", "ARGS=-k word").stdout.splitlines()[-1]
    assert started == "-m pytest -n 4 --dist loadfile -k word"


def test_a_management_command_reaches_the_demo_as_it_was_written(machine: Path) -> None:
    python = machine / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$DEMO_COMMAND"\n', encoding="utf-8")
    python.chmod(0o755)
    shutil.copy(machine / "requirements-dev.txt", machine / ".venv")
    line = """find_user o'brien@x.example --note "a $HOME; b" """
    assert make(machine, "manage", f"CMD={line}").stdout.splitlines()[-1] == line
    assert make(machine, "manage", "CMD=find_user $(shell touch ran)").returncode == 0
    assert not (machine / "ran").exists()


@pytest.fixture
def of_another() -> Iterator[Path]:
    """The data of another checkout's demo, where root keeps it."""
    with tempfile.TemporaryDirectory(prefix="rainbo-", dir=SHARED) as folder:
        yield Path(folder)


def test_clean_leaves_the_data_of_the_checkout_that_this_one_was_copied_from(
    machine: Path, of_another: Path
) -> None:
    (machine / ".local").symlink_to(of_another)
    (machine / ".cache").mkdir()
    make(machine, "clean")
    assert of_another.is_dir()
    assert not (machine / ".cache").exists()
    assert not os.path.lexists(machine / ".local")


def test_clean_removes_the_data_of_this_checkout(machine: Path) -> None:
    root = local_root(machine.resolve())
    assert root.is_dir()
    make(machine, "clean")
    assert not root.exists()
    assert not os.path.lexists(machine / ".local")
