"""Real processes that are killed while they send, or with everybody else."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from alerts import outbox
from alerts.models import ChannelKind, Delivery, Incident, Rule
from localfleet.processes import process_table
from syncs import hooks, tasks
from syncs.engine.options import Options
from syncs.models import Heartbeat, Trigger
from tests.alerts.rows import SECOND, channel
from tests.children import Child, child, until
from tests.http_servers import Receiver, receiver
from tests.rows import instance_row

pytestmark = pytest.mark.django_db(transaction=True)
ENV = {"RAINBO_HTTP_PRIVATE_HOSTS": "127.0.0.1"}
KILLS = [1, pytest.param(20, marks=[pytest.mark.soak, pytest.mark.timeout(600)])]


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def keys(server: Receiver) -> list[tuple[str, list[str]]]:
    """The id and the incidents of each message that arrived."""
    return [
        (
            request.headers["webhook-id"],
            [one["key"] for one in json.loads(request.body)["data"]["incidents"]],
        )
        for request in server.received
    ]


@pytest.mark.parametrize("kills", KILLS)
def test_a_kill_between_sending_and_storing_repeats_the_message_with_its_id(
    server: Receiver, kills: int
) -> None:
    """The server has the message, and answers nobody any longer."""
    instance_row()
    channel(kind=ChannelKind.WEBHOOK, url=server.url("/x"))
    for kill in range(kills):
        with child("evaluate_alerts", "--quiet", **ENV) as process:
            server.before_reply = lambda process=process: process.signal(signal.SIGKILL)  # type: ignore[misc]
            assert process.end()[0] == -signal.SIGKILL
        assert len(server.received) == kill + 1
        Delivery.objects.update(claimed_until=F("claimed_until") - outbox.CLAIM)
    server.before_reply = lambda: None
    with child("evaluate_alerts", "--quiet", **ENV) as process:
        assert process.end()[0] == 0
    assert len({pk for pk, _ in keys(server)}) == 1
    assert len(server.received) == kills + 1
    delivery = Delivery.objects.get()
    assert (delivery.attempts, delivery.sent_at is None) == (kills + 1, False)
    with child("evaluate_alerts", "--quiet", **ENV) as process:
        assert process.end()[0] == 0
    assert len(server.received) == kills + 1


def test_an_urgent_message_is_sent_by_the_process_that_found_it(server: Receiver) -> None:
    """Neither workers nor a crontab entry of alerts are there."""
    instance_row(host="127.0.0.1", port=1)
    Rule.objects.update_or_create(name="instance_down", defaults={"threshold": 1})
    channel(kind=ChannelKind.WEBHOOK, url=server.url("/x"))
    with child("sync_instance_health", **ENV) as process:
        process.end()
    assert any("instance/1/down" in found for _, found in keys(server))


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_an_urgent_message_of_a_worker_arrives_in_seconds(server: Receiver) -> None:
    """Not at its main process's next minute."""
    instance_row(host="127.0.0.1", port=1)
    Rule.objects.update_or_create(name="instance_down", defaults={"threshold": 1})
    channel(kind=ChannelKind.WEBHOOK, url=server.url("/x"))
    with child("schedule_work", **ENV):
        until(lambda: Heartbeat.objects.exists(), seconds=60)
        until(lambda: hooks.last_noted("alerts.evaluation"), seconds=60)
        run = tasks.request("instance_health", Options(), Trigger.API, "ann").run
        until(lambda: arrived(server, "instance/1/down"), seconds=60)
        run.refresh_from_db()
        assert run.finished_at is not None
        took = (timezone.now() - run.finished_at).total_seconds()
    print(f"a message {took:.1f} s after the run")
    assert took < 10


def test_without_its_database_nothing_vouches_for_rainbo(server: Receiver) -> None:
    ping = ENV | {"RAINBO_ALERTS_PING_URL": server.url("/ping")}
    with child("evaluate_alerts", "--quiet", **ping, RAINBO_DB_PORT="1") as process:
        code, said = process.end()
    assert code != 0
    assert "Traceback" not in said
    assert [request.path for request in server.received] == ["/ping/start", "/ping/fail"]
    assert server.received[1].body == b"evaluating or sending failed: OperationalError"


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_all_workers_are_killed_and_a_message_arrives_by_crontab(server: Receiver) -> None:
    """At the default settings: within six minutes, of which three are missed heartbeats. Crontab
    vouches for the dead for two intervals at most.
    """
    instance_row(host="127.0.0.1", port=1)
    channel(kind=ChannelKind.WEBHOOK, url=server.url("/x"))
    ping: dict[str, Any] = ENV | {"RAINBO_ALERTS_PING_URL": server.url("/ping")}
    with child("schedule_work", **ping) as workers:
        until(lambda: Heartbeat.objects.exists(), seconds=60)
        until(lambda: any(r.path == "/ping" for r in server.received), seconds=60)
        kill_all(workers)
    killed = time.monotonic()
    pings: int | None = None
    while not arrived(server, "workers"):
        passed = time.monotonic() - killed
        assert passed < 360
        if pings is None and passed > 120:
            pings = sum(r.path == "/ping" for r in server.received)
        by_crontab(ping)
        time.sleep(20)
    print(f"a message after {time.monotonic() - killed:.0f} s")
    assert sum(r.path == "/ping" for r in server.received) == pings
    assert Incident.objects.filter(key="workers", rule="workers_dead").exists()
    last = Heartbeat.objects.exclude(worker__endswith=":schedule_run").latest("at").at
    assert timezone.now() - last > timedelta(minutes=3) - 5 * SECOND
    # The message may leave with the end of a run, the ping only with a tick: one a minute.
    while not (failed := [r for r in server.received if r.path == "/ping/fail"]):
        assert time.monotonic() - killed < 360
        time.sleep(20)
        by_crontab(ping)
    assert failed[0].body.startswith(b"no worker has reported since ")


def by_crontab(env: dict[str, Any]) -> None:
    with child("schedule_run", "--quiet", **env) as cron:
        cron.end(timeout=120)


def arrived(server: Receiver, key: str) -> bool:
    sent = [request for request in server.received if request.path == "/x"]
    return any(key == one["key"] for r in sent for one in json.loads(r.body)["data"]["incidents"])


def kill_all(workers: Child) -> None:
    """The supervisor first, so that nobody restarts the others."""
    found = process_table.descendants(workers.process.pid)
    for pid in (workers.process.pid, *found):
        os.kill(pid, signal.SIGKILL)
