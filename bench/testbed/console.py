"""The console of a checkout: a database with the big seed, people who are signed in, a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from http.client import HTTPConnection
from pathlib import Path

from bench.comparison.checkout import Checkout
from bench.errors import BenchError
from bench.testbed.process_usage import descendants, shares
from bench.testbed.readers import MIX, Person, of_json, size_of
from bench.testbed.servers import Testbed
from localfleet.data.large_seed import Size
from localfleet.demo.state import OWN_DATABASE
from localfleet.servers import databases
from localfleet.servers.server import HOST, free_port

READY_SECONDS = 60
# Run inside the checkout, whose code alone knows its tables.
_FILL = """
import json, sys
from datetime import datetime
import psycopg
try:
    from localfleet.data import large_seed
except ModuleNotFoundError:  # until 2026-11-29, as in 7dbec5c
    from localfleet import big as large_seed
given = json.load(sys.stdin)
with psycopg.connect(**given["to"]) as connection:
    now, size = datetime.fromisoformat(given["now"]), large_seed.Size(**given["size"])
    large_seed.fill(connection, now, size)
with psycopg.connect(**given["to"], autocommit=True) as connection:
    connection.execute("VACUUM (ANALYZE)")
"""
_SIGN_IN = """
import json, sys
from urllib.parse import quote
import django
django.setup()
from django.contrib.auth.models import User
from django.test import Client
from tenants.models import RdsInstance, UserRoute
emails = UserRoute.objects.filter(withheld_reason=None).values_list("email", flat=True)[:200]
instances = RdsInstance.objects.order_by("pk").values_list("pk", flat=True)[:100]
addresses = {
    "Now": ["/admin/"],
    "Find": [f"/admin/find/?q={quote(email)}" for email in emails],
    "Tenants": ["/admin/tenants/tenant/"],
    "Instance": [f"/admin/tenants/rdsinstance/{pk}/change/" for pk in instances],
}
people = []
for number in range(int(sys.argv[1])):
    browser = Client(SERVER_NAME="localhost")
    browser.force_login(User.objects.create_superuser(f"reader{number}"))
    key = browser.cookies["sessionid"].value
    people.append({"cookie": f"sessionid={key}", "addresses": addresses})
print(json.dumps(people))
"""
# What pages take of the processor, here and in the database's session: what others do on the
# machine meanwhile makes a page late, but hardly dearer.
_PROCESSOR = """
import json, random, sys, time
from pathlib import Path
import django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
given = json.load(sys.stdin)
browser = Client(SERVER_NAME="localhost")
browser.force_login(User.objects.get(username="reader0"))
with connection.cursor() as cursor:
    cursor.execute("SELECT pg_backend_pid()")
    session = Path("/proc", str(cursor.fetchone()[0]), "schedstat")
def spent():
    return time.process_time() + int(session.read_text().split()[0]) / 1e9
chance, kinds = random.Random(given["seed"]), [*given["mix"]]
def read(kind):
    answer = browser.get(chance.choice(given["addresses"][kind]))
    assert answer.status_code == 200, answer.status_code
for kind in kinds:
    read(kind)
pages = [kind for kind in kinds for _ in range(given["pages"] * given["mix"][kind] // 100)]
chance.shuffle(pages)
found = {kind: [] for kind in kinds}
for kind in pages:
    before = spent()
    read(kind)
    found[kind].append(spent() - before)
print(json.dumps(found))
"""
LISTS = {
    "tenants": "tenants/tenant",
    "instances": "tenants/rdsinstance",
    "routes": "tenants/userroute",
    "ghost users": "tenants/ghostuser/all",
    "runs": "syncs/syncrun",
    "incidents": "alerts/incident",
    "activity": "activity/activity",
    "users": "auth/user",
}


ANSWERED = (0, 1)  # also if nobody was found, or something needs attention


@dataclass(frozen=True)
class Spent:
    """Seconds of a command in all, and of the processor."""

    seconds: float
    processor: float


class Console:
    def __init__(self, testbed: Testbed, side: Checkout, database: str) -> None:
        self.database = database
        self.people: list[Person] = []
        self.address = (HOST, free_port())
        self._testbed, self._folder = testbed, side.folder
        self._python = sys.executable if side.python == Path() else str(side.python)
        self._env = testbed.environment(RAINBO_DB_NAME=database)

    def prepare(self, size: Size, people: int, now: datetime) -> None:
        own = self._testbed.own
        databases.create(own, self.database, owner=OWN_DATABASE)
        self._run(["manage.py", "migrate", "--no-input"])
        to = {"host": own.host, "port": own.port, "dbname": self.database}
        to |= {"user": "postgres", "password": own.password}
        given = {"to": to, "now": now.isoformat(), "size": asdict(size)}
        self._run(["-c", _FILL], json.dumps(given))
        self._run(["manage.py", "setup_schedules"])
        self.people = of_json(json.loads(self._run(["-c", _SIGN_IN, str(people)])))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """With the processes and threads of deploy/systemd."""
        sized = ["--workers=2", "--threads=4", "--no-control-socket", "--worker-tmp-dir=/dev/shm"]
        bound = "--bind={}:{}".format(*self.address)
        with self._started(["-m", "gunicorn", "rainbo.wsgi", *sized, bound]) as server:
            self._wait(server)
            for person in self.people[:8]:  # everything is loaded once in both processes
                for found in person.addresses.values():
                    size_of(self.address, found[0], person.cookie)
            yield

    def processor(self, pages: int, seed: int) -> dict[str, list[float]]:
        """Of so many pages of the mix, one after the other: of each kind, seconds of each page.

        The database's session is counted in (/proc/PID/schedstat, nanoseconds).
        """
        given = {"pages": pages, "seed": seed, "mix": MIX, "addresses": self.people[0].addresses}
        found: dict[str, list[float]] = json.loads(self._run(["-c", _PROCESSOR], json.dumps(given)))
        return found

    def list_sizes(self) -> dict[str, int]:
        """The bytes of each list of the console; of those that this checkout has."""
        cookie = self.people[0].cookie
        found = {n: size_of(self.address, f"/admin/{path}/", cookie) for n, path in LISTS.items()}
        return {name: size for name, size in found.items() if size is not None}

    def worker_memory(self, seconds: float = 20) -> dict[str, float]:
        """Of each process of the workers after this time: its share of memory in MB."""
        with self._started(["manage.py", "schedule_work"], RAINBO_WORKERS="4") as main:
            time.sleep(seconds)
            found = shares(descendants(main.pid)).values()
            return {f"{n}": mb for n, mb in enumerate(found, 1)}

    def _run(self, words: list[str], given: str = "") -> str:
        done = subprocess.run(
            [self._python, *words],
            cwd=self._folder,
            env=self._env,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{self.database}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def command(self, words: Sequence[str]) -> Spent:
        """Run a command of manage.py from its start to its end."""
        began = time.monotonic()
        process = subprocess.Popen(
            [self._python, "manage.py", *words],
            cwd=self._folder,
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in ANSWERED:
            raise BenchError(f"{self.database}: {words[0]} ended with {process.returncode}")
        return Spent(time.monotonic() - began, used.ru_utime + used.ru_stime)

    @contextmanager
    def _started(self, words: list[str], **env: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self._testbed.root / f"{self.database}.log").open("ab") as log:
            process = subprocess.Popen(
                [self._python, *words],
                cwd=self._folder,
                env=self._env | env,
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()

    def _wait(self, server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and server.poll() is None:
            with suppress(OSError):
                connection = HTTPConnection(*self.address, timeout=5)
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return
            time.sleep(0.1)
        raise BenchError(f"{self.database}: the web server did not start")
