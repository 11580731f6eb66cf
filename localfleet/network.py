"""Ports of this machine, and what RAINBO's web server answers to probes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import requests

from localfleet.errors import FleetError
from localfleet.servers.server import HOST

PROBE_SECONDS = 5


@dataclass(frozen=True)
class Answer:
    ok: bool
    reason: str


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except PermissionError:
            raise FleetError(f"Port {port} is only for root: choose one above 1023.") from None
        except OSError:
            return False
    return True


def probe(port: int, path: str) -> Answer:
    """What a health page says; no response is an answer, too."""
    with requests.Session() as session:
        session.trust_env = False  # this machine's proxy has no way to its own ports
        try:
            response = session.get(
                f"http://{HOST}:{port}{path}", timeout=PROBE_SECONDS, allow_redirects=False
            )
            reason = str(response.json().get("reason", ""))
        except requests.Timeout:
            return Answer(False, f"no answer within {PROBE_SECONDS} s")
        except requests.ConnectionError:  # its text is for programmers
            return Answer(False, "no answer: no connection")
        except requests.RequestException:
            return Answer(False, "no answer of a health page")
    return Answer(response.status_code == 200, reason)


def wait_ready(port: int, seconds: float, alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not (answer := probe(port, "/health/ready")).ok:
        if not alive():
            raise FleetError(f"The web server ended at once; its log is {log}.")
        if time.monotonic() > deadline:
            raise FleetError(f"The web server does not get ready: {answer.reason}. See {log}.")
        time.sleep(0.1)


def wait_listening(
    ports: Collection[int], seconds: float, alive: Callable[[], bool], log: Path
) -> None:
    """Return once a program listens on each of these ports."""
    deadline = time.monotonic() + seconds
    while not all(map(_is_listening, ports)):
        if not alive() or time.monotonic() > deadline:
            raise FleetError(f"The services of the accounts did not start; their log is {log}.")
        time.sleep(0.1)


def _is_listening(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """Host and port of a listener that takes connections and never answers."""
    taken: list[socket.socket] = []
    with socket.create_server((HOST, 0)) as listener:

        def swallow() -> None:
            with suppress(OSError):
                while True:
                    taken.append(listener.accept()[0])

        threading.Thread(target=swallow, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)
    for connection in taken:
        connection.close()
