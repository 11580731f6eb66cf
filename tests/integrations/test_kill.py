"""A process that is killed while it fetches, and two that look at the same time."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection as database
from django.utils import timezone

from integrations import look, states
from integrations.due import State
from integrations.models import ExternalRecord
from localfleet.services.github import GitHub
from syncs.models import Lease, RunState, SyncRun
from tests.caches import query
from tests.children import AskedChild, child, ending, until
from tests.integrations.rows import connection, fetch, part, stored, titles
from tests.integrations.test_contract import fetch_to_the_end
from tests.integrations.worlds import WORLDS

pytestmark = pytest.mark.django_db(transaction=True)

SHORT = {"RAINBO_LEASE_TTL": "3", "RAINBO_LEASE_RENEWAL": "1"}


def test_killed_while_it_fetches_it_goes_on_and_ends_as_the_service_has_it(hub: GitHub) -> None:
    hub.page = 1
    for number in range(6):
        hub.add_repository(f"r{number}")
        hub.add_issue(f"i{number}")
    row = connection(hub.url)
    hub.latency = 0.1
    private = {"RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1"}
    with child("integrations_fetch", **SHORT, **private) as process:
        until(lambda: ExternalRecord.objects.exists())
        process.signal(signal.SIGKILL)
        process.end()
    hub.latency = 0.0
    until(lambda: not Lease.objects.filter(expires_at__gt=timezone.now()).exists())
    row.refresh_from_db()
    assert row.last_successful_update_at is None
    assert states.judge([row], timezone.now())[row.pk].state is State.DUE, "it stays due"
    assert fetch(row).state == RunState.SUCCEEDED
    assert titles(row, "repository") == [f"ann/r{number}" for number in range(6)]
    assert sorted(titles(row, "issue")) == [f"i{number}" for number in range(6)]
    assert SyncRun.objects.order_by("pk")[0].state == RunState.LOST
    row.refresh_from_db()
    assert row.record_count == 12


# Reads a connection's key and a number: a copy of it fetches that one, and kills itself there.
KILLER = """
import os, signal, sys
import django
django.setup()
from integrations import fetching, plugin
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import Trigger
name, fetching.GATHERS = sys.argv[1], float(sys.argv[2])
usual = plugin.find(name).fetch_data
for line in sys.stdin:
    key, items = line.split()
    if not (pid := os.fork()):
        def fetch_data(*given):
            for number, item in enumerate(usual(*given)):
                if number == int(items):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield item
        plugin.find(name).fetch_data = fetch_data
        runs.execute(runs.request(name, Options(targets=(key,)), Trigger.SCHEDULE))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("gathers", [0.0, 1.0])
def test_killed_between_any_two_items_one_run_ends_as_an_undisturbed_one(
    name: str, gathers: float, loopback: None
) -> None:
    """gathers: seconds for which cursors are published together."""
    private = {"RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1"}
    settings = {"DJANGO_SETTINGS_MODULE": "rainbo.settings"}
    with WORLDS[name]() as world:
        world.fill()
        row = world.connect()
        fetch_to_the_end(world, row)
        wanted, killed = stored(row), 0
        program = ("-c", KILLER, world.service, str(gathers))
        with ending(AskedChild(program=program, **private, **settings)) as process:
            for items in range(100):
                row = world.connect()
                ended = process.ask(f"{row.key} {items}")
                if ended == "0":
                    break
                assert ended == "-9"
                killed += 1
                query("UPDATE syncs_lease SET expires_at = clock_timestamp() - interval '1 s'")
                run = fetch(row)
                assert run.state == RunState.SUCCEEDED, part(run, row).error
                assert stored(row) == wanted, f"killed after {items} items"
        assert killed > 3
        assert SyncRun.objects.filter(state=RunState.LOST).count() == killed


@pytest.mark.soak
@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("requests", [1, 3])
def test_killed_after_any_request_the_next_run_ends_as_an_undisturbed_one(
    name: str, requests: int, loopback: None
) -> None:
    """Of every service; after one request a school has the password, and nothing is stored."""
    with WORLDS[name]() as world:
        world.fill()
        row = world.connect()
        fetch_to_the_end(world, row)
        wanted, row = stored(row), world.connect()
        world.server.latency, before = 0.3, len(world.server.asked)
        private = {"RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1"}
        chosen = f"--connection={row.pk}"
        with child("integrations_fetch", chosen, **SHORT, **private) as process:
            until(
                lambda: (
                    len(world.server.asked) >= before + requests
                    or process.process.poll() is not None
                )
            )
            process.signal(signal.SIGKILL)
            process.end()
        world.server.latency = 0.0
        until(lambda: not Lease.objects.filter(expires_at__gt=timezone.now()).exists())
        fetch_to_the_end(world, row)
        assert stored(row) == wanted


def test_of_processes_that_look_at_the_same_time_one_takes_a_connection() -> None:
    rows = [connection(name=f"n{number}") for number in range(5)]

    def look_often(_: int) -> int:
        try:
            return sum(len(look.look()) for _ in range(50))
        finally:
            database.close()

    with ThreadPoolExecutor(4) as pool:
        requested = list(pool.map(look_often, range(4)))
    assert sum(requested) == 1
    assert SyncRun.objects.get().options == {"targets": [row.key for row in rows]}
