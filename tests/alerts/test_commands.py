"""The commands of alerts: what they print, their documents and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from activity.models import Activity
from alerts import outbox
from alerts.models import Delivery, Mute
from common.errors import UsageError
from common.text import parse_length
from syncs import hooks
from syncs.models import Periodic
from syncs.status.problems import Severity
from tests.alerts.rows import HOUR, MINUTE, NOW, SECRET, channel, incident, problem, see
from tests.http_servers import Receiver, receiver
from tests.rows import instance_row

pytestmark = pytest.mark.django_db
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def server(settings: Any) -> Iterator[Receiver]:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]
    with receiver() as found:
        yield found


@pytest.fixture(autouse=True)
def _evaluated() -> None:
    hooks.note("alerts.evaluation", timezone.now())


def run(*arguments: str) -> int:
    try:
        call_command(*arguments)
    except SystemExit as end:
        return int(str(end.code))
    return 0


def test_alert_list_names_each_incident(capsys: Capture) -> None:
    assert run("alert_list", "--check") == 0
    assert capsys.readouterr().out == "No incident is open.\n"
    see(problem("workers", Severity.WORKERS_DEAD, ()), problem("sync/x/late", Severity.LATE, ()))
    assert run("alert_list", "--check") == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "urgent" in first
    assert "No heartbeat of a worker: workers is wrong" in first
    assert "explained by" in second


def test_alert_list_of_incidents_that_nobody_evaluates_is_no_good_news(capsys: Capture) -> None:
    hooks.note("alerts.evaluation", timezone.now() - 11 * MINUTE)
    assert run("alert_list", "--check") == 1
    assert "Alerts have not been evaluated since" in capsys.readouterr().err
    Periodic.objects.all().delete()
    assert run("alert_list", "--check") == 1
    assert "not been evaluated yet" in capsys.readouterr().err


def test_alert_list_as_a_document(capsys: Capture) -> None:
    row = incident()
    Mute.objects.create(key=row.key, until=NOW.replace(year=2099), reason="moving", by="ann")
    assert run("alert_list", "--json", "--check") == 0, "a muted one is no alarm"
    (found,) = json.loads(capsys.readouterr().out)["incidents"]
    assert found["key"] == "instance/2/down"
    assert found["level"] == "urgent"
    assert found["mute_reason"] == "moving"
    assert found["since"] == "2026-07-01T12:00:00+00:00"


def test_alert_list_of_the_past(capsys: Capture) -> None:
    incident()
    see(at=NOW + MINUTE)
    assert run("alert_list", "--history", "5") == 0
    assert "resolved" in capsys.readouterr().out


def test_alert_ack(capsys: Capture) -> None:
    row = incident()
    assert run("alert_ack", str(row.pk), "--for", "4h") == 0
    assert "is acknowledged until" in capsys.readouterr().out
    row.refresh_from_db()
    assert row.acknowledged_until is not None
    assert row.acknowledged_at is not None
    assert timedelta(0) <= row.acknowledged_until - row.acknowledged_at - 4 * HOUR + MINUTE
    assert Activity.objects.get().action == "incident.acknowledged"


def test_alert_mute_and_its_end(capsys: Capture) -> None:
    row = incident()
    assert run("alert_mute", str(row.pk), "--for", "7d", "--reason", "moving", "--json") == 0
    assert json.loads(capsys.readouterr().out)["mute_reason"] == "moving"
    assert run("alert_mute", str(row.pk), "--end") == 0
    assert run("alert_mute", str(row.pk), "--end") == 2
    actions = list(Activity.objects.order_by("pk").values_list("action", flat=True))
    assert actions == ["incident.muted", "incident.unmuted"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("alert_ack", "999"), "there is no incident 999"),
        (("alert_ack", "{pk}", "--for", "soon"), "is no length of time"),
        (("alert_ack", "{pk}", "--for", "0h"), "must be in the future"),
        (("alert_mute", "{pk}"), "say how long with --for"),
        (("alert_mute", "{pk}", "--for", "4h"), "needs a reason"),
        (("alert_mute", "{pk}", "--for", "367d", "--reason", "x"), "within a year"),
        (("alert_test", "nowhere"), "There is no such channel. There are: none"),
    ],
)
def test_what_can_not_be_done_exits_with_2(
    arguments: tuple[str, ...], words: str, capsys: Capture
) -> None:
    row = incident()
    assert run(*(argument.format(pk=row.pk) for argument in arguments)) == 2
    shown = capsys.readouterr()
    assert words in " ".join(shown.err.split())
    assert not shown.out
    assert not Mute.objects.exists()


def test_an_incident_that_is_over_takes_nothing() -> None:
    row = incident()
    see(at=NOW + MINUTE)
    assert run("alert_ack", str(row.pk)) == 2


@pytest.mark.parametrize(("text", "minutes"), [("30min", 30), ("4h", 240), ("7d", 10_080)])
def test_lengths_of_time(text: str, minutes: int) -> None:
    assert parse_length(text) == minutes * MINUTE


@pytest.mark.parametrize("text", ["", "h", "4", "4 h", "-1h", "1.5h", "999999d", "4w"])
def test_no_lengths_of_time(text: str) -> None:
    with pytest.raises(UsageError, match="use 30min, 4h or 7d"):
        parse_length(text)


def test_alert_test_shows_the_answer(server: Receiver, capsys: Capture) -> None:
    row = channel(url=server.url(f"/{SECRET}"))
    server.reply(200, b"ok")
    assert run("alert_test", "ops") == 0
    assert capsys.readouterr().out == "ops accepted the test: answered 200: ok.\n"
    server.reply(404, f"no {SECRET}".encode())
    assert run("alert_test", str(row.pk), "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "channel": "ops",
        "accepted": False,
        "answer": "answered 404: no ***",
    }
    assert SECRET not in shown.err


@pytest.mark.django_db(transaction=True)
def test_evaluate_alerts_sends_what_is_wrong(server: Receiver, capsys: Capture) -> None:
    """Nothing has ever run here, so that there is no heartbeat."""
    instance_row()
    channel(url=server.url("/x"))
    for opened in (1, 0):
        assert run("evaluate_alerts", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["incidents"]["opened"] == opened
        assert found["messages"] == {"sent": opened, "failed": 0}
        assert found["dead_man_switch"] is None
    (sent,) = server.received
    assert b"No heartbeat of a worker" in sent.body


def test_evaluate_alerts_exits_with_1_if_a_message_can_not_be_sent(
    server: Receiver, capsys: Capture
) -> None:
    row = channel(url=server.url("/x"))
    Delivery.objects.create(
        channel=row,
        content={"incidents": []} | {"title": "x", "console": ""},
        created_at=NOW,
        not_before=NOW,
    )
    server.reply(500)
    assert run("evaluate_alerts", "--quiet") == 1
    assert "1 message could not be sent" in capsys.readouterr().err
    assert outbox.claim(NOW) is None


@pytest.mark.parametrize(("status", "code"), [(200, 0), (500, 1)])
def test_the_dead_man_switch_is_reported_to(
    server: Receiver, settings: Any, status: int, code: int
) -> None:
    settings.RAINBO_ALERTS_PING_URL = server.url(f"/{SECRET}")
    server.reply(status)
    assert run("evaluate_alerts", "--quiet") == code
    begun, sent = server.received
    assert (begun.method, begun.path) == ("GET", f"/{SECRET}/start")
    assert (sent.method, sent.path) == ("POST", f"/{SECRET}/fail")
    assert b"no worker has ever reported" in sent.body
