"""Many instances are published together, and each can still fail alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_django import Settings

from syncs.models import BucketDigest, Confirmation, RunState, TargetState
from tenants.fleet import transactions
from tenants.health import probe
from tenants.models import RdsInstance, Tenant
from tests.caches import counts, part, query, register, run_sync
from tests.instances import InstanceFleet


@pytest.fixture
def filled(registered: InstanceFleet) -> InstanceFleet:
    for instance in registered.instances:
        for tenant in range(1, 4):
            instance.add_tenant(tenant)
    return registered


@pytest.fixture
def corrupting() -> Iterator[None]:
    """RAINBO's own table stores another name than it is given, for instance 2."""
    query(
        """CREATE FUNCTION corrupt() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.name := 'x'; RETURN NEW; END $$;
           CREATE TRIGGER corrupt BEFORE INSERT OR UPDATE ON tenant_master
           FOR EACH ROW WHEN (NEW.instance_id = 2) EXECUTE FUNCTION corrupt()"""
    )
    yield
    query("DROP FUNCTION corrupt() CASCADE")


def test_an_instance_that_cannot_be_proved_is_taken_back_alone(
    filled: InstanceFleet, corrupting: None
) -> None:
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert "digests of cache and source differ" in part(run, 2).error
    assert set(Tenant.objects.values_list("instance_id", flat=True)) == {1, 3}
    assert set(Confirmation.objects.values_list("target", flat=True)) == {"1", "3"}
    assert set(BucketDigest.objects.values_list("target", flat=True)) == {"1", "3"}
    assert [counts(run, target)[1] for target in (1, 3)] == [3, 3]


def test_all_instances_that_cannot_be_proved_fail_by_name(
    filled: InstanceFleet, corrupting: None
) -> None:
    RdsInstance.objects.exclude(pk=2).update(is_active=False)
    run = run_sync("tenant_summaries")
    assert run.state == RunState.FAILED
    assert part(run, 2).state == TargetState.FAILED
    assert not Tenant.objects.exists()


def statements(monkeypatch: pytest.MonkeyPatch, sync: str) -> int:
    """How many statements a run's own session executes."""
    executed: list[Any] = []
    execute = psycopg.Connection.execute

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.info.parameter_status("application_name") == f"rainbo/{sync}":
            executed.append(args)
        return execute(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", counting)
        assert run_sync(sync).state == RunState.SUCCEEDED
    return len(executed)


def test_more_instances_are_not_published_by_more_statements(
    filled: InstanceFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sync("tenant_summaries")
    three = statements(monkeypatch, "tenant_summaries")
    RdsInstance.objects.exclude(pk=2).update(is_active=False)
    one = statements(monkeypatch, "tenant_summaries")
    assert three > 5
    assert three == one


def round_trips(monkeypatch: pytest.MonkeyPatch, folder: Path, sync: str) -> list[int]:
    """How often a run waits for each instance after the login, by libpq's own trace."""
    traces: list[Path] = []
    connect = transactions.Connection.connect

    def traced(*args: Any, **kwargs: Any) -> Any:
        connection = connect(*args, **kwargs)
        if str(kwargs.get("application_name")).startswith(f"rainbo/{sync}/"):
            traces.append(folder / f"{sync} {len(traces)}")
            connection.pgconn.trace(files.enter_context(traces[-1].open("wb")).fileno())
        return connection

    with ExitStack() as files, monkeypatch.context() as patched:
        patched.setattr(transactions.Connection, "connect", traced)
        assert run_sync(sync).state == RunState.SUCCEEDED
    return [trace.read_text().count("ReadyForQuery") for trace in traces]


def test_a_visit_takes_few_round_trips(
    filled: InstanceFleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first is for the transaction's settings and the identity, the last for its end."""
    of_each = {
        "tenant_summaries": 1 + len(("types and tables", "hash functions", "rows")) + 1,
        "ghost_users": 1 + len(("tables", "SAVEPOINT", "the statement", "RELEASE")) + 1,
        "instance_health": 1 + probe.ROUND_TRIPS + len(("health probe",)) + 1,
    }
    for sync, count in of_each.items():
        run_sync(sync)
        assert round_trips(monkeypatch, tmp_path, sync) == [count] * 3, sync


def test_instances_of_several_encodings_are_proved_together(
    filled: InstanceFleet, extra_instance: Any
) -> None:
    for number, encoding in ((4, "LATIN1"), (5, "SQL_ASCII")):
        other = extra_instance(number, encoding=encoding)
        other.add_tenant(1, "Tenant eins")
        register(other)
    for _ in range(2):
        run = run_sync("tenant_summaries")
        assert run.state == RunState.SUCCEEDED, [p.error for p in run.targets.all()]
    assert Tenant.objects.filter(instance_id__in=(4, 5), name="Tenant eins").count() == 2


def test_an_instance_that_never_answers_holds_nobody_else_up(
    filled: InstanceFleet, black_hole: tuple[str, int], settings: Settings
) -> None:
    settings.RAINBO_CONNECT_TIMEOUT = 2
    settings.RAINBO_FLEET_THREADS = 2
    register(filled[2], id=9, name="hole", port=black_hole[1])
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert part(run, 9).error_kind == "timeout"
    assert [part(run, target).state for target in (1, 2, 3)] == [TargetState.SUCCEEDED] * 3
    assert max(part(run, target).seconds or 0 for target in (1, 2, 3)) < 2
    assert Tenant.objects.count() == 9
