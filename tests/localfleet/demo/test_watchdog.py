from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from localfleet import network
from localfleet.demo.watchdog import Watch
from localfleet.errors import FleetError
from localfleet.processes.service import Service
from localfleet.servers.server import Server, free_port


@contextmanager
def _page(status: int, reason: str = "") -> Iterator[int]:
    """The port of a web server that answers every probe like this."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"reason": reason}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing: pytest's output is for people."""

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_working_workers_are_left_alone() -> None:
    with _page(200) as port:
        watch = Watch(port, [], [], ask_every=0, heartbeat_timeout=0)
        watch.look()
        watch.look()


def test_silent_workers_are_named() -> None:
    with _page(503, "no worker has reported since noon") as port:
        watch = Watch(port, [], [], ask_every=0, heartbeat_timeout=0)
        with pytest.raises(FleetError, match="do no work: no worker has reported since noon"):
            watch.look()


def test_missing_heartbeats_are_tolerated_for_a_while() -> None:
    with _page(503) as port:
        Watch(port, [], [], ask_every=0, heartbeat_timeout=60).look()


def test_no_answer_is_no_heartbeat() -> None:
    with pytest.raises(FleetError, match="no answer"):
        Watch(free_port(), [], [], ask_every=0, heartbeat_timeout=0).look()


def test_ended_part_is_named_with_its_log(tmp_path: Path) -> None:
    service = Service(tmp_path, "worker", [sys.executable, "-c", "raise SystemExit(5)"])
    service.start({})
    while service.running:
        pass
    with pytest.raises(FleetError, match=r"worker process ended .*exit code 5.*worker\.log"):
        Watch(free_port(), [service], []).look()


def test_workers_stop_and_start_when_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest, repair = tmp_path / "rest", tmp_path / "repair"
    workers = Service(tmp_path, "worker", [sys.executable, "-c", "import time; time.sleep(600)"])
    workers.start({})
    with _page(503, "no worker has reported since noon") as port:
        watch = Watch(
            port,
            [workers],
            [],
            ask_every=0,
            heartbeat_timeout=0,
            repair=repair,
            rest=rest,
            workers=workers,
            start_workers=lambda: workers.start({}),
        )
        for _ in range(2):  # asked for once more, when they are stopped
            rest.touch()
            watch.look()
            assert (workers.running, rest.exists()) == (False, False)
        watch.look()  # nobody waits for heartbeats
        watch.heartbeat_timeout = 60
        repair.touch()
        watch.look()
        assert (workers.running, repair.exists()) == (True, False)
        watch.heartbeat_timeout = 0
        with pytest.raises(FleetError, match="do no work"):
            watch.look()
    workers.stop()
    assert capsys.readouterr().out.count("The workers are stopped") == 1


def test_lost_instance_is_told_once(
    extra_server: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    server = extra_server("rds9")
    watch = Watch(free_port(), [], [server])
    server.kill()
    watch.look()
    watch.look()
    assert capsys.readouterr().out.count("instance rds9 ended") == 1


def test_lost_own_database_ends_the_demo(extra_server: Callable[..., Server]) -> None:
    server = extra_server("rainbo")
    server.kill()
    with pytest.raises(FleetError, match="own PostgreSQL server ended"):
        Watch(free_port(), [], [server]).look()


def test_web_server_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"ended at once; its log is .*web\.log"):
        network.wait_ready(free_port(), 30, lambda: False, tmp_path / "web.log")


def test_web_server_that_is_not_ready_says_why(tmp_path: Path) -> None:
    with (
        _page(503, "3 migrations are not applied") as port,
        pytest.raises(FleetError, match="3 mig"),
    ):
        network.wait_ready(port, 0, lambda: True, tmp_path / "web.log")


def test_a_probe_says_why_no_answer_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    assert network.probe(free_port(), "/health").reason == "no answer: no connection"
    with _page(200, "fine") as port:
        assert network.probe(port, "/health") == network.Answer(True, "fine")
    monkeypatch.setattr(network, "PROBE_SECONDS", 0.1)
    with network.black_hole() as (_, silent):
        assert network.probe(silent, "/health").reason == "no answer within 0.1 s"
