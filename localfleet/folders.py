"""Where the local fleet keeps its files: `.local` in the checkout.

Servers of root run as `nobody`, who might be unable to enter the checkout; then `.local` is a link
to a folder under /var/tmp that is named after the checkout's path.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from localfleet.errors import FleetError

CHECKOUT = Path(__file__).resolve().parent.parent
SHARED = Path("/var/tmp")  # noqa: S108 - owner and kind of what we make there are checked


def local_root(checkout: Path = CHECKOUT) -> Path:
    """The folder for everything that demo and tests keep; made when it isn't there."""
    link = checkout / ".local"
    root = _root_for_superuser(checkout) if os.geteuid() == 0 else link
    _refuse_foreign(link)
    _make(root)
    if root != link and not link.is_symlink():
        link.symlink_to(root)
    return root


def _root_for_superuser(checkout: Path) -> Path:
    digest = hashlib.sha256(os.fsencode(checkout)).hexdigest()[:12]
    return SHARED / f"rainbo-{digest}"


def _make(root: Path) -> None:
    try:
        root.mkdir(mode=0o711, exist_ok=True)
    except FileExistsError:
        raise FleetError(f"{root} is in the way: it is not a folder. Remove it.") from None
    except OSError as error:
        raise FleetError(f"Can't make {root}: {error.strerror}.") from error
    if root.is_symlink():
        raise FleetError(f"{root} is a link where a folder is expected: remove it.")
    _refuse_foreign(root)
    root.chmod(0o711)


def _refuse_foreign(path: Path) -> None:
    """Two users can't share one checkout's fleet: its files belong to the first of them."""
    try:
        owner = path.lstat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        name = _user_name(owner)
        raise FleetError(
            f"{path} belongs to {name}, who ran the demo or the tests of this checkout before: "
            f"run this as {name}, or run `make clean` as {name} first."
        )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


@contextlib.contextmanager
def locked(path: Path, refusal: str | None = None) -> Iterator[IO[str]]:
    """Hold the lock file; when another process has it, wait, or raise `refusal` if given."""
    with path.open("a+", encoding="utf-8") as file:
        path.chmod(0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError:
            raise FleetError(refusal or "") from None
        yield file


@contextlib.contextmanager
def scratch_root(root: Path) -> Iterator[Path]:
    """A folder for this process alone, removed at the end; removes those of dead processes."""
    with contextlib.ExitStack() as stack:
        with locked(root / "scratch.lock"):
            _remove_abandoned(root)
            folder = Path(tempfile.mkdtemp(prefix="scratch-", dir=root))
            folder.chmod(0o711)
            stack.enter_context(locked(folder / "lock"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob("scratch-*"):
        with (
            contextlib.suppress(FleetError, FileNotFoundError),  # in use, or gone just now
            locked(folder / "lock", refusal="in use"),
        ):
            shutil.rmtree(folder, ignore_errors=True)
