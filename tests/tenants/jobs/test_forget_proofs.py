"""What was proved of one server says nothing of another that takes its number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.forms.models import model_to_dict
from django.test import Client

from localfleet.servers import databases
from syncs.models import BucketDigest, Confirmation, TargetState, Trigger, WithheldRow
from tenants.models import RdsInstance, Tenant
from tests.caches import part, run_sync
from tests.instances import TEMPLATE, Instance, InstanceFleet
from tests.rows import confirmation, instance_row

pytestmark = pytest.mark.django_db
OTHER = "other"


def proved(*targets: str) -> None:
    """Everything that syncs remember of targets."""
    for target in targets:
        confirmation("tenant_summaries", target)
        confirmation("instance_health", target)
        BucketDigest.objects.create(
            sync="tenant_summaries", target=target, bucket=0, rows=1, xor=1, sum=1
        )
        WithheldRow.objects.create(
            sync="user_routing", target=target, source_id="1", row_hash=1, reason="no e-mail"
        )


def remembered(target: str) -> list[int]:
    kinds = (Confirmation, BucketDigest, WithheldRow)
    return [kind._default_manager.filter(target=target).count() for kind in kinds]


def form(instance: RdsInstance, **fields: Any) -> dict[str, Any]:
    known = model_to_dict(instance) | {"is_active": "on", "new_password": "entered again"}
    known["save_anyway"] = "on"  # no server stands behind it
    known.pop("is_master")
    known = {name: value for name, value in known.items() if value is not None}
    return known | fields


@pytest.fixture
def instances() -> RdsInstance:
    """The second of two instances; all is known of both."""
    instance_row(1)
    proved("1", "2")
    return instance_row(2)


def test_a_deleted_instance_takes_its_proofs_along(instances: RdsInstance) -> None:
    RdsInstance.objects.filter(pk=2).delete()
    assert (remembered("2"), remembered("1")) == ([0, 0, 0], [2, 1, 1])


def test_a_deletion_that_is_taken_back_keeps_them(instances: RdsInstance) -> None:
    with transaction.atomic():
        instances.delete()
        transaction.set_rollback(True)
    assert remembered("2") == [2, 1, 1]


@pytest.mark.parametrize(
    "words",
    [
        ["--host", "other.example.com"],
        ["--port", "5433"],
        ["--database", OTHER],
        ["--accept-rebuilt"],
    ],
    ids=lambda words: words[0],
)
def test_another_server_has_proved_nothing(
    instances: RdsInstance, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("PW", "x")
    given = ["--update", "--id=2", "--no-check", "--password-env=PW", *words]
    call_command("add_instance", *given)
    assert (remembered("2"), remembered("1")) == ([0, 0, 0], [2, 1, 1])


def test_another_name_takes_no_proof_away(instances: RdsInstance) -> None:
    call_command("add_instance", "--update", "--id=2", "--no-check", "--name=renamed")
    assert remembered("2") == [2, 1, 1]


@pytest.mark.parametrize(
    ("changed", "left"),
    [
        ({"host": "other.example.com"}, [0, 0, 0]),
        ({"port": 5433}, [0, 0, 0]),
        ({"database": OTHER}, [0, 0, 0]),
        ({"name": "renamed"}, [2, 1, 1]),
    ],
    ids=["host", "port", "database", "name"],
)
def test_the_console_forgets_as_well(
    admin_client: Client, instances: RdsInstance, changed: dict[str, Any], left: list[int]
) -> None:
    url = "/admin/tenants/rdsinstance/2/settings/"
    assert admin_client.post(url, form(instances, **changed)).status_code == 302
    assert (remembered("2"), remembered("1")) == (left, [2, 1, 1])


def test_a_number_that_is_taken_anew_begins_with_nothing(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved("8", "9")
    known = {"name": "new", "host": "rds.example.com", "database": "app", "user": "rainbo"}
    monkeypatch.setenv("PW", "x")
    given = [f"--{name}={value}" for name, value in known.items()]
    call_command("add_instance", "--id=8", "--no-check", "--password-env=PW", *given)
    added = form(RdsInstance(pk=9, **known | {"name": "newer"}))
    assert admin_client.post("/admin/tenants/rdsinstance/add/", added).status_code == 302
    assert (remembered("8"), remembered("9")) == ([0, 0, 0], [0, 0, 0])


@pytest.fixture
def rebuilt(registered: InstanceFleet) -> Iterator[Instance]:
    """Instance 3, just synced; another database with one tenant stands next to its own."""
    instance = registered[3]
    instance.add_tenant(1, "before")
    run_sync("tenant_summaries")
    databases.drop(instance.server, OTHER)
    databases.create(instance.server, OTHER, template=TEMPLATE)
    with instance.server.connect(OTHER) as source:
        source.execute("INSERT INTO tenants (id, name) VALUES (1, 'after')")
        source.execute(f"GRANT CONNECT ON DATABASE {OTHER} TO rainbo".encode())
    yield instance
    databases.drop(instance.server, OTHER)


def test_a_manual_sync_reads_the_new_server(rebuilt: Instance) -> None:
    call_command("add_instance", "--update", "--id=3", f"--database={OTHER}", "--accept-rebuilt")
    run = run_sync("tenant_summaries", Trigger.COMMAND)
    assert part(run, 1).state == TargetState.SKIPPED
    assert part(run, 3).state == TargetState.SUCCEEDED
    assert Tenant.objects.get(instance_id=3).name == "after"
