from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localfleet.processes import process_table
from localfleet.processes.service import Service

# Forks as queue workers do: a child in a session of its own that ignores all but SIGKILL.
STUBBORN = """
import os, signal, sys, time
from pathlib import Path
if not os.fork():
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    unfinished = Path(sys.argv[1] + ".unfinished")
    unfinished.write_text(str(os.getpid()))
    unfinished.rename(sys.argv[1])
    time.sleep(600)
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
print("begun", flush=True)
time.sleep(float(sys.argv[2]))
sys.exit(7)
"""
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
time.sleep(600)
"""
# Stands for the demo: starts a service and waits to be killed.
DEMO = """
import os, sys, time
from pathlib import Path
from localfleet.processes.service import Service
service = Service(Path(sys.argv[1]), "service", sys.argv[2:])
service.start(os.environ)
print("started", flush=True)
time.sleep(600)
"""

Command = Callable[[float], list[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    return lambda seconds: [sys.executable, str(script), str(tmp_path / "pid"), str(seconds)]


@pytest.fixture
def service(tmp_path: Path, command: Command) -> Iterator[Service]:
    service = Service(tmp_path, "service", command(600))
    yield service
    service.stop()


def _grandchild(folder: Path) -> int:
    """The process that a plain SIGTERM doesn't end, once it is there."""
    while "begun" not in (folder / "service.log").read_text():
        pass
    return int((folder / "pid").read_text())


def _exit_code(service: Service) -> int | None:
    while service.running:
        pass
    return service.exit_code


def test_stop_leaves_no_descendant(tmp_path: Path, service: Service) -> None:
    service.start({})
    pid = _grandchild(tmp_path)
    service.stop()
    assert not service.running
    assert process_table.program(pid) is None


def test_exit_code_is_told_and_descendants_end(tmp_path: Path, command: Command) -> None:
    service = Service(tmp_path, "service", command(0))
    service.start({})
    pid = _grandchild(tmp_path)
    assert _exit_code(service) == 7
    assert process_table.program(pid) is None


def test_killed_command_is_noticed(tmp_path: Path, service: Service) -> None:
    service.start({})
    pid = _grandchild(tmp_path)
    parent = process_table.parent(pid)
    assert parent
    process_table.send(parent, signal.SIGKILL)
    assert _exit_code(service) == 128 + signal.SIGKILL
    assert process_table.program(pid) is None


def test_command_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    service = Service(tmp_path, "service", [sys.executable, "-c", DEAF], stop_timeout=0.3)
    service.start({})
    while "deaf" not in service.log.read_text():
        pass
    service.stop()
    assert not service.running


def test_killed_demo_leaves_nothing(tmp_path: Path, command: Command) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-c", DEMO, str(tmp_path), *command(600)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    with demo:
        assert demo.stdout
        assert demo.stdout.readline() == b"started\n"
        pid = _grandchild(tmp_path)
        demo.kill()
    Service(tmp_path, "service", []).wait_for_former()
    assert process_table.program(pid) is None
