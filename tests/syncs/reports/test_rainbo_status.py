from __future__ import annotations

import json
import os
import pty
import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django_q.models import Schedule

from syncs import tasks
from syncs.models import Confirmation, RunState, TargetState
from syncs.reports import run_report
from syncs.schedules import store
from tenants.models import RdsInstance
from tests.rows import confirmation, ended_run, instance_row, run_part
from tests.syncs.plans import default_schedules

pytestmark = pytest.mark.django_db

JUST_NOW = timedelta(seconds=5)
SYNCS = ("instance_health", "tenant_summaries", "user_routing", "ghost_users")
COLOUR = re.compile(r"\x1b\[")


@pytest.fixture
def well() -> None:
    """One instance, confirmed by every sync, and a worker that works."""
    instance_row(1, is_master=True)
    default_schedules()
    tasks.record_heartbeat()
    for sync in SYNCS:
        confirmation(sync, ago=JUST_NOW)
        run_part(ended_run(sync, ago=JUST_NOW, seconds=1.5))


@pytest.fixture
def ill(well: None) -> None:
    """The same, but the routes are held."""
    run = ended_run("user_routing", RunState.HELD)
    run_part(run, state=TargetState.HELD, note="25 of 100 rows (25%) would be removed")
    Confirmation.objects.filter(sync="user_routing").delete()
    confirmation("user_routing", ago=timedelta(hours=3))


def status(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    """Exit code and standard output."""
    try:
        call_command("rainbo_status", *flags)
    except SystemExit as end:
        return int(str(end.code)), capsys.readouterr().out
    return 0, capsys.readouterr().out


def test_every_sync_and_instance_is_told(well: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = status(capsys)
    assert code == 0
    assert all(f"({name}): on time" in out for name in SYNCS)
    assert len(re.findall(r"  instance 1 \(rds1\)  on time  \d+ s old", out)) == len(SYNCS)
    assert "All is on time: 4 syncs, 4 confirmations." in out
    assert "Workers or schedule_run: last heartbeat" in out
    assert not COLOUR.search(out)


def test_what_is_late_comes_with_its_reason(ill: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = status(capsys)
    assert code == 0
    line = next(line for line in out.splitlines() if "stale" in line and "instance 1" in line)
    assert "3 h old" in line
    assert "held: run" in line
    assert line.endswith("would be removed")


@pytest.mark.parametrize("ago", [JUST_NOW, timedelta(days=3)])
def test_an_instance_is_named_once(
    well: None, capsys: pytest.CaptureFixture[str], ago: timedelta
) -> None:
    instance_row(2, health="down")
    confirmation("ghost_users", "2", ago=ago)
    error = {"error": "instance 2 (rds2) did not answer", "error_kind": "timeout"}
    run = ended_run("ghost_users", RunState.PARTIAL, ago=JUST_NOW)
    run_part(run, "2", label="instance 2 (rds2)", state=TargetState.FAILED, **error)
    assert "  instance down: did not answer\n" in status(capsys)[1]
    RdsInstance.objects.update(health="healthy")
    out = status(capsys)[1]
    words = "the last run could not reach the instance: did not answer\n"
    assert f"  failing: {words}" in out
    assert re.search(f"ghost users of instance 2 \\(rds2\\).*: {words}", out)
    assert run_report.describe(run.targets.get()) == "instance 2 (rds2): failed; did not answer"


def test_check_is_one_line_when_all_is_well(well: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(capsys, "--check") == (0, "All is on time: 4 syncs, 4 confirmations.\n")


def test_check_fails_and_tells_what_is_bad(ill: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = status(capsys, "--check")
    assert code == 1
    assert "1 of 4 are late or worse." in out
    assert "user_routing" in out
    assert "tenant_summaries" not in out


def test_check_fails_where_nothing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = status(capsys, "--check")
    assert code == 1
    assert "never confirmed: no instance takes part in it" in out
    assert "none has ever reported" in out
    assert "No data yet for: " in out


def test_json_is_one_document(ill: None, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = status(capsys, "--check", "--json")
    assert code == 1
    found: dict[str, Any] = json.loads(out)
    assert found["state"] == "stale"
    routes = next(sync for sync in found["syncs"] if sync["sync"] == "user_routing")
    (target,) = routes["targets"]
    assert target["reason"]["cause"] == "held"
    assert round(target["age_seconds"] / 3600) == 3
    assert routes["schedules"] == [
        {"cron": "*/15 * * * *", "off": False, "paused_until": None, "pause_reason": ""}
    ]
    assert routes["last_run"]["state"] == "held"


@pytest.mark.parametrize("no_colour", [False, True])
def test_a_terminal_gets_colours_unless_it_wants_none(
    well: None, monkeypatch: pytest.MonkeyPatch, no_colour: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_colour:
        monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:  # noqa: PTH123 (a file number)
        monkeypatch.setattr("sys.stdout", terminal)
        call_command("rainbo_status")
        terminal.write("the end")
        terminal.flush()
        shown = b""
        while not shown.endswith(b"the end"):  # a terminal hands over a part at a time
            shown += os.read(ours, 65536)
    os.close(ours)
    assert b"on time" in shown
    assert (b"\x1b[32m" in shown) is not no_colour


@pytest.mark.parametrize(
    ("part", "short"),
    [
        (
            {"state": TargetState.FAILED, "error": "no route", "error_kind": "connection"},
            "e-mail routes: the last run could not reach the instance: no route",
        ),
        ({"state": TargetState.FAILED, "error": "no right"}, "e-mail routes: no right"),
        (
            {"state": TargetState.HELD, "note": "25 of 100 rows"},
            "e-mail routes: run {run} needs review: 25 of 100 rows",
        ),
    ],
)
def test_check_fails_on_a_problem_before_anything_is_late(
    well: None, capsys: pytest.CaptureFixture[str], part: dict[str, str], short: str
) -> None:
    run = ended_run("user_routing", RunState.PARTIAL, ago=JUST_NOW)
    run_part(run, **part)
    code, out = status(capsys, "--check")
    assert code == 1
    assert f"All is on time, but {short.format(run=run.pk)}" in out
    assert next(part[name] for name in ("error", "note") if name in part) in out


def test_a_pause_is_told_and_no_alarm(well: None, capsys: pytest.CaptureFixture[str]) -> None:
    Schedule.objects.filter(name="ghost_users").update(repeats=store.OFF)
    assert status(capsys, "--check") == (
        0,
        "All is on time, but ghost users are paused: its schedule is switched off.\n",
    )
