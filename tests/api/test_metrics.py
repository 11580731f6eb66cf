"""`/metrics`: what pages show, in the words of Prometheus; unknown is absent."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import Schedule
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from alerts.models import Delivery, Level
from alerts.rules import RULES
from api import metrics
from common.clock import database_now
from syncs.models import (
    Heartbeat,
    Lease,
    RunState,
    SyncRun,
    SyncSchedule,
    TargetState,
    Trigger,
)
from syncs.schedules import store
from syncs.status import problems, queries
from syncs.status.problems import Severity
from tenants.ghosts.problems import GHOSTS
from tenants.models import GhostUser, RdsInstance
from tests.alerts.rows import channel, problem, see
from tests.api.clients import client, token
from tests.fleet_fixtures import needs
from tests.rainbo import fleets
from tests.rows import confirmation, ended_run, instance_row, run_part
from tests.syncs.plans import default_schedules

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.django_db
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]
QUERIES = 4
HOUR = timedelta(hours=1)


@pytest.fixture
def api() -> Client:
    return client("metrics:read")


def scraped(api: Client) -> Series:
    """Every series; fails if two have the same name and labels, which no server accepts."""
    found: Series = {}
    for family in parse(api.get("/metrics").content.decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Series, metric: str, /, **labels: str) -> float | None:
    return found.get((f"rainbo_{metric}", frozenset(labels.items())))


def names(found: Series, name: str) -> set[frozenset[tuple[str, str]]]:
    return {labels for known, labels in found if known == f"rainbo_{name}"}


def ghost(**fields: Any) -> GhostUser:
    known = {"admin_id": 99, "instance_id": 1, "wanted": "inactive", "confirmed": "active"}
    return GhostUser.objects.create(**known | fields)


def test_metrics_and_pages_say_the_same_of_every_instance(api: Client) -> None:
    fleets.write(3, 12)
    default_schedules()
    confirmation("tenant_summaries", "9", ago=2 * HOUR)
    found = scraped(api)
    status = queries.status(database_now())
    shown = [(sync, target) for sync in status.syncs for target in sync.targets]
    assert len(shown) > 3
    for sync, target in shown:
        of = {"sync": sync.name, "rds": target.key, "name": target.label.split("(")[1][:-1]}
        assert value(found, "freshness_state", **of, state=target.freshness.state) == 1
        age = value(found, "freshness_age_seconds", **of)
        assert target.freshness.age is not None
        assert age == pytest.approx(target.freshness.age.total_seconds(), abs=30)
    assert len(names(found, "freshness_state")) == len(shown)
    assert {(s.name, str(s.state)) for s in status.syncs} == {
        (dict(labels)["sync"], dict(labels)["state"]) for labels in names(found, "sync_state")
    }


def test_what_is_unknown_is_absent_and_what_is_none_is_0(api: Client) -> None:
    instance_row(1, name="new")
    found = scraped(api)
    of = {"sync": "tenant_summaries", "rds": "1", "name": "new"}
    assert value(found, "freshness_state", **of, state="unknown") == 1
    for unknown in (
        *("freshness_age_seconds", "confirmed_rows", "execution_seconds"),
        *("last_execution_timestamp_seconds", "lease_holder_age_seconds"),
        *("queue_oldest_age_seconds", "worker_heartbeat_age_seconds"),
        *("instance_check_age_seconds", "instance_latency_seconds", "instance_replica_lag_seconds"),
    ):
        assert names(found, unknown) == set(), unknown
    assert value(found, "executions", sync="ghost_users", outcome="failed") == 0
    assert value(found, "queued_runs", sync="ghost_users") == 0
    assert value(found, "instance_health", rds="1", name="new", health="unknown") == 1


def test_executions_by_outcome_with_their_durations(api: Client) -> None:
    for state in RunState:
        ended_run(state=state, seconds=4.0)
    ended_run(ago=25 * HOUR)
    last = ended_run(state=RunState.FAILED, ago=timedelta(minutes=1), seconds=14.0)
    found = scraped(api)
    counts = {"succeeded": 1, "partial": 1, "held": 1, "failed": 3}
    for outcome, count in counts.items():
        assert value(found, "executions", sync="user_routing", outcome=outcome) == count
    for statistic, seconds in (("average", 34 / 6), ("p95", 14.0)):
        known = value(found, "execution_seconds", sync="user_routing", statistic=statistic)
        assert known == pytest.approx(seconds)
    assert last.finished_at
    at = value(found, "last_execution_timestamp_seconds", sync="user_routing")
    assert at == pytest.approx(last.finished_at.timestamp())


def test_failures_in_a_row(api: Client) -> None:
    ended_run(ago=2 * HOUR)
    ended_run(state=RunState.FAILED)
    ended_run(state=RunState.LOST)
    assert value(scraped(api), "failures_in_a_row", sync="user_routing") == 2


def test_what_is_held_is_counted(api: Client) -> None:
    instance_row(1, is_master=True)
    run = ended_run(state=RunState.HELD)
    counts = {"removed": 40, "moved": 2, "changed": 7}
    run_part(run, state=TargetState.HELD, note="would remove 40", held_counts=counts)
    confirmation(ago=HOUR, rows=400)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=timezone.now())
    found = scraped(api)
    assert value(found, "held_instances", sync="user_routing") == 1
    assert value(found, "held_changes", sync="user_routing") == 42
    assert value(found, "held_instances", sync="ghost_users") == 0
    assert value(found, "confirmed_rows", sync="user_routing") == 400


@pytest.mark.parametrize("hidden_by", ["a pause", "a switch", "unresponsive workers"])
def test_what_is_held_stays_counted_whatever_hides_it(api: Client, hidden_by: str) -> None:
    instance_row(1, is_master=True)
    run = ended_run(state=RunState.HELD)
    run_part(run, state=TargetState.HELD, held_counts={"removed": 15_000})
    confirmation()
    default_schedules()
    ago = HOUR if hidden_by == "unresponsive workers" else timedelta(0)
    Heartbeat.objects.create(worker="host:1", at=timezone.now() - ago)
    if hidden_by == "a pause":
        SyncSchedule.objects.update(paused_until=timezone.now() + HOUR)
    elif hidden_by == "a switch":
        Schedule.objects.update(repeats=store.OFF)
    found = scraped(api)
    assert value(found, "held_instances", sync="user_routing") == 1
    assert value(found, "held_changes", sync="user_routing") == 15_000


def test_metrics_and_freshness_judge_the_workers_alike() -> None:
    reader = client("metrics:read", "syncs:read")
    instance_row(1, is_master=True)
    default_schedules()
    Schedule.objects.update(cron="0 * * * *")
    last = Heartbeat.objects.create(worker="host:1", at=timezone.now())
    for ago in (170, 185, 1_200):
        Heartbeat.objects.filter(pk=last.pk).update(at=timezone.now() - timedelta(seconds=ago))
        found = reader.get("/api/v1/freshness").json()["worker"]["silent"]
        assert value(scraped(reader), "workers_healthy") == (0 if found else 1), ago
        assert found is (ago > 180)


def test_a_sum_of_rows_needs_all_of_them(api: Client) -> None:
    for number in (1, 2):
        instance_row(number)
    confirmation("tenant_summaries", "1", rows=7)
    assert value(scraped(api), "confirmed_rows", sync="tenant_summaries") is None
    confirmation("tenant_summaries", "2", rows=5)
    assert value(scraped(api), "confirmed_rows", sync="tenant_summaries") == 12


@pytest.mark.parametrize(("ends_in", "live"), [(HOUR, "true"), (-HOUR, "false")])
def test_the_run_in_progress_and_the_queue(api: Client, ends_in: timedelta, live: str) -> None:
    now = timezone.now()
    run = SyncRun.objects.create(
        sync="ghost_users",
        state=RunState.RUNNING,
        trigger=Trigger.BUTTON,
        started_at=now - timedelta(seconds=90),
    )
    Lease.objects.create(sync=run.sync, token=1, run=run, expires_at=now + ends_in)
    for _ in range(2):
        SyncRun.objects.create(sync="user_routing", trigger=Trigger.API)
    SyncRun.objects.update(created_at=now - timedelta(seconds=40))
    Heartbeat.objects.create(worker="host:1", at=now - timedelta(seconds=70))
    found = scraped(api)
    held_for = value(found, "lease_holder_age_seconds", sync="ghost_users", live=live)
    assert held_for == pytest.approx(90, abs=30)
    assert value(found, "queued_runs", sync="user_routing") == 2
    assert value(found, "queue_oldest_age_seconds") == pytest.approx(40, abs=30)
    assert value(found, "worker_heartbeat_age_seconds") == pytest.approx(70, abs=30)


@pytest.mark.parametrize("ago", [timedelta(0), HOUR])
def test_workers_are_dead_when_the_first_page_says_so(api: Client, ago: timedelta) -> None:
    fleets.write(2, 4)
    default_schedules()
    Heartbeat.objects.create(worker="host:1", at=timezone.now() - ago)
    judged = problems.judge(problems.read(database_now()))
    is_dead = any(problem.severity is problems.Severity.WORKERS_DEAD for problem in judged)
    assert is_dead is bool(ago)
    assert value(scraped(api), "workers_healthy") == (0 if is_dead else 1)


def test_the_health_of_active_instances(api: Client) -> None:
    now = timezone.now()
    seen = {"last_check_at": now - timedelta(seconds=30), "latency_ms": 250.0}
    instance_row(1, health="healthy", replica_lag_s=1.5, **seen)
    instance_row(2, health="down", replica_lag_s=9.0, **seen)
    instance_row(3, is_active=False, health="healthy", **seen)
    found = scraped(api)
    one, two = {"rds": "1", "name": "rds1"}, {"rds": "2", "name": "rds2"}
    assert value(found, "instance_health", **one, health="healthy") == 1
    assert value(found, "instance_health", **two, health="down") == 1
    assert value(found, "instance_latency_seconds", **one) == 0.25
    assert value(found, "instance_replica_lag_seconds", **one) == 1.5
    assert value(found, "instance_check_age_seconds", **two) == pytest.approx(30, abs=30)
    # What it answered before it went down is not known of it now.
    assert value(found, "instance_latency_seconds", **two) is None
    assert value(found, "instance_replica_lag_seconds", **two) is None
    assert {dict(labels)["rds"] for labels in names(found, "instance_health")} == {"1", "2"}


def test_ghost_users_are_counted_as_the_first_page_counts_them(api: Client) -> None:
    instance_row(1)
    ghost()
    ghost(admin_id=98, confirmed="inactive")
    ghost(admin_id=97, owed_since=timezone.now())
    facts = GHOSTS.read_alone(database_now())
    found = scraped(api)
    assert value(found, "ghost_users_not_retired") == facts.leavers.ghosts == 1
    assert value(found, "ghost_users_missing") == facts.missing.ghosts == 0


def test_alerts_by_level_rule_and_channel(api: Client) -> None:
    now = timezone.now()
    see(problem(), problem("instance/3/down"), problem("instance/4/degraded", Severity.DEGRADED))
    see(problem(), problem("instance/3/down"), problem("instance/4/degraded", Severity.DEGRADED))
    sent_at = now - HOUR
    failing = channel("pager", failing_since=now, last_sent_at=sent_at)
    channel("quiet"), channel("off", enabled=False)
    for ago, ended in ((30, None), (90, None), (900, now)):
        made = now - timedelta(seconds=ago)
        Delivery.objects.create(
            channel=failing, content={}, created_at=made, not_before=now, given_up_at=ended
        )
    found = scraped(api)
    levels = [value(found, "open_incidents", level=level.label) for level in Level]
    assert levels == [2, 0, 1]
    assert value(found, "open_incidents_of_rule", rule="instance_down") == 2
    assert value(found, "open_incidents_of_rule", rule="held") == 0
    assert len(names(found, "open_incidents_of_rule")) == len(RULES)
    for name, waiting, is_failing in (("pager", 2, 1), ("quiet", 0, 0)):
        assert value(found, "alert_messages_waiting", channel=name) == waiting
        assert value(found, "alert_channel_failing", channel=name) == is_failing
    age = value(found, "alert_oldest_message_age_seconds", channel="pager")
    assert age == pytest.approx(90, abs=30)
    last = value(found, "alert_last_delivery_timestamp_seconds", channel="pager")
    assert last == pytest.approx(sent_at.timestamp())
    for unknown in ("alert_oldest_message_age_seconds", "alert_last_delivery_timestamp_seconds"):
        assert names(found, unknown) == {frozenset({("channel", "pager")})}


def test_names_can_not_break_a_line(api: Client) -> None:
    evil = 'a"b\\c\nrainbo_workers_healthy 1'
    instance_row(1, name=evil, health="healthy")
    assert value(scraped(api), "instance_health", rds="1", name=evil, health="healthy") == 1


TEXT, OPEN = "text/plain; version=1.0.0", "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", OPEN),
        ("text/plain, Application/OpenMetrics-Text ; version=x", OPEN),
        ("application/openmetrics-texts", TEXT),
        (";;,,;version==,\t" * 400, TEXT),
    ],
)
def test_the_format_is_what_is_accepted(accept: str, kind: str) -> None:
    instance_row(1)
    answer = client("metrics:read", accept=accept).get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"] == f"{kind}; charset=utf-8"
    text = answer.content.decode()
    read = parse_openmetrics if kind == OPEN else parse
    assert {"rainbo_workers_healthy", "rainbo_instance_health"} <= {f.name for f in read(text)}
    assert text.endswith("# EOF\n") is (kind == OPEN)


def test_who_may_not_read_metrics_gets_a_problem_document(api: Client) -> None:
    answers = {
        401: Client().get("/metrics"),
        403: client(secret=token("syncs:read", name="other")).get("/metrics"),
        405: api.post("/metrics", content_type="application/json"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert answer["Content-Type"] == "application/problem+json"
    assert answers[401]["WWW-Authenticate"] == 'Bearer realm="rainbo"'
    assert api.head("/metrics").status_code == 200
    assert client(secret="rbo_x").get("/metrics").status_code == 401


@pytest.mark.parametrize(("instances", "runs"), [(1, 4), (200, 400)])
def test_the_queries_do_not_grow_with_the_fleet(api: Client, instances: int, runs: int) -> None:
    fleets.write(instances, runs)
    default_schedules()
    api.get("/metrics")  # notes that the token was used, once a minute
    with CaptureQueriesContext(connection) as asked:
        answer = api.get("/metrics")
    assert answer.status_code == 200
    assert len(asked) <= QUERIES + 1  # and the token's


def test_a_label_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        [*metrics.gauge("probe", "A probe.", ("sync", "rds"), [(("user_routing",), 1)])]


def test_promtool_accepts_the_page(api: Client) -> None:
    promtool = needs(shutil.which("promtool"), "promtool is not installed: apt install prometheus")
    fleets.write(3, 12)
    default_schedules()
    RdsInstance.objects.update(replica_lag_s=1.5)
    page = api.get("/metrics").content
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_every_metric_is_written_down(api: Client) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    families = {family.name for family in parse(api.get("/metrics").content.decode())}
    assert set(re.findall(r"^\| `(rainbo_\w+)`", page, re.MULTILINE)) == families
