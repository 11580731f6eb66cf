"""docs/troubleshooting.md: in the state that a section is about, its commands say what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from alerts.models import Incident
from common.errors import RainboError
from integrations.models import Connection
from rainbo import command_errors
from syncs.dispatch import reconcile
from syncs.engine import runs
from syncs.engine.options import Options
from syncs.models import RunState, SyncRun, Trigger
from tenants.models import RdsInstance
from tests.alerts.rows import channel, incident
from tests.caches import run_sync
from tests.http_servers import Receiver, receiver
from tests.instances import InstanceFleet
from tests.integrations.rows import connection

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
Said = dict[str, tuple[int, str]]  # of each command by its name: exit code and output


def sections() -> dict[str, list[list[str]]]:
    """The commands of each section's blocks, by its heading."""
    found: dict[str, list[list[str]]] = {}
    for part in re.split(r"^#+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        lines = re.findall(r"^ *python manage\.py (.+)$", part, re.MULTILINE)
        found[part.partition("\n")[0]] = [shlex.split(line) for line in lines]
    return found


class Follow:
    """Runs the commands of a section, with values for what stands for one."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, heading: str, **values: str) -> Said:
        said: Said = {}
        for command in sections()[heading]:
            given = [values.get(word, word) for word in command]
            code = 0
            try:
                call_command(*given)
            except SystemExit as end:
                code = int(end.code or 0)
            except CommandError as error:
                code = error.returncode
            except RainboError as error:  # as manage.py does
                failure = command_errors.explain(error)
                code = failure.exit_code if failure else 1
            shown = self._capsys.readouterr()
            said[command[0]] = (code, shown.out + shown.err)
        return said


@pytest.fixture
def follow(capsys: pytest.CaptureFixture[str]) -> Follow:
    return Follow(capsys)


@pytest.fixture
def planned(registered: InstanceFleet) -> InstanceFleet:
    reconcile.reconcile()
    for instance in registered.instances:
        instance.add_tenant(1)
        instance.add_user(1, 1, "ann@example.com")
    registered.master.add_route(1, "ann@example.com", rds_instance_id=2)
    return registered


def held(fleet: InstanceFleet) -> SyncRun:
    fleet.master.execute("DELETE FROM user_email_routing")
    run = run_sync("user_routing")
    assert run.state == RunState.HELD
    return run


def test_nothing_is_synced(planned: InstanceFleet, follow: Follow) -> None:
    said = follow("Something is wrong: what do I do?")
    assert said["rainbo_status"][0] == 1
    said = follow("Nothing is synced")
    assert said["worker_health"][0] == 1
    assert "no worker has ever reported" in said["worker_health"][1]
    assert said["setup_schedules"][0] == 0
    assert "user_routing" in said["schedule_list"][1]


def test_cron_starts_nothing(planned: InstanceFleet, follow: Follow) -> None:
    runs.request("instance_health", Options(), Trigger.API, "test")
    said = follow("Cron does not start a sync")
    assert said["schedule_run"][0] == 0
    assert "instance_health succeeded" in said["schedule_run"][1]
    assert said["setup_automated_sync"][0] == 1


def test_a_sync_fails(planned: InstanceFleet, follow: Follow) -> None:
    master = RdsInstance.objects.get(pk=1)
    master.set_password("another")
    master.save()
    said = follow("A sync fails")
    assert said["schedule_test"][0] == 1
    assert "rejected the password" in said["schedule_test"][1]
    assert said["check_fleet"][0] == 1
    assert "rds1" in said["check_fleet"][1]


def test_a_run_is_cancelled(planned: InstanceFleet, follow: Follow) -> None:
    waiting = runs.request("user_routing", Options(), Trigger.API, "test")
    said = follow("A run overlaps another, or is skipped", RUN=str(waiting.pk))
    assert said["cancel_run"][0] == 0
    waiting.refresh_from_db()
    assert waiting.state == RunState.CANCELLED


def test_an_instance_is_down(planned: InstanceFleet, follow: Follow) -> None:
    run_sync("tenant_summaries")
    run_sync("user_routing")
    planned[2].server.stop()
    said = follow("An instance is down", EMAIL="ann@example.com")
    assert said["sync_instance_health"][0] != 0
    assert "refused the connection" in said["sync_instance_health"][1]
    assert said["find_user"][0] == 3
    assert "unknown" in said["find_user"][1]
    assert said["sync_all"][0] != 0


def test_data_is_stale(planned: InstanceFleet, follow: Follow) -> None:
    run_sync("tenant_summaries")
    run_sync("user_routing")
    said = follow("What I see is stale")
    assert said["rainbo_status"][0] == 0
    assert said["verify_cache"][0] == 0


def test_a_run_is_held(planned: InstanceFleet, follow: Follow) -> None:
    run_sync("user_routing")
    first = held(planned)
    said = follow("A run is held", RUN=str(first.pk))
    assert said["sync_user_routing"][0] == 0
    first.refresh_from_db()
    assert first.accepted_by is not None
    # A run that was accepted has nothing to discard.
    assert said["discard_held"][0] != 0


def test_a_held_run_is_discarded(planned: InstanceFleet) -> None:
    run_sync("user_routing")
    first = held(planned)
    (command,) = [one for one in sections()["A run is held"] if one[0] == "discard_held"]
    call_command(*[str(first.pk) if word == "RUN" else word for word in command])
    first.refresh_from_db()
    assert first.discarded_at is not None


@pytest.fixture
def server(settings: Any) -> Iterator[Receiver]:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]
    with receiver() as found:
        yield found


def test_an_alert_does_not_arrive(planned: InstanceFleet, follow: Follow, server: Receiver) -> None:
    channel(url=server.url("/x"))
    assert incident(at=timezone.now()) == Incident.objects.get()
    said = follow("An alert does not arrive", CHANNEL="ops")
    assert said["alert_list"][0] == 1
    assert said["alert_test"][0] == 0
    assert said["evaluate_alerts"][0] == 0
    assert len(server.received) >= 1


def test_a_connection_fails(planned: InstanceFleet, follow: Follow) -> None:
    row = connection(attempt=1, last_error="GitHub is away")
    said = follow("A connection of a service fails")
    assert "1 connection failed." in said["queue_failed"][1]
    assert said["queue_retry"][0] == 0
    assert Connection.objects.get(pk=row.pk).not_before is None


def test_each_section_with_commands_has_its_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    missing = [title for title, words in sections().items() if words and title not in source]
    assert missing == []
