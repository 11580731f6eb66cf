"""Each run's start and end in the log: one line each, whoever requested it."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now

from common.errors import RainboError
from rainbo.logs import config
from syncs import tasks
from syncs.engine import cancellation, lease, lost_runs, runs
from syncs.engine.options import Options
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.management.base import SyncCommand
from syncs.models import Lease, RunState, SyncRun, TargetState, Trigger
from tests.syncs.conftest import Make

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "hunter2-Zz"


class Log:
    """What the product's own handler writes in a style."""

    def __init__(self, style: str) -> None:
        settings = config(style, "INFO")
        made = logging.config.DictConfigurator(settings)
        self._text = io.StringIO()
        self.handler = logging.StreamHandler(self._text)
        formatters: Any = settings["formatters"]
        self.handler.setFormatter(made.configure_formatter(formatters[style]))

    @property
    def lines(self) -> list[str]:
        return self._text.getvalue().splitlines()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [found for line in self.lines if "event" in (found := json.loads(line))]


@pytest.fixture
def written() -> Iterator[Callable[[str], Log]]:
    logger, opened = logging.getLogger("rainbo.run"), []

    def write(style: str = "json") -> Log:
        log = Log(style)
        logger.addHandler(log.handler)
        opened.append(log.handler)
        return log

    yield write
    for handler in opened:
        logger.removeHandler(handler)


def settling(*states: TargetState) -> Callable[[Run], None]:
    def function(run: Run) -> None:
        run.expect(Target(str(n), f"instance {n}") for n in range(len(states)))
        for number, state in enumerate(states):
            run.record_outcome(str(number), state)

    return function


def failing(run: Run) -> None:
    raise RainboError(f"postgres://rainbo:{SECRET}@db1/x refused it\nsync_ok runId=1")


def requested(trigger: Trigger = Trigger.API) -> SyncRun:
    return runs.request("probe", Options(), trigger, "ops")


class Probe(SyncCommand):
    syncs = ("probe",)


def by_command() -> None:
    call_command(Probe(), "--json")


def by_task() -> None:
    tasks.run_queued(requested().pk)


def by_schedule() -> None:
    tasks.run_slot("probe")


@pytest.mark.parametrize("door", [by_command, by_task, by_schedule])
def test_every_door_logs_a_start_and_an_end(
    make_sync: Make, written: Callable[..., Log], door: Callable[[], object]
) -> None:
    make_sync(settling(TargetState.SUCCEEDED))
    log = written()
    door()
    start, end = log.events
    run = SyncRun.objects.get()
    for event in (start, end):
        assert (event["sync"], event["runId"], event["run"]) == ("probe", run.pk, run.pk)
        assert event["trigger"] == run.trigger
    assert (start["event"], start["level"]) == ("sync_start", "INFO")
    assert (end["event"], end["state"], end["level"]) == ("sync_ok", "succeeded", "INFO")
    assert end["seconds"] == round(run.seconds or 0, 3)
    assert "error" not in end


@pytest.mark.parametrize(
    ("states", "level"),
    [
        (("failed",), "ERROR"),
        (("held",), "WARNING"),
        (("succeeded", "failed"), "WARNING"),
    ],
)
def test_only_success_is_ok(
    make_sync: Make, written: Callable[..., Log], states: tuple[str, ...], level: str
) -> None:
    make_sync(settling(*map(TargetState, states)))
    log = written()
    record = runs.execute(requested())
    end = log.events[-1]
    assert (end["event"], end["state"], end["level"]) == ("sync_fail", record.state, level)


def test_an_error_is_one_line_without_its_secret(
    make_sync: Make, written: Callable[..., Log]
) -> None:
    make_sync(failing)
    text, log = written("text"), written("json")
    record = runs.execute(requested())
    start, end = text.lines
    assert f" INFO rainbo.run sync_start sync=probe runId={record.pk} trigger=api" in start
    assert f" ERROR rainbo.run sync_fail sync=probe runId={record.pk} trigger=api " in end
    assert "state=failed seconds=0." in end
    assert end.endswith(r'error="postgres://rainbo:***@db1/x refused it\nsync_ok runId=1"')
    assert SECRET not in "".join(text.lines + log.lines)
    assert log.events[-1]["error"].startswith("postgres://rainbo:***@db1/x refused it")


def test_a_process_that_is_asked_to_end_logs_the_end_of_its_run(
    make_sync: Make, written: Callable[..., Log]
) -> None:
    def stopping(run: Run) -> None:
        sys.exit(1)

    make_sync(stopping)
    log = written()
    with pytest.raises(SystemExit):
        runs.execute(requested())
    assert [event["event"] for event in log.events] == ["sync_start", "sync_fail"]


def test_a_lost_run_ends_in_the_log_of_the_one_that_finds_it(
    make_sync: Make, written: Callable[..., Log]
) -> None:
    make_sync(settling())
    record = requested()
    token = lease.claim(record)
    record.move(RunState.RUNNING, expect=(RunState.QUEUED,), token=token, started_at=Now())
    Lease.objects.update(expires_at=Now() - timedelta(minutes=1))
    log = written()
    lost_runs.close_lost_runs()
    lost_runs.wait_for_sessions()
    (end,) = log.events
    assert (end["event"], end["state"], end["runId"]) == ("sync_fail", "lost", record.pk)
    assert "seconds" not in end


def test_what_never_started_is_no_event(make_sync: Make, written: Callable[..., Log]) -> None:
    make_sync(settling())
    holder = requested()
    lease.claim(holder)
    log = written()
    skipped, waiting = runs.execute(requested(Trigger.BUTTON)), requested()
    cancellation.cancel(waiting, "ann")
    assert skipped.state == RunState.SKIPPED
    assert log.events == []


def test_a_run_that_is_delivered_twice_logs_once(
    make_sync: Make, written: Callable[..., Log]
) -> None:
    make_sync(settling())
    record = requested()
    again = SyncRun.objects.get(pk=record.pk)
    log = written()
    runs.execute(record)
    runs.execute(again)
    assert [event["event"] for event in log.events] == ["sync_start", "sync_ok"]


@pytest.mark.parametrize(
    ("style", "is_terminal", "flags", "count"),
    [
        ("text", True, (), 0),  # the results say it
        ("text", False, (), 2),
        ("json", True, (), 2),
        ("json", False, ("--quiet",), 0),
    ],
)
def test_a_command_does_not_say_twice_what_went_well(
    make_sync: Make,
    written: Callable[..., Log],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    style: str,
    is_terminal: bool,
    flags: tuple[str, ...],
    count: int,
) -> None:
    settings.RAINBO_LOG_FORMAT = style
    make_sync(settling(TargetState.SUCCEEDED))
    log = written(style)
    with monkeypatch.context() as patched:
        patched.setattr(sys.stderr, "isatty", lambda: is_terminal, raising=False)
        call_command(Probe(), *flags)
    assert len(log.lines) == count
