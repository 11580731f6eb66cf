"""RAINBO's own set-up for the demo, by the same commands that a person would use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from localfleet import management, schema, screen, seed
from localfleet.server import Server
from localfleet.state import State

SCRIPTS = Path(__file__).parent / "scripts"
# The variable by which commands get a password: arguments are seen by everyone.
PASSWORD_VARIABLE = "DEMO_PASSWORD"
# What sync_all may end with: done, something failed or is held, or it runs elsewhere.
SYNC_ENDS = (0, 1, 3, 75)


class Setup:
    def __init__(self, root: Path, state: State, instances: Mapping[int, Server]) -> None:
        self.state = state
        self.instances = instances
        self.log = root / "setup.log"

    def run(self, password: str) -> None:
        """Go from servers with empty databases to a synced fleet; skip what was done before."""
        self.log.unlink(missing_ok=True)
        with screen.step("Creating RAINBO's tables"):
            self._manage("migrate", "--no-input")
            self._manage("createcachetable")
        with screen.step("Filling the fleet with tenants and users"):
            self._seed()
        with screen.step("Creating the login"):
            self._script("people", password=password)
        with screen.step("Registering instances and schedules"):
            for number in self.instances:
                self._register(number)
            self._manage("setup_schedules")
        with screen.step("Syncing"):
            code = self._manage("sync_all", accepted=SYNC_ENDS)
        if code:
            screen.note("Not everything could be synced: `rainbo_status` (below) says why.")
        self._let_an_admin_leave()

    def _seed(self) -> None:
        if not self.state.is_done("seed"):
            seed.seed(self.instances)
            self.state.mark_done("seed")

    def _register(self, number: int) -> None:
        """Tell RAINBO of an instance the first time, and when its port is another one."""
        server = self.instances[number]
        if self.state.ports.get(server.name) == server.port:
            return
        words = {
            "--id": number,
            "--name": server.name,
            "--host": server.host,
            "--port": server.port,
            "--database": schema.DATABASE,
            "--user": schema.ROLE,
            "--password-env": PASSWORD_VARIABLE,
            "--ssl-mode": "disable",
            "--app-url": f"https://{server.name}.example.com",
        }
        self._manage(
            "add_instance",
            *(f"{word}={value}" for word, value in words.items()),
            *(["--master"] if number == seed.MASTER else []),
            password=self.state.role_password(server.name),
        )
        self.state.ports[server.name] = server.port
        self.state.save()

    def _let_an_admin_leave(self) -> None:
        if not self.state.is_done("leaver"):
            with screen.step("Letting an admin leave"):
                self._script("leaver_goes")
                self.state.mark_done("leaver")

    def _script(self, name: str, password: str = "") -> None:
        code = (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
        self._manage("shell", "--no-imports", "-c", code, password=password)

    def _manage(self, *words: str, password: str = "", accepted: Collection[int] = (0,)) -> int:
        env = self.state.environment() | {PASSWORD_VARIABLE: password}
        return management.run(words, env, self.log, accepted)
