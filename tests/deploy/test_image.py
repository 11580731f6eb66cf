"""The image of deploy/container is built from Debian's own root, and its containers serve.

Without a registry of images: podman takes the root that mmdebstrap makes as the base. Containers
get the command, the environment and the restrictions that the compose file gives them.
"""

from __future__ import annotations

import json
import os
import resource
import secrets
import shutil
import ssl
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from localfleet.servers import databases
from localfleet.servers.server import Server, free_port
from tests.children import ROOT
from tests.deploy.scratch import CAS, debian_root, repository
from tests.fleet_fixtures import needs

pytestmark = [pytest.mark.machine, pytest.mark.timeout(1800)]
CONTAINER = ROOT / "deploy" / "container"
COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text(encoding="utf-8"))
SECRET = secrets.token_hex(16)  # of a file that no image has
PASSWORD = "of-the-image-0123456789"
BEHIND_PROXY = {"Host": "rainbo.example.com", "X-Forwarded-Proto": "https"}


FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# By default podman raises these limits, which not every machine allows.
PLACED = ["--network=host", f"--ulimit=nofile={FILES}:{FILES}", "--ulimit=nproc=4096:4096"]


class Podman:
    """Its own storage, below one folder; the containers share the network of this machine."""

    def __init__(self, folder: Path) -> None:
        program = needs(shutil.which("podman"), "podman is not installed: apt install podman")
        needs(shutil.which("runc"), "runc is not installed: apt install runc")
        needs(os.geteuid() == 0 or None, "only root builds an image from a root of Debian")
        self._program = [program, "--runtime=runc", "--cgroup-manager=cgroupfs"]
        storage = folder / "storage.conf"
        places = f'graphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
        storage.write_text(f'[storage]\ndriver = "overlay"\n{places}')
        self._env = os.environ | {"CONTAINERS_STORAGE_CONF": str(storage)}

    def __call__(self, *words: str | Path, check: bool = True, seconds: float = 120) -> str:
        done = subprocess.run(
            [*self._program, *words],
            env=self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout.strip() if done.returncode == 0 else ""

    def run(self, service: str, environment: Path, *words: str, port: int = 8000) -> str:
        """Start a service of the compose file as that says, on another port; its container."""
        given = COMPOSE["services"][service]
        restricted = ["--read-only", f"--tmpfs={given['tmpfs']}"]
        restricted += [f"--cap-drop={name}" for name in given["cap_drop"]]
        restricted += [f"--security-opt={option}" for option in given["security_opt"]]
        assert given["read_only"] is True
        placed = [*PLACED, f"--env-file={environment}"]
        command = given.get("command") or json.loads(
            self("inspect", "--format={{json .Config.Cmd}}", "localhost/rainbo")
        )
        return self("run", *words, *restricted, *placed, "localhost/rainbo", *_at(port, command))

    def healthy(self, service: str, container: str, port: int = 8000) -> bool:
        """Whether the service's own check of its health succeeds in the container."""
        word, *command = COMPOSE["services"][service]["healthcheck"]["test"]
        assert word == "CMD"
        return bool(
            self(
                "exec",
                container,
                "sh",
                "-c",
                '"$@" && echo well',
                "sh",
                *_at(port, command),
                check=False,
            )
        )


def _at(port: int, command: Sequence[str]) -> list[str]:
    return [word.replace(":8000", f":{port}") for word in command]


def until(happened: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """With the image `rainbo` of the working tree, from a root that mmdebstrap made."""
    folder = tmp_path_factory.mktemp("podman")
    program = Podman(folder)
    base = folder / "debian.tar"
    debian_root(base)
    checkout = folder / "checkout"
    checkout.mkdir()
    repository(checkout, "v9.0.0")
    for name in ("environment", "database"):
        (checkout / "deploy" / "container" / name).write_text(SECRET)
    try:
        program("import", base, "localhost/debian:12", seconds=300)
        base.unlink()
        program(
            *("build", "--isolation=chroot", "--network=host", "--tag=localhost/rainbo"),
            # Of the machine that the test runs on, whose registry may have a CA of its own
            *(
                f"--env=PIP_CERT={CAS}",
                f"--volume={ssl.get_default_verify_paths().cafile}:{CAS}:ro",
            ),
            *("--build-arg=BASE=localhost/debian:12", "--file=deploy/container/Containerfile"),
            checkout,
            seconds=600,
        )
        yield program
    finally:
        program("rm", "--all", "--force", "--time=0", check=False)
        program("rmi", "--all", "--force", check=False)


@pytest.fixture
def environment(postgres_servers: dict[str, Server], tmp_path: Path) -> Iterator[Path]:
    """The example with its values filled in, and a database of its own."""
    server = postgres_servers["rainbo"]
    databases.set_role(server, "of_image", PASSWORD)
    databases.create(server, "of_image", owner="of_image")
    text = (CONTAINER / "environment.example").read_text(encoding="utf-8")
    values = {
        "RAINBO_SECRET_KEY": "of-a-test-0123456789-0123456789-0123456789-0123456789",
        "RAINBO_CREDENTIAL_KEYS": urlsafe_b64encode(os.urandom(32)).decode(),
        "RAINBO_DB_PASSWORD": PASSWORD,
    }
    for name, value in values.items():
        text = text.replace(f"{name}=CHANGE", f"{name}={value}")
    assert "=CHANGE" not in text
    text = text.replace("RAINBO_DB_HOST=database", f"RAINBO_DB_HOST={server.host}")
    file = tmp_path / "environment"
    file.write_text(
        f"{text}RAINBO_DB_PORT={server.port}\nRAINBO_DB_NAME=of_image\nRAINBO_DB_USER=of_image\n"
    )
    yield file
    with server.connect() as session:
        session.execute("DROP DATABASE of_image WITH (FORCE)")
        session.execute("DROP ROLE of_image")


def test_no_secret_and_no_history_is_in_the_image(podman: Podman) -> None:
    look = f"id -un; ls -A . deploy/container; ! grep -rlF {SECRET} ."
    found = {*podman("run", "--rm", *PLACED, "localhost/rainbo", "sh", "-c", look).split()}
    assert {"rainbo", "manage.py", "staticfiles", "environment.example"} <= found
    assert not {".git", ".cache", ".local", "environment", "database"} & found


def test_its_containers_migrate_serve_and_sync(podman: Podman, environment: Path) -> None:
    podman.run("migrate", environment, "--rm")
    port = free_port()
    web = podman.run("web", environment, "--detach", port=port)
    worker = podman.run("worker", environment, "--detach")
    until(lambda: podman.healthy("web", web, port))
    login = requests.get(f"http://127.0.0.1:{port}/admin/login/", headers=BEHIND_PROXY, timeout=10)
    assert login.status_code == 200
    until(lambda: podman.healthy("worker", worker))
    for container in (web, worker):
        began = time.monotonic()
        podman("stop", "--time=15", container)
        assert time.monotonic() - began < 15, podman("logs", container)
        code = podman("inspect", "--format={{.State.ExitCode}}", container)
        assert code == "0", podman("logs", container)
