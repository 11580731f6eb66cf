"""RAINBO with a fleet of its own on this machine, from nothing to a page in the browser."""

from __future__ import annotations

import json
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path

from localfleet import network
from localfleet.data import instances, large_seed, schema, seed
from localfleet.demo import accounts, breaking, lock, manage_command, terminal
from localfleet.demo.setup import Setup
from localfleet.demo.state import BIG, OWN_DATABASE, State
from localfleet.demo.watchdog import Watch
from localfleet.errors import FleetError
from localfleet.processes import stop_signals
from localfleet.processes.service import Service
from localfleet.servers.fleet import LocalFleet
from localfleet.servers.server import HOST, Server, free_port

INSTANCES = {1: "rds1", 2: "rds2", 3: "rds3"}
READY_SECONDS = 60
GUNICORN = ["--workers=2", "--threads=4", "--graceful-timeout=5", "--no-control-socket"]


class Demo:
    """Everything it keeps lies in `root`, which the servers' account must be able to enter."""

    def __init__(self, root: Path, port: int, seed: str = "") -> None:
        self.root = root
        self.port = port
        self.state = State.load(root)
        self.state.seed = seed
        self.fleet = LocalFleet(root, [OWN_DATABASE, *INSTANCES.values()])
        gunicorn = [sys.executable, "-m", "gunicorn", *GUNICORN, f"--bind={HOST}:{port}"]
        self.web = Service(root, "web", [*gunicorn, "rainbo.wsgi"])
        self.worker = Service(root, "worker", [*manage_command.MANAGE, "schedule_work"])
        self.state.keep_receiver(port)
        ports = [str(self.state.ports[name]) for name in ("receiver", "mail")]
        receiver = [sys.executable, "-m", "localfleet.demo.receiver", *ports]
        self.receiver = Service(root, "receiver", receiver)
        bound = f"--bind={HOST}:{self.state.ports['application']}"
        saas = [sys.executable, "-m", "gunicorn", "--threads=4", "--no-control-socket", bound]
        self.application = Service(root, "application", [*saas, "localfleet.application.wsgi"])
        accounts.ensure_token(root)
        self.state.keep_ports(accounts.SERVICES)
        places = [f"{name}={self.state.ports[name]}" for name in accounts.SERVICES]
        providers = [sys.executable, "-m", "localfleet.demo.providers", str(root), *places]
        self.providers = Service(root, "providers", providers)

    @property
    def instances(self) -> dict[int, Server]:
        return {number: self.fleet[name] for number, name in INSTANCES.items()}

    @property
    def services(self) -> list[Service]:
        return [self.application, self.web, self.worker, self.receiver, self.providers]

    def run(self) -> None:
        """Start all; ends only by an exception: a failure, or the wish to stop."""
        self._check_room()
        password = secrets.token_urlsafe(9)
        with ExitStack() as stack:
            stack.callback(self._stop)
            with terminal.step("Starting four PostgreSQL servers"):
                self._start_servers()
            setup = Setup(self.root, self.state, self.instances)
            setup.run(password)
            self._start_providers()
            setup.connect_accounts()
            if self.state.seed == BIG:
                large_seed.add(self.fleet[OWN_DATABASE], self.state, first=len(INSTANCES) + 1)
            with terminal.step("Starting the web server and the workers"):
                self._start_services()
            address = f"http://{HOST}:{self.port}"
            lock.announce(self.root, address)
            email = seed.shared_email(self.instances)
            arrived = f"http://{HOST}:{self.state.ports['receiver']}"
            terminal.ready(address, password, email, self.root, self.state, arrived)
            Watch(
                self.port,
                self.services,
                list(self.fleet),
                repair=breaking.repair_file(self.root),
                rest=breaking.rest_file(self.root),
                workers=self.worker,
                start_workers=lambda: self.worker.start(self.state.environment()),
            ).forever()

    def _check_room(self) -> None:
        for service in self.services:
            service.wait_for_former()
        if not network.is_free(self.port):
            raise FleetError(
                f"Port {self.port} is taken by another program: choose another one, such as "
                f"`make demo PORT={free_port()}`."
            )

    def _start_servers(self) -> None:
        self.fleet.start()
        own = self.fleet[OWN_DATABASE]
        self.state.point_to(own)
        self.state.keep_cron_secret()
        self.state.keep_second_factor()
        self.state.save()
        instances.prepare_own(own, self.state.settings["RAINBO_DB_PASSWORD"])
        for number, server in self.instances.items():
            password = self.state.role_password(server.name)
            instances.prepare(server, password, master=number == seed.MASTER)
            instances.serve_application(server, self._application_password(server))

    def _start_providers(self) -> None:
        """Before the workers: what they would fetch meanwhile would be in progress."""
        self.providers.start(self.state.environment())
        ports = [self.state.ports[name] for name in accounts.SERVICES]
        network.wait_listening(
            ports, READY_SECONDS, lambda: self.providers.running, self.providers.log
        )

    def _start_services(self) -> None:
        env = self.state.environment()
        self.application.start(self._application_environment())
        for service in (self.web, self.worker, self.receiver):
            service.start(env)
        network.wait_ready(self.port, READY_SECONDS, lambda: self.web.running, self.web.log)

    def _application_environment(self) -> dict[str, str]:
        """The application's settings, and none of RAINBO's secrets."""
        address = self.state.settings["RAINBO_CONSOLE_URL"]
        named = {"name": schema.DATABASE, "user": instances.APPLICATION}
        known = {
            number: {
                **named,
                "host": server.host,
                "port": server.port,
                "password": self._application_password(server),
            }
            for number, server in self.instances.items()
        }
        rainbo = self.state.environment().keys() & self.state.settings.keys()
        kept = {key: text for key, text in self.state.environment().items() if key not in rainbo}
        return kept | {
            "APPLICATION_SECRET_KEY": self.state.role_password(instances.APPLICATION),
            "APPLICATION_DATABASES": json.dumps(known),
            "APPLICATION_EVENT_SECRETS": json.dumps(self.state.event_secrets),
            "APPLICATION_ISSUER": address,
            "APPLICATION_KEYS": f"{address}/.well-known/jwks.json",
            "no_proxy": HOST,
        }

    def _application_password(self, server: Server) -> str:
        return self.state.role_password(f"{server.name} {instances.APPLICATION}")

    def _stop(self) -> None:
        stop_signals.ignore()
        lock.withdraw(self.root)
        with terminal.step("Stopping"), ExitStack() as stack:
            stack.callback(self.fleet.stop)
            for service in self.services:
                service.ask_to_stop()
                stack.callback(service.stop)
