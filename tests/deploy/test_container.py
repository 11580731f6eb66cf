"""deploy/container: files that Docker, compose and systemd read alike."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from localfleet.servers import binaries
from localfleet.servers.server import Server
from rainbo.settings import env
from tests.children import ROOT
from tests.fleet_fixtures import needs

CONTAINER = ROOT / "deploy" / "container"
COMPOSE: dict[str, Any] = yaml.safe_load((CONTAINER / "compose.yaml").read_text(encoding="utf-8"))
IMAGE = (CONTAINER / "Containerfile").read_text(encoding="utf-8")


def docker_reads(text: str) -> dict[str, str]:
    """As `docker run --env-file`: what follows the first = as it stands, quotes included."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("name", ["environment.example", "database.example"])
def test_all_read_the_environment_alike(name: str) -> None:
    text = (CONTAINER / name).read_text(encoding="utf-8")
    by_docker = docker_reads(text)
    reader = [sys.executable, str(ROOT / "deploy" / "with_environment.py"), str(CONTAINER / name)]
    by_systemd = subprocess.run(
        [*reader, "env"],
        env={"PATH": os.environ["PATH"], "LC_CTYPE": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert docker_reads(by_systemd.stdout) == {
        "PATH": os.environ["PATH"],
        "LC_CTYPE": "C.UTF-8",
        **by_docker,
    }
    # What compose and shells change: quotes, $, # after a space, \
    assert all(re.fullmatch(r"[\w.:/,@+=-]+", value) for value in by_docker.values())


def test_compose_takes_the_file_and_reads_the_environments_alike(tmp_path: Path) -> None:
    """By Debian's compose, which is older than the file's `name`."""
    compose = needs(shutil.which("docker-compose"), "apt install docker-compose")
    folder = tmp_path / "deploy" / "container"
    shutil.copytree(CONTAINER, folder)
    for name in ("environment", "database"):
        shutil.copy(folder / f"{name}.example", folder / name)
    file = folder / "compose.yaml"
    file.write_text(
        re.sub(r"^name: .*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    done = subprocess.run(
        [compose, "--file", file, "config"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == COMPOSE["services"].keys()
    for name, service in services.items():
        example = f"{COMPOSE['services'][name]['env_file']}.example"
        text = (CONTAINER / example).read_text(encoding="utf-8")
        assert service["environment"] == docker_reads(text)


def test_the_environment_has_what_rainbo_reads() -> None:
    given = docker_reads((CONTAINER / "environment.example").read_text(encoding="utf-8"))
    known = {*re.findall(r"^#? ?(RAINBO_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)}
    assert given.keys() <= known
    assert {"RAINBO_SECRET_KEY", "RAINBO_CREDENTIAL_KEYS", "RAINBO_DB_PASSWORD"} <= given.keys()
    assert env.ranges  # the settings were read: their names are those of the example


def test_the_database_gets_none_of_the_other_secrets() -> None:
    services = COMPOSE["services"]
    assert services["database"]["env_file"] == "database"
    given = docker_reads((CONTAINER / "database.example").read_text(encoding="utf-8"))
    assert given.keys() == {"POSTGRES_PASSWORD", "RAINBO_DB_PASSWORD"}
    for name in ("migrate", "web", "worker"):
        assert services[name]["env_file"] == "environment"
        assert services[name]["read_only"] is True
        assert services[name]["cap_drop"] == ["ALL"]
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".env", ".git", "deploy/container/environment", "deploy/container/database"} <= {
        *ignored
    }


def test_what_the_containers_run_exists() -> None:
    called = re.findall(r'"manage\.py", "(\w+)"', (CONTAINER / "compose.yaml").read_text())
    assert sorted(called) == ["migrate", "schedule_work", "worker_health"]
    assert {*called} <= get_commands().keys()
    copied = re.findall(r"^COPY (\S+) ", IMAGE, re.MULTILINE)
    assert copied
    assert all((ROOT / source).exists() for source in copied)


def test_rainbos_role_is_no_superuser_of_its_database(
    postgres_servers: dict[str, Server], tmp_path: Path
) -> None:
    """The script that the image of PostgreSQL runs, with the names of this test."""
    server = postgres_servers["rds3"]
    script = (CONTAINER / "create_database.sh").read_text()
    mine = re.sub(r"(ROLE|DATABASE|OWNER) rainbo\b", r"\1 of_compose", script)
    assert mine.count("of_compose") == 3
    done = subprocess.run(
        ["sh", "-c", mine],
        env=os.environ
        | {
            "PATH": f"{binaries.find()}:{os.environ['PATH']}",
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGPASSWORD": server.password,
            "RAINBO_DB_PASSWORD": "of-compose",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with server.connect("postgres") as session:
        try:
            asked = "SELECT rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'of_compose'"
            assert session.execute(asked).fetchall() == [(False, True)]
            with server.connect("of_compose", user="of_compose", password="of-compose") as own:
                own.execute("CREATE TABLE public.mine ()")
        finally:
            session.execute("DROP DATABASE of_compose")
            session.execute("DROP ROLE of_compose")
