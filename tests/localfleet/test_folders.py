from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localfleet import folders
from localfleet.errors import FleetError
from localfleet.folders import local_root, locked, scratch_root

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change owners")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "SHARED", tmp_path)
    folder = tmp_path / "checkout"
    folder.mkdir()
    return folder


@pytest.fixture
def plain_users_checkout() -> Iterator[Path]:
    """A checkout of a plain user, and this process acting as that user; root becomes `nobody`."""
    user = os.geteuid() or pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        os.chown(folder, user, -1)
        before = os.geteuid()
        os.seteuid(user)
        try:
            yield Path(folder)
        finally:
            os.seteuid(before)


@needs_root
def test_root_gets_a_folder_that_nobody_can_enter(checkout: Path) -> None:
    root = local_root(checkout)
    assert root.parent == checkout.parent
    assert stat.S_IMODE(root.stat().st_mode) == 0o711
    assert (checkout / ".local").readlink() == root
    assert local_root(checkout) == root


@needs_root
def test_root_refuses_a_folder_planted_by_another_user(checkout: Path) -> None:
    root = local_root(checkout)
    os.chown(root, 12345, 12345)
    with pytest.raises(FleetError, match="belongs to user 12345"):
        local_root(checkout)


@needs_root
def test_root_refuses_a_planted_link(checkout: Path) -> None:
    root = local_root(checkout)
    root.rmdir()
    root.symlink_to(checkout)
    with pytest.raises(FleetError, match="is a link"):
        local_root(checkout)


@needs_root
def test_checkout_used_by_a_plain_user_is_refused(checkout: Path) -> None:
    (checkout / ".local").mkdir()
    os.chown(checkout / ".local", 12345, 12345)
    with pytest.raises(FleetError, match="run this as user 12345, or run `make clean`"):
        local_root(checkout)


def test_plain_user_keeps_all_in_the_checkout(plain_users_checkout: Path) -> None:
    assert local_root(plain_users_checkout) == plain_users_checkout / ".local"
    assert not (plain_users_checkout / ".local").is_symlink()


def test_scratch_folders_of_the_dead_are_removed(tmp_path: Path) -> None:
    abandoned = tmp_path / "scratch-abandoned"
    abandoned.mkdir()
    with scratch_root(tmp_path) as first, scratch_root(tmp_path) as second:
        assert first != second
        assert first.is_dir()
        assert not abandoned.exists()
    assert not list(tmp_path.glob("scratch-*"))


def test_lock_refuses_with_its_sentence(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock"),
        pytest.raises(FleetError, match="already running"),
        locked(tmp_path / "lock", refusal="already running"),
    ):
        pass
