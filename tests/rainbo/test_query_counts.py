"""What the pages, the API, metrics and alerts ask of RAINBO's own database: how many statements,
whatever the number of instances and services; and at length, with how much memory.
"""

from __future__ import annotations

import gc
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts import evaluation
from alerts.models import Incident, IncidentEvent, Mute
from api import tokens
from integrations import plugin, services
from integrations.services.github import GitHub
from rainbo.auth import sessions
from syncs.engine import registry
from syncs.models import RunState
from syncs.status import problems, queries
from tenants.models import RdsInstance
from tenants.models.instance import Health
from tests.alerts.rows import HOUR, channel
from tests.api import clients
from tests.integrations import rows
from tests.rainbo import fleets
from tests.rows import ended_run, run_part
from tests.syncs.plans import default_schedules

Ask = Callable[[], object]
# With the session's, the user's or the token's own statements.
MOST = {"status": 2, "problems": 3, "evaluation": 7, "metrics": 6, "run": 4, "poll": 1, "Now": 14}
EVALUATIONS = int(os.environ.get("EVALUATIONS", "1000"))  # of the soak; 10,000 were run once
FLAT = 1_000  # kB that a process may grow in the last eight tenths of them
LEFT = 100  # objects that may be left then


@pytest.fixture(autouse=True)
def _own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is written now and then is written once: a slow test counts no such statement."""
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    monkeypatch.setattr(plugin, "_plugins", dict(plugin._plugins))
    monkeypatch.setattr(tokens, "NOTED_EVERY", HOUR)
    monkeypatch.setattr(sessions, "NOTE_EVERY", HOUR.total_seconds())


def connect(number: int) -> None:
    """A service of its own with two connections; its last run took one of them."""
    name = "service_" + "abcdefghij"[number // 10] + "abcdefghij"[number % 10]
    services.register(type(name, (GitHub,), {"name": name})())
    first, second = (rows.connection(service=name, name=f"{name} {n}") for n in "12")
    for connected in (second, first):
        run = ended_run(name)
        run_part(run, connected.key)


def prepare(size: int) -> None:
    """So many instances more, of which some are down, and services."""
    known = RdsInstance.objects.count()
    fleets.write(known + size, 400, first=known + 1)
    fallen = RdsInstance.objects.filter(pk__in=[known + 2, known + 3])
    fallen.update(health=Health.DOWN)
    for number in range(known, known + size):
        connect(number)


def asked(console: Client) -> dict[str, Ask]:
    api = clients.client(secret=clients.token(name=f"program {time.monotonic_ns()}"))
    run = f"/api/v1/runs/{ended_run('tenant_summaries', RunState.FAILED, error='broken').pk}"
    tag = api.get(run)["ETag"]
    return {
        "status": lambda: queries.status(timezone.now()),
        "problems": lambda: problems.judge(problems.read(timezone.now())),
        "evaluation": lambda: evaluation.evaluate(),
        "metrics": lambda: expect(api.get("/metrics"), 200),
        "run": lambda: expect(api.get(run), 200),
        "poll": lambda: expect(api.get(run, headers={"if-none-match": tag}), 304),
        "Now": lambda: expect(console.get("/admin/"), 200),
    }


def expect(answer: Any, status: int) -> None:
    assert answer.status_code == status


def count(asked: dict[str, Ask]) -> dict[str, int]:
    """Statements of each, without those that begin and end a transaction."""
    found = {}
    for what, ask in asked.items():
        ask()  # what is done once: incidents open, the token's use is noted
        with CaptureQueriesContext(connection) as captured:
            ask()
        own = [q for q in captured.captured_queries if "SAVEPOINT" not in q["sql"]]
        found[what] = len(own)
    return found


@pytest.mark.django_db
def test_the_statements_do_not_grow_with_instances_and_services(admin_client: Client) -> None:
    default_schedules()
    channel()
    channel("eu", groups=["eu"], labels=["gold"])
    Mute.objects.create(key="instance/2/down", until=timezone.now() + HOUR, reason="", by="ann")
    prepare(3)
    few = count(asked(admin_client))
    prepare(27)
    assert RdsInstance.objects.count() == 30
    many = count(asked(admin_client))
    assert Incident.objects.filter(resolved_at=None, rule="instance_down").count() == 4
    assert many == few
    assert {what: (found, MOST[what]) for what, found in many.items() if found > MOST[what]} == {}


@pytest.mark.soak
@pytest.mark.timeout(2 * 60 * 60)
@pytest.mark.django_db(transaction=True)
def test_evaluations_leave_nothing_in_memory() -> None:
    """`EVALUATIONS=10000 make soak ARGS="-k leave_nothing"` runs ten thousand, a week of them."""
    default_schedules()
    channel()
    fleets.write(3, 100)
    RdsInstance.objects.filter(pk=2).update(health=Health.DOWN)
    sizes = [*evaluate(EVALUATIONS)]
    (settled, objects), (last, left) = sizes[len(sizes) // 5], sizes[-1]
    print(f"{EVALUATIONS:,} evaluations: {settled:,} kB, at the end {last:,} kB")
    assert last - settled < FLAT
    assert left - objects < LEFT
    known = Incident.objects.get(rule="instance_down", resolved_at=None)
    assert IncidentEvent.objects.filter(incident=known).count() <= 1


def evaluate(times: int) -> Iterator[tuple[int, int]]:
    """The size of this process, in kB, and its objects, at each tenth of the evaluations."""
    for number in range(times + 1):
        assert evaluation.evaluate() is not None
        if number % (times // 10) == 0:
            gc.collect()
            status = Path("/proc/self/status").read_text(encoding="ascii")
            found = int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]), len(gc.get_objects())
            print(f"{number:,} evaluations: {found[0]:,} kB, {found[1]:,} objects", flush=True)
            yield found
