from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

import pytest

from localfleet.demo.state import State
from localfleet.folders import local_root, scratch_root
from localfleet.processes import process_table
from localfleet.servers.server import Server, free_port
from tests.fleet_fixtures import needs

CHECKOUT = Path(__file__).parents[3]
LOCALFLEET = [sys.executable, "-m", "localfleet"]


class RunningDemo:
    """A demo as a person starts it: a process of its own, known by what it prints."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = free_port()
        self.output = ""
        self.process = subprocess.Popen(
            [*LOCALFLEET, "demo", f"--root={root}", f"--port={self.port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=CHECKOUT,
            text=True,
        )

    def wait_ready(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError(self.output)

    def said(self, pattern: str) -> str:
        found = re.search(pattern, self.output)
        assert found, self.output
        return found[1]

    @contextmanager
    def served(self) -> Iterator[RunningDemo]:
        """Once it serves. It is ended whatever happens: its process is waited for."""
        with self.process:
            try:
                self.wait_ready()
                yield self
            finally:
                self.process.terminate()

    def end(self) -> tuple[int, str]:
        """Wait for the end by itself; the exit code and what it said last."""
        rest = self.process.communicate(timeout=40)[0]
        return self.process.returncode, rest

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        return _localfleet("manage", f"--root={self.root}", *words)


def _localfleet(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LOCALFLEET, *words], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )


def _all_gone(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    return all(process_table.wait_gone(pid, deadline - time.monotonic()) for pid in pids)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with scratch_root(local_root()) as folder:
        yield folder / "demo"


@pytest.fixture(scope="module")
def first(root: Path) -> Iterator[RunningDemo]:
    with RunningDemo(root).served() as demo:
        yield demo


@pytest.fixture
def again(root: Path, first: RunningDemo) -> Iterator[RunningDemo]:
    """Restarted while another program has the port that instance rds2 had."""
    first.process.send_signal(signal.SIGTERM)
    first.process.wait(40)
    port = int((root / "rds2.port").read_text())
    with socket.create_server(("127.0.0.1", port)), RunningDemo(root).served() as demo:
        yield demo


def test_nothing_runs_yet(tmp_path: Path) -> None:
    done = _localfleet("manage", f"--root={tmp_path}", "check")
    assert done.returncode == 1
    assert done.stderr == "No demo runs in this checkout: start it with `make demo`.\n"


def test_taken_port_is_one_sentence(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = _localfleet("demo", f"--root={root}", f"--port={port}")
    assert done.returncode == 1
    assert re.fullmatch(rf"Port {port} is taken .*`make demo PORT=\d+`\.\n", done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "٣"])
def test_wrong_port_is_refused(tmp_path: Path, port: str) -> None:
    done = _localfleet("demo", f"--root={tmp_path}", f"--port={port}")
    assert done.returncode == 2
    assert "give a number from 1 to 65535" in done.stderr


def test_printed_login_opens_the_console(first: RunningDemo) -> None:
    jar = CookieJar()
    browser = build_opener(ProxyHandler({}), HTTPCookieProcessor(jar))
    address = first.said(r"(http://\S+/admin/)")
    form = {"username": "admin", "password": first.said(r"password +(\S+)"), "next": "/admin/"}
    with browser.open(f"{address}login/") as page:
        token = re.search(r'csrfmiddlewaretoken" value="(\w+)"', page.read().decode())
    assert token
    form["csrfmiddlewaretoken"] = token[1]
    with browser.open(f"{address}login/", urlencode(form).encode()) as page:
        assert page.url == address
        assert "sessionid" in {cookie.name for cookie in jar}


def test_printed_commands_work(first: RunningDemo) -> None:
    commands = re.findall(r'make manage CMD="(.+)"', first.output)
    assert len(commands) == 3
    for command in commands:
        done = first.manage(*command.split())
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_changed_rows_are_found(first: RunningDemo) -> None:
    """Once more if a scheduled run was faster."""
    for _ in range(2):
        done = _localfleet("break", f"--root={first.root}", "rows")
        assert "Three rows" in done.stdout, done.stderr
        synced = first.manage("sync_user_routing")
        print(synced.stdout)
        if "added 0, changed 3, removed 1" in synced.stdout:
            break
    assert "added 0, changed 3, removed 1" in synced.stdout


def test_printed_curl_starts_a_sync(first: RunningDemo) -> None:
    needs(shutil.which("curl"), "curl is not installed: apt install curl")
    done = subprocess.run(
        shlex.split(first.said(r"(curl --config .+)")), capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert (answer["success"], answer["runs"][0]["sync"]) == (True, "user_routing")
    both = first.manage("setup_automated_sync", "--url", f"http://127.0.0.1:{first.port}")
    assert (both.returncode, "Both ways work" in both.stdout) == (0, True), both.stdout


def test_all_is_on_time_and_its_exit_code_is_passed_on(first: RunningDemo) -> None:
    assert first.manage("rainbo_status", "--check").returncode == 0
    assert first.manage("find_user", "nobody@example.com").returncode == 1


def test_person_of_the_seed_is_found_on_every_instance(first: RunningDemo) -> None:
    done = first.manage("find_user", first.said(r"find_user (\S+)\""), "--json")
    assert {f"rds{number}" for number in (1, 2, 3)} <= set(re.findall(r"rds\d", done.stdout))
    json.loads(done.stdout)


def test_ghosts_of_the_admin_who_left_are_deactivated(first: RunningDemo) -> None:
    query = "SELECT status, count(*) FROM users WHERE is_ghost_admin GROUP BY 1 ORDER BY 1"
    deadline = time.monotonic() + 20
    for name in ("rds1", "rds2", "rds3"):
        found: list[tuple[str, int]] = []
        while len(found) < 2 and time.monotonic() < deadline:
            with Server(first.root, name).connect("app") as connection:
                found = connection.execute(query).fetchall()
        assert found == [("Active", 2), ("Inactive", 1)]


def test_secrets_are_private(first: RunningDemo) -> None:
    for file in first.root.iterdir():
        if file.is_file() and file.suffix != ".port":
            assert file.stat().st_mode & 0o077 == 0, file
    text = "".join(log.read_text(errors="replace") for log in first.root.glob("*.log"))
    state = json.loads((first.root / "state.json").read_text())
    for secret in [
        first.said(r"password +(\S+)"),
        state["settings"]["RAINBO_SECRET_KEY"],
        state["settings"]["RAINBO_CREDENTIAL_KEYS"],
        state["settings"]["RAINBO_DB_PASSWORD"],
        state["settings"]["RAINBO_CRON_SECRET"],
        *state["role_passwords"].values(),
    ]:
        assert secret not in text
    assert state["settings"]["RAINBO_CRON_SECRET"] not in first.output


def test_the_cron_secret_comes_from_outside_and_stays(tmp_path: Path) -> None:
    state = State.load(tmp_path)
    state.keep_cron_secret({"RAINBO_CRON_SECRET": 'a"b\\c'})
    assert state.environment({})["RAINBO_CRON_SECRET"] == 'a"b\\c'
    state.keep_cron_secret({})
    assert state.environment({})["RAINBO_CRON_SECRET"] == 'a"b\\c'
    file = tmp_path / "cron.curl"
    assert file.read_text() == 'header = "Authorization: Bearer a\\"b\\\\c"\n'
    assert file.stat().st_mode & 0o077 == 0


def test_second_start_is_told_of_the_first(first: RunningDemo) -> None:
    done = _localfleet("demo", f"--root={first.root}", f"--port={free_port()}")
    assert done.returncode == 1
    assert f"already runs at http://127.0.0.1:{first.port}" in done.stderr


def test_interrupt_leaves_no_process(first: RunningDemo) -> None:
    processes = process_table.descendants(first.process.pid)
    assert len(processes) > 12
    first.process.send_signal(signal.SIGINT)
    code, said = first.end()
    assert code == 0
    assert said.endswith("Stopped; no process is left.\n")
    assert _all_gone(processes, seconds=0)


@pytest.mark.soak
@pytest.mark.timeout(300)  # a demo starts twice
def test_killed_demo_went_on_and_leaves_no_process(again: RunningDemo) -> None:
    assert "Filling" not in again.output
    done = again.manage("rainbo_status", "--check")
    assert done.returncode == 0, done.stdout
    processes = process_table.descendants(again.process.pid)
    again.process.kill()
    assert _all_gone(processes, seconds=20)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_demo_ends_when_its_workers_do(again: RunningDemo) -> None:
    processes = process_table.descendants(again.process.pid)
    keeper = next(pid for pid in processes if "worker.lock" in _command(pid))
    for pid in process_table.children(keeper):
        process_table.send(pid, signal.SIGKILL)
    code, said = again.end()
    assert code == 1
    assert "The worker process ended by itself" in said
    assert _all_gone(processes, seconds=0)


def _command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
