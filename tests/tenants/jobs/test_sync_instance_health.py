from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.utils import timezone
from pytest_django import Settings

from localfleet.servers.server import Server
from syncs.engine import pruning
from syncs.models import Confirmation, RunState, TargetState
from tenants.health import history
from tenants.health.probe import HealthProbe
from tenants.models import InstanceCheck, RdsInstance
from tenants.models.instance import Health
from tests.caches import everything, part, register, run_sync
from tests.instances import Instance, InstanceFleet

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def known(number: int = 1) -> RdsInstance:
    return RdsInstance.objects.get(pk=number)


def probe(latency_ms: float = 1, skew_ms: float = 0, connections: int = 1) -> HealthProbe:
    return HealthProbe(NOON, latency_ms, skew_ms, connections, 100, "18.1")


def test_healthy_instances(registered: InstanceFleet) -> None:
    run = run_sync("instance_health")
    assert run.state == RunState.SUCCEEDED, run.error
    one, check = known(), InstanceCheck.objects.get(instance=1)
    assert (one.health, check.health) == ("healthy", "healthy")
    assert one.latency_ms is not None
    assert 0 < one.latency_ms < 1000
    assert check.skew_ms is not None
    assert abs(check.skew_ms) < 1000
    assert check.connections is not None
    assert check.connections >= 1
    assert check.max_connections == 100
    assert one.server_version == check.server_version == "18.6"
    assert one.last_check_at
    assert Confirmation.objects.filter(sync="instance_health").count() == 3


def test_an_instance_that_is_down(registered: InstanceFleet) -> None:
    run_sync("instance_health")
    registered[2].server.stop()
    run = run_sync("instance_health")
    assert run.state == RunState.PARTIAL
    assert part(run, 2).state == TargetState.FAILED
    two = known(2)
    assert (two.health, two.latency_ms, two.server_version) == ("down", None, "18.6")
    assert two.last_error == part(run, 2).error
    assert "instance 2 (rds2) refused the connection" in two.last_error
    registered[2].server.start()
    run_sync("instance_health", failed_from=run.pk)
    assert (known(2).health, known(2).last_error) == ("healthy", "")


def test_down_is_not_confirmed(registered: InstanceFleet) -> None:
    registered[2].server.stop()
    run_sync("instance_health")
    assert set(Confirmation.objects.values_list("target", flat=True)) == {"1", "3"}


def test_a_server_that_rejects_the_login_is_up_and_refused(registered: InstanceFleet) -> None:
    """And healthy again once the password is right, with no outage in its history."""
    row = known(2)
    row.set_password("another")
    row.save()
    run = run_sync("instance_health")
    assert (run.state, part(run, 2).error_kind) == (RunState.PARTIAL, "login")
    row = known(2)
    assert (row.health, row.is_down) == ("refused", True)
    assert row.last_error.startswith("instance 2 (rds2) rejected the password for role")
    day = history.last_day(row, timezone.now() + timedelta(minutes=1))
    assert (day.whole.worst, day.whole.refused, day.whole.down) == (Health.REFUSED, 1, 0)
    assert day.outages == ()
    assert history.down_since(2) is None  # nothing was ever read there
    row.set_password(registered[2].rainbo_password)
    row.save()
    run_sync("instance_health")
    assert known(2).health == "healthy"


def test_a_black_hole_is_down_in_time(
    registered: InstanceFleet, black_hole: tuple[str, int]
) -> None:
    register(registered[2], id=9, name="hole", port=black_hole[1])
    started = time.monotonic()
    run = run_sync("instance_health")
    assert time.monotonic() - started < 8
    assert known(9).health == "down"
    assert registered[2].rainbo_password not in everything(run)


@pytest.mark.parametrize(
    ("seen", "health", "words"),
    [
        (probe(), "healthy", []),
        (probe(latency_ms=1000), "healthy", []),
        (probe(latency_ms=1001), "degraded", ["it takes 1,001 ms to answer"]),
        (probe(skew_ms=-6500), "degraded", ["its clock is 6.5 s behind ours"]),
        (probe(skew_ms=6500), "degraded", ["its clock is 6.5 s ahead of ours"]),
        (probe(connections=90), "healthy", []),
        (probe(connections=91), "degraded", ["91 of 100 connections are in use"]),
    ],
)
def test_what_probe_values_mean(seen: HealthProbe, health: str, words: list[str]) -> None:
    assert (seen.health.value, seen.warnings) == (health, words)


def test_a_degraded_instance_says_why(
    registered: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenants.health.probe.SLOW_MS", 0)
    run = run_sync("instance_health")
    assert run.state == RunState.SUCCEEDED
    assert known().health == "degraded"
    assert "ms to answer" in known().last_error
    assert "ms to answer" in part(run).note


def test_one_row_a_minute(registered: InstanceFleet) -> None:
    for _ in range(3):
        run_sync("instance_health")
    minutes = InstanceCheck.objects.filter(instance=1).values_list("minute", flat=True)
    assert 1 <= len(minutes) <= 2
    assert {minute.second for minute in minutes} == {0}


def test_old_checks_are_dropped(registered: InstanceFleet, settings: Settings) -> None:
    now = datetime.now(UTC)
    kept = timedelta(days=settings.RAINBO_CHECK_RETENTION_DAYS)
    for age in (kept + timedelta(hours=1), timedelta(days=6)):
        InstanceCheck.objects.create(instance_id=1, minute=now - age, health="healthy")
    run_sync("instance_health", targets=("2",))
    pruning.roll_up_by_itself()
    assert [c.minute for c in InstanceCheck.objects.filter(instance=1)] == [now - age]


def test_only_the_instances_that_are_named(registered: InstanceFleet) -> None:
    run = run_sync("instance_health", targets=("3",))
    assert [p.target for p in run.targets.all()] == ["3"]
    assert known(1).health == "unknown"


def test_a_dry_run_writes_nothing(registered: InstanceFleet) -> None:
    run = run_sync("instance_health", dry_run=True)
    assert run.state == RunState.SUCCEEDED
    assert not InstanceCheck.objects.exists()
    assert not Confirmation.objects.exists()
    assert (known().health, known().identity) == ("unknown", "")


WORKERS = 6
CROWDED = {"max_connections": "8", "max_worker_processes": "12", "max_parallel_workers": "12"}
BUSY = f"""
    CREATE TABLE numbers AS SELECT n FROM generate_series(1, 300000) AS n;
    ALTER TABLE numbers SET (parallel_workers = {WORKERS}); ANALYZE numbers"""
PARALLEL = """
    SET max_parallel_workers_per_gather = 6; SET parallel_setup_cost = 0;
    SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0"""
LONG = "SELECT count(*) FROM numbers WHERE length(repeat(md5(n::text), 3000)) > n % 5"
COUNT = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = "


@contextmanager
def parallel_workers(instance: Instance) -> Iterator[None]:
    """A session of another role with its six workers: two connections with the one that looks."""
    with (
        ThreadPoolExecutor(1) as pool,
        instance.connect() as busy,
        instance.connect() as looking,
    ):
        busy.execute(BUSY.encode())
        busy.execute(PARALLEL.encode())
        reading = pool.submit(busy.execute, LONG)
        try:
            while looking.execute(f"{COUNT} 'parallel worker'").fetchone() != (WORKERS,):
                assert not reading.done()
            yield
        finally:
            busy.cancel_safe()
            assert isinstance(reading.exception(), psycopg.errors.QueryCanceled)


@pytest.fixture
def crowded(
    extra_server: Callable[..., Server],
    extra_instance: Callable[..., Instance],
    transactional_db: None,
) -> Instance:
    instance = extra_instance(4, server=extra_server("crowded", options=CROWDED))
    register(instance)
    return instance


@pytest.fixture
def crowded_15(
    extra_server: Callable[..., Server],
    extra_instance: Callable[..., Instance],
    debian_bin: object,
    transactional_db: None,
) -> Instance:
    server = extra_server("crowded", bin_folder=debian_bin, options=CROWDED)
    instance = extra_instance(4, server=server)
    register(instance)
    return instance


def measured() -> tuple[int | None, int | None, str]:
    assert run_sync("instance_health").state == RunState.SUCCEEDED
    check = InstanceCheck.objects.latest("minute")
    return check.connections, check.max_connections, check.health


def test_parallel_workers_are_no_connections(crowded: Instance) -> None:
    with parallel_workers(crowded):
        assert measured() == (3, 8, "healthy")


def test_a_role_that_may_see_sessions_counts_connections_alone(crowded_15: Instance) -> None:
    crowded_15.execute("GRANT pg_read_all_stats TO rainbo")
    with parallel_workers(crowded_15):
        assert measured() == (3, 8, "healthy")
    crowded_15.execute("REVOKE pg_read_all_stats FROM rainbo")


def test_more_than_can_be_is_unknown(crowded_15: Instance) -> None:
    with parallel_workers(crowded_15):
        assert measured() == (None, 8, "healthy")
