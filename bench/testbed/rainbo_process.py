"""Tasks inside RAINBO, in a process of its own: `python -m bench.testbed.rainbo_process WORD`.

Each line on its input is a task in JSON, and is answered by a line in JSON. Time
is measured after Python and Django have started and before RAINBO's database is reached.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from alerts import evaluation  # noqa: E402
from api import tokens  # noqa: E402
from api.scopes import SCOPES  # noqa: E402
from bench.errors import BenchError  # noqa: E402
from bench.measurements.api_requests import (  # noqa: E402
    AUTOCOMPLETE,
    EVALUATION,
    FIRST,
    FIRST_METRICS,
    NOW,
)
from bench.testbed import catalogue_tasks, connection_tasks, history_tasks  # noqa: E402
from common import shared  # noqa: E402
from syncs.engine import runs  # noqa: E402
from syncs.engine.options import Options  # noqa: E402
from syncs.models import RunLog, RunTarget, SyncRun, TargetState, Trigger  # noqa: E402
from syncs.transfer import copy_stream, difference  # noqa: E402
from syncs.transfer.digest import Hashing  # noqa: E402
from tenants.fleet import connections, contract, identity, targets  # noqa: E402
from tenants.models import RdsInstance, Tenant, UserRoute  # noqa: E402
from tenants.routes import directory, merge, partition  # noqa: E402

Task = Mapping[str, Any]


def sync(task: Task) -> dict[str, Any]:
    """Run a sync as its schedule does: nothing is left out as fresh, nothing read in full."""
    started, worked = time.monotonic(), time.process_time()
    record = runs.execute(runs.request(task["sync"], Options(), Trigger.SCHEDULE))
    ended, worked = time.monotonic(), time.process_time() - worked
    return {
        "processor": worked,
        "started": started,
        "ended": ended,
        "seconds": ended - started,
        "peak_mb": peak_mb(),
        "state": str(record.state),
        "errors": errors(record),
        "in_full": RunLog.objects.filter(run=record, message__startswith="read in full").exists(),
        "by_digests": RunLog.objects.filter(run=record, message__startswith="compared by").exists(),
        **counts(record),
    }


def register(task: Task) -> dict[str, Any]:
    """Make RAINBO know these instances, and no others, with these ports and passwords."""
    for fields in task["instances"]:
        row = RdsInstance(**{name: fields[name] for name in fields if name != "password"})
        known = RdsInstance.objects.filter(pk=row.pk).first()
        if known is not None and known.database == row.database:  # by whatever port
            row.system_identifier, row.database_oid = known.system_identifier, known.database_oid
        row.set_password(fields["password"])
        row.save()
    gone = RdsInstance.objects.exclude(pk__in=[fields["id"] for fields in task["instances"]])
    Tenant.objects.filter(instance__in=gone).delete()
    gone.delete()
    return {}


def admins(task: Task) -> dict[str, Any]:
    """This many users with the permission to enter tenants."""
    people = [
        User(username=f"admin{n}", is_staff=True, is_superuser=True) for n in range(task["count"])
    ]
    User.objects.bulk_create(people, ignore_conflicts=True)
    ids = User.objects.filter(is_staff=True).order_by("pk").values_list("pk", flat=True)
    return {"ids": list(ids)}


def forget(task: Task) -> dict[str, Any]:
    """Forget what was proved of an instance, and with `rows` its routes too."""
    identity.forget_proofs(task["id"])
    if task["rows"]:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {partition.NAME}")  # as before the first fill
            cursor.execute("TRUNCATE user_route_removals")
    return {}


def digests(_: Task) -> dict[str, Any]:
    """Let the master compute the digests of its rows, and do nothing with them."""
    master = targets.master()
    buckets = directory.buckets_for(UserRoute.objects.count())
    cached = merge.cached_routes("", str(master.pk), Hashing.NATIVE, buckets)
    with connections.connect(master, "bench") as source:
        query = contract.query(merge.NAME)
        kinds = copy_stream.probe(source, query).kinds
        started = time.monotonic()
        difference.ask_digests(source, query, cached, kinds)
        copy_stream.take(source, lambda _: None)
        return {"seconds": time.monotonic() - started}


def requests(task: Task) -> dict[str, Any]:
    """Let Django answer each request so many times, in turns; the seconds that each took.

    database: the seconds that the database took, of an evaluation of alerts and of the first page.
    """
    person = User.objects.create_superuser("bench")
    browser = Client(SERVER_NAME="localhost")
    browser.force_login(person)
    person_has = {"HTTP_COOKIE": f"sessionid={browser.cookies['sessionid'].value}"}
    secret = tokens.create("bench", [*SCOPES], "bench").secret
    program_has = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    newest = SyncRun.objects.filter(sync="tenant_summaries").latest("pk")
    run = f"/api/v1/runs/{newest.pk}"
    choices = "app_label=tenants&model_name=tenant&field_name=instance"
    tag = Client(SERVER_NAME="localhost", headers={"authorization": f"Bearer {secret}"}).get(run)[
        "ETag"
    ]
    asked: dict[str, tuple[str, str, dict[str, str], int]] = {
        AUTOCOMPLETE: ("/admin/autocomplete/", choices, person_has, 200),
        "status of a run": (run, "", program_has, 200),
        "poll of a run that answers 304": (run, "", program_has | {"HTTP_IF_NONE_MATCH": tag}, 304),
        "freshness of the whole fleet": ("/api/v1/freshness", "", program_has, 200),
        FIRST: ("/api/v1/freshness", "", program_has, 200),
        "metrics": ("/metrics", "", program_has, 200),
        FIRST_METRICS: ("/metrics", "", program_has, 200),
    }
    application = get_wsgi_application()
    seconds: dict[str, list[float]] = {what: [] for what in asked}
    for turn in range(task["turns"] + 1):
        for what, (path, query, headers, status) in asked.items():
            environ: dict[str, Any] = {
                "HTTP_HOST": "localhost",
                "PATH_INFO": path,
                "QUERY_STRING": query,
            } | headers
            setup_testing_defaults(environ)
            if what in (FIRST, FIRST_METRICS):
                shared.forget_all()
            started = time.perf_counter()
            answer: Any = application(environ, _begin)
            took = time.perf_counter() - started
            answer.close()
            if answer.status_code != status:
                raise BenchError(f"{what} answered {answer.status_code}")
            if turn:  # the first time, everything is loaded
                seconds[what].append(took)
    return {"seconds": seconds, "database": _in_database(browser, task["turns"])}


def _in_database(browser: Client, turns: int) -> dict[str, list[float]]:
    """The seconds that the database took for each of what workers do and the first page, in turns.

    Both begin with nothing that was read before.
    """
    asked: dict[str, Callable[[], object]] = {
        NOW: lambda: browser.get("/admin/"),
        EVALUATION: evaluation.evaluate,
    }
    seconds: dict[str, list[float]] = {what: [] for what in asked}
    for turn in range(turns + 1):
        for what, ask in asked.items():
            shared.forget_all()
            took = 0.0

            def execute(inner: Callable[..., object], *given: object) -> object:
                nonlocal took
                started = time.perf_counter()
                try:
                    return inner(*given)
                finally:
                    took += time.perf_counter() - started

            with connection.execute_wrapper(execute):
                ask()
            if turn:  # the first time, incidents are opened
                seconds[what].append(took)
    return seconds


def polls(task: Task) -> dict[str, Any]:
    """Let people poll the first page so many times; the processor's time, a mean for each turn.

    together: several people within a second, for whom it is made once. alone: one of them; then
    it is read, judged and drawn again for each poll.
    """
    browsers = []
    for number in range(task["people"]):
        browser = Client(SERVER_NAME="localhost", headers={"X-Rainbo-Refresh": "1"})
        browser.force_login(User.objects.get(username=f"reader{number}"))
        browsers.append(browser)
    found: dict[str, list[float]] = {"together": [], "alone": []}
    tag = ""
    for turn in range(task["polls"] + 3):
        for what, those in (("together", browsers), ("alone", browsers[:1])):
            shared.forget_all()
            started = time.process_time()
            for browser in those:
                answer = browser.get("/admin/now/", headers={"If-None-Match": tag})
                if answer.status_code not in (200, 304):
                    raise BenchError(f"a poll was answered {answer.status_code}")
                tag = answer["ETag"]
            if turn >= 3:
                found[what].append((time.process_time() - started) / len(those))
    return found


def _begin(_: str, __: list[tuple[str, str]], ___: Any = None, /) -> Callable[[bytes], object]:
    """What a web server does when the answer begins: nothing here."""
    return lambda _: None


def peak_mb() -> float:
    """The most memory that this process ever had; getrusage would count its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) / 1024 if found else 0.0


def counts(record: SyncRun) -> dict[str, int]:
    """What the run read and did, over all its targets."""
    parts = list(RunTarget.objects.filter(run=record))
    names = ("read", "added", "changed", "removed", "withheld")
    found = {name: sum(getattr(part, name) or 0 for part in parts) for name in names}
    return found | {"done": sum(part.state == TargetState.SUCCEEDED for part in parts)}


def errors(record: SyncRun) -> list[str]:
    found = (
        RunTarget.objects.filter(run=record)
        .exclude(error="", note="")
        .values_list("error", "note")[:5]
    )
    return [record.error] * bool(record.error) + [error or note for error, note in found]


def connections_at_once(task: Task) -> dict[str, Any]:
    return connection_tasks.connections(task) | {"peak_mb": peak_mb()}


TASKS: dict[str, Callable[[Task], dict[str, Any]]] = {
    "sync": sync,
    "register": register,
    "admins": admins,
    "forget": forget,
    "digests": digests,
    "requests": requests,
    "polls": polls,
    "catalogue": catalogue_tasks.catalogue,
    "connections": connections_at_once,
    "history": history_tasks.history,
}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(TASKS[sys.argv[1]](json.loads(line))), flush=True)
