"""A Debian machine of its own, without a container runtime: Debian's mirror, and namespaces.

Nothing boots in it. `systemctl` is a program of ours that does what systemd would do with our
units: it starts ExecStart as User, in WorkingDirectory, with what EnvironmentFile says. Everything
in it dies with its first process.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.children import ROOT
from tests.fleet_fixtures import needs

SUITE = "bookworm"
HOLDER = """
set -e
mount --make-rprivate /
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -t tmpfs tmpfs "$1/run"
ip link set lo up 2>/dev/null || true
echo ready
exec sleep infinity
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CAS = "/srv/cas.pem"
SYSTEMCTL = (ROOT / "tests" / "deploy" / "systemctl.sh").read_text(encoding="utf-8")


class Machine:
    """root: where its files are. pid: of the process whose namespaces it is."""

    def __init__(self, root: Path, pid: int) -> None:
        self.root = root
        self.pid = pid

    def run(
        self, script: str, *, network: bool = False, seconds: float = 600, **env: str
    ) -> tuple[int, str]:
        """Run a script of bash in it as root; its exit code and all that it said.

        network: it reaches Debian's and Python's registries, and nothing in the machine does.
        """
        entered = ["nsenter", "--target", str(self.pid), "--mount", "--pid"]
        alone = [] if network else ["--net"]
        done = subprocess.run(
            [*entered, *alone, "chroot", str(self.root), "/bin/bash", "-eu", "-o", "pipefail"],
            input=script,
            env={"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "PIP_CERT": CAS} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.returncode, done.stdout

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        there = self.root / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text, encoding="utf-8")
        there.chmod(mode)


def debian_root(folder: Path) -> None:
    """The smallest Debian, from the mirror that this machine uses."""
    mmdebstrap = needs(shutil.which("mmdebstrap"), "mmdebstrap is not installed: apt install it")
    subprocess.run(
        [mmdebstrap, "--quiet", "--variant=minbase", "--mode=root", SUITE, str(folder)],
        check=True,
        timeout=600,
    )


@contextmanager
def machine() -> Iterator[Machine]:
    """A machine with nothing but Debian's essential packages."""
    needs(os.geteuid() == 0 or None, "only root makes a machine of its own")
    with tempfile.TemporaryDirectory(prefix="rainbo-machine-", dir="/var/tmp") as folder:
        root = Path(folder)
        debian_root(root)
        resolver = root / "etc" / "resolv.conf"
        resolver.unlink(missing_ok=True)
        shutil.copy("/etc/resolv.conf", resolver)
        spaces = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child"]
        with subprocess.Popen(
            [*spaces, "sh", "-c", HOLDER, "sh", str(root)], stdout=subprocess.PIPE, text=True
        ) as outer:
            try:
                assert outer.stdout is not None
                assert outer.stdout.readline() == "ready\n"
                children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text()
                made = Machine(root, int(children.split()[0]))
                made.write("/usr/local/sbin/systemctl", SYSTEMCTL, 0o755)
                # Of the machine that the tests run on, whose registries may have a CA of its own
                made.write(CAS, Path(ssl.get_default_verify_paths().cafile or "").read_text())
                yield made
            finally:
                outer.send_signal(signal.SIGKILL)


def repository(folder: Path, tag: str) -> None:
    """The working tree as a repository with one tagged commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        source, copy = ROOT / name, folder / name
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, copy)
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        [*who, "commit", "-qm", tag],
        ["tag", tag],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
