"""RAINBO's own set-up for the demo, by the same commands that a person would use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from localfleet.data import schema, seed
from localfleet.demo import accounts, manage_command, terminal
from localfleet.demo.state import State
from localfleet.servers.server import HOST, Server

SCRIPTS = Path(__file__).parent / "scripts"
# The variables by which commands get a secret: arguments are seen by everyone.
VARIABLE, FACTOR = "DEMO_PASSWORD", "DEMO_SECOND_FACTOR"
# Exit codes to live with: add_instance rejects a known id; sync_all fails, holds or already runs.
ADD_ENDS = (0, 1, 2)
SYNC_ENDS = (0, 1, 3, 75)
SEARCH_ENDS = (0, 1)


class Setup:
    def __init__(self, root: Path, state: State, instances: Mapping[int, Server]) -> None:
        self.root = root
        self.state = state
        self.instances = instances
        self.log = root / "setup.log"

    def run(self, password: str) -> None:
        """Go from servers with empty databases to a synced fleet; skip what was done before."""
        self.log.unlink(missing_ok=True)
        with terminal.step("Creating RAINBO's tables"):
            self._manage("migrate", "--no-input")
        if not self.state.is_done("seed"):
            with terminal.step("Filling the fleet with tenants and users"):
                seed.seed(self.instances)
                self.state.mark_done("seed")
        with terminal.step("Creating the login"):
            self._script("people", password=password)
        with terminal.step("Registering instances and schedules"):
            for number in self.instances:
                self._register(number)
            self._keep_event_secrets()
            self._manage("setup_schedules")
        with terminal.step("Syncing"):
            code = self._manage("sync_all", accepted=SYNC_ENDS)
            # The package's server has pg_trgm; one of RAINBO_PG_BIN may be without it.
            self._manage("setup_part_search", accepted=SEARCH_ENDS)
        if code:
            terminal.note("Not everything could be synced: `rainbo_status` (below) says why.")
        self._let_an_admin_leave()

    def connect_accounts(self) -> None:
        """Connect an account at each service, all of which have to answer, and fetch them."""
        with terminal.step("Connecting accounts at six services"):
            accounts.connect(self.root, self.state, self.log)
            self._manage("integrations_fetch", accepted=SYNC_ENDS)

    def _register(self, number: int) -> None:
        """Register an instance the first time, and again when its port has changed."""
        server = self.instances[number]
        known = self.state.ports.get(server.name)
        shown = f"{server.name} application"
        here = (server.port, self.state.ports["application"])
        if (known, self.state.ports.get(shown)) == here:
            return
        password = self.state.role_password(server.name)
        # An instance that is unknown here was registered all the same if a start was killed then.
        update = known is not None or bool(
            self._manage(*self._new(number, server), password=password, accepted=ADD_ENDS)
        )
        if update:
            self._manage(*self._moved(number, server), password=password)
        self.state.ports[server.name], self.state.ports[shown] = here
        self.state.save()

    def _keep_event_secrets(self) -> None:
        """Have what the instances' applications sign their events with; no log gets it."""
        missing = [str(n) for n in self.instances if str(n) not in self.state.event_secrets]
        if missing:
            code = (SCRIPTS / "application_secrets.py").read_text(encoding="utf-8")
            env = self.state.environment() | {"DEMO_INSTANCES": " ".join(missing)}
            said = manage_command.answer(["shell", "--no-imports", "-c", code], env)
            self.state.event_secrets |= zip(missing, said.split(), strict=True)
            self.state.save()

    def _new(self, number: int, server: Server) -> list[str]:
        words = ["add_instance", f"--id={number}", f"--name={server.name}", "--ssl-mode=disable"]
        words += [f"--host={server.host}", f"--port={server.port}", f"--password-env={VARIABLE}"]
        words += [f"--database={schema.DATABASE}", f"--user={schema.ROLE}"]
        words += [self._app_url(server)]
        return words + (["--master"] if number == seed.MASTER else [])

    def _moved(self, number: int, server: Server) -> list[str]:
        words = ["add_instance", "--update", f"--id={number}", f"--password-env={VARIABLE}"]
        return [*words, f"--host={server.host}", f"--port={server.port}", self._app_url(server)]

    def _app_url(self, server: Server) -> str:
        return f"--app-url=http://{HOST}:{self.state.ports['application']}/{server.name}"

    def _let_an_admin_leave(self) -> None:
        if not self.state.is_done("leaver"):
            with terminal.step("Letting an admin leave"):
                self._script("leaver_goes")
                self.state.mark_done("leaver")

    def _script(self, name: str, password: str = "") -> None:
        code = (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")
        self._manage("shell", "--no-imports", "-c", code, password=password)

    def _manage(self, *words: str, password: str = "", accepted: Collection[int] = (0,)) -> int:
        env = self.state.environment() | {VARIABLE: password, FACTOR: self.state.second_factor}
        return manage_command.run(words, env, self.log, accepted)
