"""One PostgreSQL server on this machine, a direct child of this process."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from localfleet.errors import FleetError
from localfleet.processes import process_table
from localfleet.processes.child_process import spawn
from localfleet.servers import binaries, data_folder, orphans
from localfleet.servers.account import server_account
from localfleet.servers.data_folder import SUPERUSER

HOST = "127.0.0.1"
PORT_TRIES = 10
PORTS = range(20_000, 32_000)
LOG_LIMIT = 5_000_000
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "log_line_prefix": "%m [%p] %a ",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class Server:
    """Data in `root/name`; log, last port and the superuser's password next to it.

    The account that servers run under must be able to enter `root`.
    """

    host = HOST

    def __init__(
        self,
        root: Path,
        name: str,
        *,
        bin_folder: Path | None = None,
        durable: bool = True,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.folder = root / name
        self.log = root / f"{name}.log"
        self.options = SETTINGS | ({} if durable else NOT_DURABLE) | dict(options or {})
        self.account = server_account()
        self._bin_folder = bin_folder or binaries.for_servers()
        self._password_file = root / f"{name}.password"
        self._port_file = root / f"{name}.port"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def port(self) -> int:
        return int(self._port_file.read_text())

    @property
    def password(self) -> str:
        return self._password_file.read_text()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self.running else None

    def start(self, timeout: float = 60) -> None:
        """Start, and return once the server accepts connections; runs initdb the first time.

        The port stays the same over restarts as long as it is free.
        """
        if self.running:
            return
        if not self.data.exists():
            data_folder.make(self.folder, self._bin_folder, self._password_file, self.account)
        orphans.stop(self.data)
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.write_bytes(b"")
        deadline = time.monotonic() + timeout
        if not any(self._start_on(port, deadline) for port in self._ports()):
            raise FleetError(f"Server {self.name} found no free port; its log is {self.log}.")

    def stop(self, timeout: float = 30) -> None:
        """Fast shutdown: sessions end, data is written. A server that hangs is killed at last."""
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            self.send_signal(number)
            if self._process and self.running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout)

    def send_signal(self, number: signal.Signals) -> None:
        """Send the server a signal, if it runs; SIGSTOP and SIGCONT are for tests."""
        if self._process and self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the server and its sessions, as when the machine loses power."""
        if self._process is None or not self.running:
            return
        backends = process_table.children(self._process.pid)
        self._process.kill()
        for pid in backends:
            process_table.send(pid, signal.SIGKILL)
        self._process.wait()
        for pid in backends:
            process_table.wait_gone(pid, seconds=10)

    def restart(self) -> None:
        self.stop()
        self.start()

    def connect(self, database: str = SUPERUSER, **parameters: object) -> psycopg.Connection:
        """A connection, by default as superuser and with autocommit."""
        keywords: dict[str, Any] = {
            "host": HOST,
            "port": self.port,
            "user": SUPERUSER,
            "password": self.password,
            "connect_timeout": 10,
            "gssencmode": "disable",
            "client_encoding": "UTF8",
            "autocommit": True,
            "dbname": database,
        }
        return psycopg.connect(**(keywords | parameters))

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def _ports(self) -> Iterator[int]:
        with contextlib.suppress(FileNotFoundError, ValueError):
            yield self.port
        for _ in range(PORT_TRIES):
            yield free_port()

    def _start_on(self, port: int, deadline: float) -> bool:
        """Whether the server runs on this port now; False when the port was taken."""
        self._port_file.write_text(str(port))
        with self.log.open("ab") as log:
            begin = log.tell()
            self._process = spawn(
                self._command(port),
                death_signal=signal.SIGINT,
                cwd=self.folder,
                env=data_folder.ENVIRONMENT,
                output=log,
                account=self.account,
            )
        while self.running:
            if self._accepts():
                return True
            if time.monotonic() > deadline:
                self.stop(timeout=5)
                raise FleetError(f"Server {self.name} did not start in time; see {self.log}.")
            time.sleep(0.05)
        return self._judge_exit(self.log.read_bytes()[begin:].decode(errors="replace"))

    def _command(self, port: int) -> list[str | Path]:
        settings = self.options | {"port": str(port)}
        pairs = (f"--{name}={value}" for name, value in settings.items())
        return [self._bin_folder / "postgres", "-D", self.data, *pairs]

    def _accepts(self) -> bool:
        """Whether it is this server, and no other on the same port, that lets us in."""
        query = "SELECT current_setting('data_directory')"
        with (
            contextlib.suppress(psycopg.OperationalError),
            self.connect(connect_timeout=2) as connection,
        ):
            return connection.execute(query).fetchone() == (str(self.data),)
        return False

    def _judge_exit(self, log: str) -> bool:
        if "Address already in use" in log:
            return False
        reasons = [line for line in log.splitlines() if "FATAL" in line or "HINT" in line]
        raise FleetError(f"Server {self.name} did not start: {' '.join(reasons) or log.strip()}")


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives to outgoing connections."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind((HOST, port))
            return port
