"""`/api/cron/…`: what cron services call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import quote

import pytest

from activity.models import Activity
from syncs.models import RunState, SyncRun
from tests.children import until
from tests.door_fixtures import Doors, Serve
from tests.instances import InstanceFleet
from tests.rows import ended_run

SYNC = "/api/cron/sync-integrations"
COUNTS = ("usersProcessed", "providersSync", "successCount", "failureCount", "durationMs")


def runs() -> list[tuple[str, str]]:
    return list(SyncRun.objects.order_by("pk").values_list("sync", "state"))


@pytest.mark.parametrize("query", ["", "?interval=15min", "?interval=30min", "?interval=github"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_provider_nothing_is_synced(doors: Doors, method: str, query: str) -> None:
    reply = doors.send(method, SYNC + query)
    assert reply.status == 200
    assert [reply.json[name] for name in COUNTS] == [0, 0, 0, 0, 0]
    assert reply.json["message"] == "No provider is connected: nothing to sync"
    assert runs() == []


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("query", "names", "counts"),
    [
        ("?interval=15min", ["github"], [3, 3, 1, 2]),
        ("?interval=30min", ["notion", "slack"], [3, 3, 3, 0]),
        ("", ["github", "notion", "slack"], [6, 6, 4, 2]),
    ],
)
def test_an_interval_runs_its_providers(
    doors: Doors, serve: Serve, query: str, names: list[str], counts: list[int]
) -> None:
    serve("github", {"1": (5, 1, 0, 0), "2": None, "6": None})
    serve("notion", {"3": (1, 1, 0, 0)})
    serve("slack", {"4": (1, 0, 0, 0), "5": (2, 0, 0, 0)})
    reply = doors.post(SYNC + query)
    assert reply.status == 200
    assert sorted(run["sync"] for run in reply.json["runs"]) == names
    assert [reply.json[name] for name in COUNTS[:4]] == counts
    failed = counts[3] > 0
    assert reply.json["success"] is not failed
    assert reply.json["message"] == f"Sync completed{' with failures' if failed else ''}"


@pytest.mark.usefixtures("worker")
def test_an_interval_may_name_a_sync_of_the_fleet(doors: Doors, fleet: InstanceFleet) -> None:
    fleet[1].add_route(1, "a@example.com")
    reply = doors.get(f"{SYNC}?interval=user_routing")
    assert reply.status == 200
    assert [reply.json[name] for name in COUNTS[:4]] == [1, 1, 1, 0]
    assert runs() == [("user_routing", "succeeded")]
    assert SyncRun.objects.get().actor == "token RAINBO_CRON_SECRET"


@pytest.mark.usefixtures("worker")
def test_an_instance_that_is_down_is_a_failure(doors: Doors, fleet: InstanceFleet) -> None:
    fleet[3].server.stop()
    reply = doors.post(f"{SYNC}?interval=tenant_summaries")
    assert reply.status == 200
    assert [reply.json[name] for name in COUNTS[:4]] == [3, 3, 2, 1]
    assert (reply.json["success"], reply.json["runs"][0]["state"]) == (False, "partial")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("?interval=5min", "interval"),
        ("?every=15min", "every"),
        ("?interval=15min&interval=30min", "once"),
    ],
)
def test_another_interval_is_refused(doors: Doors, query: str, named: str) -> None:
    reply = doors.post(SYNC + query)
    assert reply.status == 422
    assert named in reply.json["detail"]
    assert runs() == []


def test_a_body_with_fields_is_refused(doors: Doors) -> None:
    assert doors.post(SYNC, body='{"force": true}').status == 422
    assert doors.post(SYNC, body="{}").status == 200


def test_asking_for_the_head_starts_nothing(doors: Doors) -> None:
    reply = doors.send("HEAD", f"{SYNC}?interval=instance_health")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, POST")
    assert runs() == []


def test_what_takes_longer_is_answered_202_and_polled(
    doors: Doors, worker: threading.Thread, serve: Serve
) -> None:
    going = threading.Event()
    serve("github", {"1": (5, 1, 0, 0)}, wait=lambda: going.wait(30))
    reply = doors.post(f"{SYNC}?interval=15min", Prefer="respond-async")
    assert (reply.status, reply.headers["Retry-After"]) == (202, "2")
    assert (reply.json["success"], reply.json["successCount"]) == (None, 0)
    address = reply.headers["Location"]
    assert doors.get(address).status == 202
    going.set()
    until(lambda: doors.get(address).status == 200)
    ended = doors.get(address)
    assert ended.json.keys() == reply.json.keys()
    assert (ended.json["success"], ended.json["successCount"]) == (True, 1)
    assert "Location" not in ended.headers


def test_without_workers_the_answer_says_so(doors: Doors) -> None:
    reply = doors.post(f"{SYNC}?interval=instance_health", Prefer="wait=0")
    assert reply.status == 202
    assert reply.json["message"].startswith("Sync requested, but no worker has ever reported")


def test_two_deliveries_are_one_run(doors: Doors) -> None:
    """Vercel may call twice."""
    first = doors.get(f"{SYNC}?interval=instance_health", Prefer="wait=0")
    second = doors.get(f"{SYNC}?interval=instance_health", Prefer="wait=0")
    assert first.headers["Location"] == second.headers["Location"]
    assert len(runs()) == 1


def test_a_trigger_during_a_run_answers_with_that_run(
    doors: Doors, worker: threading.Thread, serve: Serve
) -> None:
    going = threading.Event()
    serve("github", {"1": (5, 1, 0, 0)}, wait=lambda: going.wait(30))
    doors.post(f"{SYNC}?interval=15min", Prefer="wait=0")
    until(lambda: runs() == [("github", "running")])
    skipped = SyncRun.objects.create(
        sync="github", state=RunState.SKIPPED, trigger="api", met=SyncRun.objects.get()
    )
    reply = doors.get(f"{SYNC}/runs/{skipped.pk}")
    assert (reply.status, reply.json["runs"][0]["state"]) == (202, "running")
    going.set()
    until(lambda: doors.get(f"{SYNC}/runs/{skipped.pk}").json["success"])


@pytest.mark.parametrize("keys", ["999", "1,2,3", "0"])
def test_unknown_runs_are_not_found(doors: Doors, keys: str) -> None:
    assert doors.get(f"{SYNC}/runs/{keys}").status == 404


def test_monitoring_of_a_day_has_the_documented_keys(doors: Doors) -> None:
    for minutes, state in ((1, RunState.FAILED), (5, RunState.SUCCEEDED), (9, RunState.SUCCEEDED)):
        ended_run("user_routing", state, ago=timedelta(minutes=minutes), seconds=10)
    ended_run("user_routing", RunState.FAILED, ago=timedelta(hours=25))
    document = doors.get("/api/cron/monitoring").json
    assert document.keys() == {"stats", "alerts", "recentExecutions", "timeRange"}
    assert document["timeRange"].keys() == {"hours", "since"}
    assert document["timeRange"]["hours"] == 24
    (job,) = [job for job in document["stats"] if job["jobName"] == "user_routing"]
    last = SyncRun.objects.order_by("-finished_at")[0]
    assert last.finished_at is not None
    assert job == {
        "jobName": "user_routing",
        "totalExecutions": 3,
        "successCount": 2,
        "failureCount": 1,
        "successRate": 0.667,
        "averageDuration": 10_000,
        "lastExecution": f"{last.finished_at:%Y-%m-%dT%H:%M:%SZ}",
        "lastStatus": "failed",
        "recentFailures": 1,
    }
    recent = document["recentExecutions"]["user_routing"]
    assert [one["status"] for one in recent] == ["failed", "success", "success"]


def test_the_job_of_the_services_sums_them(doors: Doors, serve: Serve) -> None:
    for name, seconds in (("github", 10), ("slack", 20)):
        serve(name, {})
        ended_run(name, seconds=seconds, ago=timedelta(minutes=seconds))
    document = doors.get("/api/cron/monitoring?timeRange=168").json
    job = document["stats"][-1]
    assert (job["jobName"], job["totalExecutions"], job["successRate"]) == (
        "sync-integrations",
        2,
        1,
    )
    assert job["averageDuration"] == 15_000
    assert [one["durationMs"] for one in document["recentExecutions"]["sync-integrations"]] == [
        10_000,
        20_000,
    ]


def test_what_never_ran_is_unknown(doors: Doors) -> None:
    job = doors.get("/api/cron/monitoring").json["stats"][-1]
    assert (job["jobName"], job["totalExecutions"]) == ("sync-integrations", 0)
    assert job["successRate"] is job["averageDuration"] is job["lastStatus"] is None


@pytest.mark.parametrize(
    ("states", "seconds", "kinds"),
    [
        ("FFFSS", 10, ["high_failure_rate", "consecutive_failures"]),  # newest first
        ("SSFFF", 10, ["high_failure_rate"]),
        ("FSFFS", 10, ["high_failure_rate"]),
        ("FSFS", 10, []),  # too few
        ("SSSFF", 10, []),
        ("FFF", 10, ["consecutive_failures"]),
        ("SS", 301, ["long_duration"]),
        ("SS", 300, []),
    ],
)
def test_alerts_name_what_stands_out(
    doors: Doors, states: str, seconds: float, kinds: list[str]
) -> None:
    names = {"F": RunState.FAILED, "S": RunState.SUCCEEDED}
    for minutes, letter in enumerate(states):
        ended_run("user_routing", names[letter], ago=timedelta(minutes=minutes), seconds=seconds)
    alerts = doors.get("/api/cron/monitoring").json["alerts"]
    assert [(alert["jobName"], alert["type"]) for alert in alerts] == [
        ("user_routing", kind) for kind in kinds
    ]


@pytest.mark.parametrize("hours", ["0", "169", "1e3", "-1", "", "²", "9" * 40])
def test_another_time_range_is_refused(doors: Doors, hours: str) -> None:
    assert doors.get(f"/api/cron/monitoring?timeRange={quote(hours)}").status == 422


def test_cleanup_deletes_old_runs(doors: Doors) -> None:
    old = ended_run(ago=timedelta(days=31))
    young = ended_run(ago=timedelta(days=29))
    reply = doors.post("/api/cron/monitoring/cleanup", body='{"retentionDays": 30}')
    assert (reply.status, reply.json["deletedCount"]) == (200, 1)
    assert [run.pk for run in SyncRun.objects.all()] == [young.pk] != [old.pk]
    entry = Activity.objects.get()
    assert (entry.action, entry.actor) == ("runs.pruned", "token RAINBO_CRON_SECRET")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        '{"retentionDays": 0}',
        '{"retentionDays": true}',
        '{"retentionDays": "30"}',
        '{"retentionDays": 30, "all": 1}',
    ],
)
def test_cleanup_deletes_nothing_without_a_number_of_days(doors: Doors, body: str) -> None:
    ended_run(ago=timedelta(days=300))
    assert doors.post("/api/cron/monitoring/cleanup", body=body).status == 422
    assert SyncRun.objects.count() == 1


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", SYNC, "integrations:run"),
        ("POST", f"{SYNC}?interval=user_routing", "syncs:run"),
        ("GET", f"{SYNC}/runs/1", "syncs:read"),
        ("GET", "/api/cron/monitoring", "syncs:read"),
        ("POST", "/api/cron/monitoring/cleanup", "runs:prune"),
    ],
)
def test_each_needs_its_scope(
    doors: Doors, operator: Callable[..., str], method: str, path: str, scope: str
) -> None:
    refused = doors.send(method, path, operator("metrics:read"))
    assert refused.status == 403
    assert f'error="insufficient_scope", scope="{scope}"' in refused.headers["WWW-Authenticate"]
    assert doors.send(method, path, operator(scope, name="other"), Prefer="wait=0").status != 403
