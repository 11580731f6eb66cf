"""What rules know: of runs, of channels, of instances; and what is done each minute with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from threading import Timer
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.db import connection, transaction
from django.utils import timezone

from alerts import channel_problems, dead_man_switch, evaluation, run_facts, tick
from alerts.channel_problems import CHANNELS
from alerts.models import Channel, Delivery, Incident, Level, Notice, Rule
from alerts.rules import RunFacts
from common.http import Limits
from common.joint_query import answer
from syncs import hooks
from syncs.engine import closing
from syncs.engine.closing import Ending
from syncs.models import Heartbeat, RunState, SyncRun, TargetState, Trigger
from syncs.status import problems
from syncs.status.workers import WorkerState
from tenants.models import InstanceCheck
from tenants.models.instance import Health
from tests.alerts.rows import HOUR, MINUTE, SECRET, channel
from tests.http_servers import Receiver, no_answer, raw_server, receiver
from tests.rows import confirmation, ended_run, instance_row, run_part

pytestmark = pytest.mark.django_db
SILENT = WorkerState(None, None, None, "no worker has reported since 13:05")


def sound(ago: timedelta = timedelta(), **known: Any) -> WorkerState:
    return WorkerState(timezone.now() - ago, None, known.get("busy_with"), "")


@pytest.fixture
def server(settings: Any) -> Iterator[Receiver]:
    settings.RAINBO_HTTP_PRIVATE_HOSTS = ["127.0.0.1"]
    with receiver() as found:
        settings.RAINBO_ALERTS_PING_URL = found.url(f"/{SECRET}")
        yield found


def facts(sync: str = "user_routing") -> RunFacts:
    now = timezone.now()
    known = run_facts.facts_in(answer({"runs": run_facts.ask(now)})["runs"])
    (found,) = [one for one in known if one.of.sync == sync]
    return found


def test_runs_count_in_their_order_and_others_do_not() -> None:
    ended_run(state=RunState.SUCCEEDED, ago=3 * HOUR, seconds=10)
    ended_run(state=RunState.PARTIAL, ago=2 * HOUR, seconds=20)
    failed = ended_run(state=RunState.FAILED, ago=HOUR, seconds=30)
    run_part(failed, "1", state=TargetState.FAILED)
    run_part(failed, "2")
    ended_run(state=RunState.FAILED, ago=MINUTE, options={"dry_run": True})
    ended_run(state=RunState.CANCELLED, ago=MINUTE)
    ended_run(state=RunState.SKIPPED, ago=MINUTE)
    ended_run("ghost_users", RunState.LOST, ago=MINUTE)
    found = facts()
    assert (found.of.executions, found.of.failures, found.of.failures_in_a_row) == (3, 1, 1)
    assert found.of.average_seconds == 20
    assert (found.of.last_run, found.failed_on) == (failed.pk, ("1",))
    assert facts("ghost_users").of.failures_in_a_row == 1
    other = facts("instance_health")
    assert (other.of.executions, other.failed_on, other.missed) == (0, (), 0)


@pytest.mark.parametrize(
    ("ago", "counts"), [(24 * HOUR - MINUTE, True), (24 * HOUR + MINUTE, False)]
)
def test_the_window_of_runs_is_a_day(ago: timedelta, counts: bool) -> None:
    ended_run(ago=ago)
    assert bool(facts().of.executions) is counts


@pytest.mark.parametrize(("ago", "missed"), [(59 * MINUTE, 1), (61 * MINUTE, 0)])
def test_missed_times_of_the_last_hour(ago: timedelta, missed: int) -> None:
    known: dict[str, Any] = {"slot": timezone.now() - ago, "ago": ago}
    ended_run(state=RunState.SKIPPED, error="missed: nothing ran it in time", **known)
    ended_run("ghost_users", RunState.SKIPPED, error="paused until 14:00", **known)
    assert facts().missed == missed
    assert facts("ghost_users").missed == 0


def test_each_instance_that_is_down_has_an_incident_of_its_own() -> None:
    for number in (1, 2, 3):
        instance_row(number, health=Health.DOWN if number > 1 else Health.HEALTHY)
    found = evaluation.find(timezone.now()).found
    down = {one.key: one.problem.text for one in found if one.rule.name == "instance_down"}
    assert set(down) == {"instance/2/down", "instance/3/down"}
    assert "instance 2 (rds2)" in down["instance/2/down"]
    assert "rds3" not in down["instance/2/down"]


@pytest.mark.parametrize(
    ("checks", "fires"), [("uud", False), ("udd", True), ("dddd", True), ("ddu", False), ("", True)]
)
def test_checks_that_an_instance_did_not_answer_are_counted(checks: str, fires: bool) -> None:
    """u: up, d: down, the last one last. One that is down, of which no check is kept, is named."""
    now, up = timezone.now(), [n for n, letter in enumerate(checks) if letter == "u"]
    is_down = not checks.endswith("u")
    row = instance_row(2, health=Health.DOWN if is_down else Health.HEALTHY)
    minute = now.replace(second=0, microsecond=0)
    for n, letter in enumerate(checks):
        health = Health.DOWN if letter == "d" else Health.HEALTHY
        at = minute - (len(checks) - n) * MINUTE
        InstanceCheck.objects.create(instance=row, minute=at, health=health)
    if up:
        ago = now - minute + (len(checks) - up[-1]) * MINUTE - timedelta(seconds=20)
        confirmation("instance_health", "2", ago=ago)
    found = [one for one in evaluation.find(now).found if one.rule.name == "instance_down"]
    assert bool(found) is fires
    measures = [one.problem.measure for one in found]
    assert measures == ([checks.count("d") or None] if fires else [])


def test_a_failing_channel_and_a_stuck_outbox_are_problems() -> None:
    now = timezone.now()
    row = channel(failing_since=now - HOUR, last_error="answered 500")
    channel("off", failing_since=now, enabled=False)
    for minutes in (9, 11):
        made = Delivery.objects.create(
            channel=row, content={}, created_at=now, not_before=now - minutes * MINUTE
        )
        found = {p.key: p.text for p in channel_problems.judge(CHANNELS.read_alone(now))}
        assert ("outbox" in found) is (minutes == 11)
        made.delete()
    assert set(found) == {f"channel/{row.pk}", "outbox"}
    assert "channel ops has been failing since" in found[f"channel/{row.pk}"]
    assert f"channel/{row.pk}" in {p.key for p in problems.judge(problems.read(now))}


def test_the_switch_is_told_that_all_works(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncs.status.queries.read_worker_state", sound)
    assert dead_man_switch.ping() is True
    assert [(r.method, r.path) for r in server.received] == [("GET", f"/{SECRET}")]


@pytest.mark.parametrize("by_crontab", [False, True])
def test_the_switch_does_not_vouch_for_dead_workers(
    server: Receiver, monkeypatch: pytest.MonkeyPatch, by_crontab: bool
) -> None:
    """Where schedule_run does all the work, there are none to miss."""
    state = WorkerState(None, None, None, SILENT.problem, by_crontab)
    monkeypatch.setattr("syncs.status.queries.read_worker_state", lambda: state)
    dead_man_switch.ping()
    sent = server.received[0]
    assert sent.path == (f"/{SECRET}" if by_crontab else f"/{SECRET}/fail")
    assert sent.body.decode() == ("" if by_crontab else SILENT.problem)


@pytest.mark.parametrize(
    ("seconds", "busy_with", "pings"), [(115, None, 1), (121, None, 0), (179, 7, 1)]
)
def test_the_switch_does_not_vouch_for_workers_that_may_have_died(
    server: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    busy_with: int | None,
    pings: int,
) -> None:
    """Two intervals without a heartbeat are not yet a problem; one that is busy has none."""
    state = sound(timedelta(seconds=seconds), busy_with=busy_with)
    monkeypatch.setattr("syncs.status.queries.read_worker_state", lambda: state)
    assert dead_man_switch.ping() is (True if pings else None)
    assert [sent.path for sent in server.received] == [f"/{SECRET}"] * pings


def test_the_switch_does_not_vouch_for_messages_that_nobody_sends(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncs.status.queries.read_worker_state", sound)
    at = timezone.now() - HOUR
    Delivery.objects.create(channel=channel(), content={}, created_at=at, not_before=at)
    dead_man_switch.ping()
    assert server.received[0].path.endswith("/fail")


def test_a_message_that_is_put_off_is_not_one_that_nobody_sends() -> None:
    """Nor are those that wait behind it; one whose senders all died is, though it was tried."""
    now = timezone.now()
    first, second = (
        Delivery.objects.create(
            channel=channel() if n == 0 else Channel.objects.get(),
            content={},
            created_at=now - (60 - n) * MINUTE,
            not_before=now - 60 * MINUTE if n else now + HOUR,
            attempts=1 - n,
        )
        for n in range(2)
    )
    assert CHANNELS.read_alone(now).due_since is None
    Delivery.objects.filter(pk=first.pk).update(not_before=now - 20 * MINUTE, attempts=7)
    assert CHANNELS.read_alone(now).due_since == now - 20 * MINUTE
    assert second.attempts == 0


@pytest.mark.parametrize("fault", ["all fail", "the only one is gone", "not evaluated", ""])
def test_the_switch_does_not_vouch_for_alerts_that_reach_nobody(
    fault: str, server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncs.status.queries.read_worker_state", sound)
    ago = timezone.now() - 20 * MINUTE
    hooks.note("alerts.evaluation", ago if fault == "not evaluated" else timezone.now())
    row = channel(failing_since=ago)
    if fault != "all fail":
        Channel.objects.update(failing_since=None, gone_at=ago if "gone" in fault else None)
    elif fault:
        channel("another", failing_since=ago)
        channel("off", enabled=False)
    dead_man_switch.ping()
    (sent,) = server.received
    assert sent.path == (f"/{SECRET}/fail" if fault else f"/{SECRET}")
    words = "alerts have not been evaluated since" if "not ev" in fault else "no channel has taken"
    assert (words in sent.body.decode()) is bool(fault)
    assert row.pk


def test_a_process_that_was_stopped_in_an_evaluation_is_not_waited_for_for_ever() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        evaluation.evaluate()
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)


def test_the_address_of_the_switch_is_a_secret(
    server: Receiver, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.reply(404, f"not found {SECRET}".encode())
    assert dead_man_switch.ping() is False
    settings.RAINBO_ALERTS_PING_URL = f"https://127.0.0.2:1/{SECRET}"
    assert dead_man_switch.ping() is False
    settings.RAINBO_ALERTS_PING_URL = ""
    assert dead_man_switch.ping() is None
    assert SECRET not in caplog.text


def test_a_tick_sends_and_pings_even_if_it_can_not_evaluate(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "evaluate", Mock(side_effect=ValueError("it broke")))
    now = timezone.now()
    content = {"title": "x", "incidents": [], "console": ""}
    waiting = Delivery.objects.create(
        channel=channel(url=server.url("/hook")), content=content, created_at=now, not_before=now
    )
    with pytest.raises(ValueError, match="it broke"):
        tick.tick()
    assert [request.path for request in server.received] == [
        f"/{SECRET}/start",
        "/hook",
        f"/{SECRET}/fail",
    ]
    assert server.received[-1].body == b"evaluating or sending failed: ValueError"
    waiting.refresh_from_db()
    assert waiting.sent_at


def test_a_tick_begins_with_a_ping_and_ends_with_one_if_all_works(
    server: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncs.status.queries.read_worker_state", lambda *_: sound())
    assert tick.tick().reached is True
    settings.RAINBO_ALERTS_PING_URL += "/"
    tick.tick()
    paths = [(request.method, request.path) for request in server.received]
    assert paths == [
        *(("GET", f"/{SECRET}/start"), ("GET", f"/{SECRET}")),
        *(("GET", f"/{SECRET}/start"), ("GET", f"/{SECRET}/")),
    ]


def test_a_switch_that_does_not_answer_keeps_no_message_back(
    server: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning is reported with a short limit: alerts wait for it."""
    monkeypatch.setattr(dead_man_switch, "SHORT", Limits(connect=0.2, read=0.2, total=0.3))
    monkeypatch.setattr(dead_man_switch, "LIMITS", Limits(connect=0.2, read=0.2, total=0.3))
    now = timezone.now()
    content = {"title": "x", "incidents": [], "console": ""}
    waiting = Delivery.objects.create(
        channel=channel(url=server.url("/hook")), content=content, created_at=now, not_before=now
    )
    with raw_server(no_answer) as url:
        settings.RAINBO_ALERTS_PING_URL = f"{url}{SECRET}"
        assert tick.tick().reached is False
    waiting.refresh_from_db()
    assert waiting.sent_at


def test_a_tick_is_called_each_minute() -> None:
    interval, function = hooks._periodic["alerts.tick.tick"]
    assert interval == MINUTE
    with patch.object(tick, "tick") as called:
        function()
    called.assert_called_once_with()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("state", "evaluated"), [(RunState.FAILED, True), (RunState.SUCCEEDED, False)]
)
def test_the_end_of_a_run_that_failed_is_judged_at_once(state: RunState, evaluated: bool) -> None:
    instance_row()
    confirmation(ago=MINUTE)
    for _ in range(2):
        ended_run(state=RunState.FAILED)
    running = {"state": RunState.RUNNING, "trigger": Trigger.COMMAND}
    record = SyncRun.objects.create(sync="user_routing", **running)
    assert closing.close(record, Ending(state, "it broke" if evaluated else ""), 1.0)
    keys = set(Incident.objects.values_list("key", flat=True))
    assert ("sync/user_routing/failures in a row" in keys) is evaluated


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("reason", ["urgent", "a warning", "failing", "lost"])
def test_what_is_urgent_is_sent_as_soon_as_the_run_has_ended(server: Receiver, reason: str) -> None:
    """Not to a channel that is failing, and not by a process that is about to begin a run."""
    instance_row(health=Health.DOWN)
    level = Level.WARNING if reason == "a warning" else Level.URGENT
    Rule.objects.update_or_create(name="instance_down", defaults={"level": level})
    Heartbeat.objects.create(worker="host:1", at=timezone.now())
    ago = timezone.now() - HOUR
    channel(url=server.url("/hook"), failing_since=ago if reason == "failing" else None)
    running = {"state": RunState.RUNNING, "trigger": Trigger.COMMAND}
    record = SyncRun.objects.create(sync="user_routing", **running)
    state = RunState.LOST if reason == "lost" else RunState.FAILED
    assert closing.close(record, Ending(state, "it broke"), 1.0)
    assert Notice.objects.filter(incident__key="instance/1/down").exists()
    is_sent = bool(server.received)
    assert is_sent is (reason == "urgent")
    assert Delivery.objects.filter(sent_at__isnull=False).exists() is is_sent


@pytest.mark.django_db(transaction=True)
def test_the_end_of_a_run_waits_for_an_evaluation_that_may_not_have_seen_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For a short time: then the next tick finds it."""
    record = ended_run(state=RunState.FAILED)
    monkeypatch.setattr(evaluation, "LONGEST_WAIT", 0.5)
    with connection.copy().cursor() as other:
        other.execute("SELECT pg_advisory_lock(%s)", [evaluation.LOCK])
        tick.after_run(record)
        assert "not evaluated" in caplog.text
        assert evaluation.evaluate() is None
        free = Timer(0.2, other.execute, ["SELECT pg_advisory_unlock(%s)", [evaluation.LOCK]])
        free.start()
        monkeypatch.setattr(evaluation, "LONGEST_WAIT", 30)
        tick.after_run(record)
        free.join()
        other.connection.close()
    assert hooks.last_noted("alerts.evaluation")


@pytest.mark.django_db(transaction=True)
def test_an_evaluation_that_fails_does_not_undo_the_end_of_a_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evaluation, "evaluate", Mock(side_effect=ValueError("it broke")))
    running = {"state": RunState.RUNNING, "trigger": Trigger.COMMAND}
    record = SyncRun.objects.create(sync="user_routing", **running)
    assert closing.close(record, Ending(RunState.FAILED, "no"), 1.0)
    record.refresh_from_db()
    assert record.state == RunState.FAILED
    assert "it broke" in caplog.text


@pytest.mark.parametrize(("rule", "explains"), [("", True), ("instance_down", False)])
def test_a_cause_whose_rule_is_off_explains_nothing(rule: str, explains: bool) -> None:
    """Else neither it nor its symptoms would reach anybody."""
    instance_row(1, is_master=True, health=Health.DOWN)
    Heartbeat.objects.create(worker="host:1", at=timezone.now())
    Rule.objects.filter(name=rule).update(enabled=False)
    Rule.objects.filter(name="failing").update(hold_seconds=0)
    failed = ended_run(state=RunState.FAILED)
    run_part(failed, "1", state=TargetState.FAILED)
    row = channel()
    evaluation.evaluate()
    keys = set(Incident.objects.values_list("key", flat=True))
    assert ("instance/1/down" in keys) is explains
    symptoms = Incident.objects.filter(key__startswith="sync/user_routing/", affected=["1"])
    assert symptoms.exists()
    assert row.notices.filter(incident__in=symptoms).exists() is not explains
