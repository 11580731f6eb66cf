from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import pytest

from localfleet.servers import databases
from localfleet.servers.server import Server
from syncs.errors import WrongIdentity
from syncs.models import RunState
from tenants.fleet import connections, identity
from tenants.models import RdsInstance
from tests.caches import part, register, run_sync
from tests.instances import Instance, InstanceFleet


def known(number: int) -> RdsInstance:
    return RdsInstance.objects.get(pk=number)


def visit(*numbers: int, remember: bool = True) -> list[str | None]:
    """The error of each instance, None where it was entered."""
    outcomes = connections.each_instance(
        [known(number) for number in numbers], lambda *_: "in", "test", remember=remember
    )
    return [str(outcome.error) if outcome.error else None for outcome in outcomes]


def rebuild(instance: Instance) -> None:
    """Another database under the old name, as when a server is rebuilt."""
    databases.drop(instance.server, "app")
    instance.reset()


@pytest.fixture
def cold_copy(extra_server: Callable[..., Server]) -> Callable[[Instance], Instance]:
    """Makes a server of the copied data folder of a stopped one, as from a snapshot."""

    def copy(origin: Instance) -> Instance:
        server = extra_server("copy")
        server.stop()
        origin.server.stop()
        shutil.rmtree(server.data)
        subprocess.run(["cp", "-a", origin.server.data, server.data], check=True)
        server._password_file.write_text(origin.server.password)
        origin.server.start()
        server.start()
        return Instance(9, server, False, origin.rainbo_password)

    return copy


def test_it_is_remembered_at_first_contact(registered: InstanceFleet) -> None:
    assert known(1).identity == ""
    assert visit(1) == [None]
    with registered.master.connect() as source:
        assert known(1).identity == str(identity.read(source)[0])


def test_a_dry_run_remembers_nothing(registered: InstanceFleet) -> None:
    assert run_sync("user_routing", dry_run=True).state == RunState.SUCCEEDED
    assert visit(1, remember=False) == [None]
    assert known(1).identity == ""


def test_another_server_under_the_same_endpoint_is_refused(registered: InstanceFleet) -> None:
    assert visit(1) == [None]
    rebuild(registered.master)
    (error,) = visit(1)
    assert error is not None
    assert "instance 1 (rds1) is another server than before" in error
    assert "add_instance --update --id 1 --accept-rebuilt" in error
    with pytest.raises(WrongIdentity), connections.connect(known(1), "test"):
        pass


def test_a_sync_publishes_nothing_of_another_server(registered: InstanceFleet) -> None:
    registered[2].add_tenant(1)
    run_sync("tenant_summaries")
    rebuild(registered[2])
    run = run_sync("tenant_summaries")
    assert run.state == RunState.PARTIAL
    assert part(run, 2).error_kind == "identity"
    assert known(2).tenants.filter(vanished_at=None).count() == 1


def test_one_server_registered_twice_is_refused(registered: InstanceFleet) -> None:
    assert visit(2) == [None]
    register(registered[2], id=9, name="twin")
    assert visit(2) == [None]
    (error,) = visit(9)
    assert error is not None
    assert "instance 9 (twin) has the identity of instance 2 (rds2)" in error
    assert known(9).identity == ""


def test_of_two_new_ones_with_one_identity_one_is_refused(registered: InstanceFleet) -> None:
    register(registered[2], id=9, name="twin")
    errors = visit(2, 9)
    assert [error is None for error in errors].count(True) == 1


def test_two_databases_of_one_server_are_two(registered: InstanceFleet) -> None:
    server = registered[2].server
    databases.create(server, "app2", template="app_template")
    with server.connect() as connection:
        connection.execute("GRANT CONNECT ON DATABASE app2 TO rainbo")
    register(registered[2], id=9, name="second", database="app2")
    assert visit(2, 9) == [None, None]
    databases.drop(server, "app2")


def test_a_cold_copy_is_refused_until_a_person_calls_it_one(
    registered: InstanceFleet, cold_copy: Callable[[Instance], Instance]
) -> None:
    assert visit(2) == [None]
    register(cold_copy(registered[2]), name="shard")
    (error,) = visit(9)
    assert error is not None
    assert "--copy-of 2" in error
    RdsInstance.objects.filter(pk=9).update(copy_of=2)
    assert visit(9, 2) == [None, None]
    assert known(9).identity == known(2).identity


def test_copies_of_one_origin_are_related(registered: InstanceFleet) -> None:
    assert visit(2) == [None]
    for number in (8, 9):
        register(registered[2], id=number, name=f"copy{number}", copy_of_id=2)
    assert visit(8, 9) == [None, None]


def test_a_first_contact_does_not_overwrite_what_another_remembered(
    registered: InstanceFleet,
) -> None:
    early = known(1)
    RdsInstance.objects.filter(pk=1).update(system_identifier="1", database_oid=1)
    with registered.master.connect() as source, pytest.raises(WrongIdentity):
        identity.remember(early, identity.read(source)[0])
    assert known(1).identity == "1/1"
