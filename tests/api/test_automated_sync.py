"""`manage.py setup_automated_sync`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django_q.models import Schedule

from api.management import automated_sync
from api.management.automated_sync import PLATFORMS
from common.errors import UsageError
from syncs import tasks
from syncs.models import SyncRun
from tests.deploy.triggers.calls import TOKEN, Said, peer
from tests.door_fixtures import CRON_SECRET, Doors
from tests.fleet_fixtures import needs
from tests.instances import InstanceFleet

CALL_FUNCTION = Path(__file__).parents[1] / "deploy" / "triggers" / "call_function.mjs"
VARIABLES = ("CRON_SECRET", "OPERATOR_TOKEN", "ADMIN_KEY")


@pytest.fixture(autouse=True)
def _without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def unapplied() -> Iterator[None]:
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("api", "0002_made_by_commands")
    yield
    recorder.record_applied("api", "0002_made_by_commands")


def run(*words: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("setup_automated_sync", *words, stdout=out)
    except SystemExit as ended:
        return int(str(ended.code)), out.getvalue()
    return 0, out.getvalue()


def checks(*words: str) -> dict[str, dict[str, Any]]:
    document = json.loads(run("--json", *words)[1])
    assert document["works"] is all(check["ok"] for check in document["checks"])
    return {check["name"]: check for check in document["checks"]}


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("variable", ["", *VARIABLES])
def test_both_ways_are_tried(doors: Doors, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    tasks.record_heartbeat()
    if variable:
        monkeypatch.setenv(variable, CRON_SECRET)
    code, output = run("--url", doors.url)
    assert (code, output.count("problem")) == (0, 0), output
    assert "Both ways work" in output
    ended = SyncRun.objects.get()
    assert (ended.sync, ended.state, ended.trigger) == ("instance_health", "succeeded", "api")
    assert f"run {ended.pk} of instance_health succeeded" in output
    assert CRON_SECRET not in output


@pytest.mark.usefixtures("doors")
def test_it_creates_schedules() -> None:
    assert "has no schedule" in checks("--check")["schedules"]["detail"]
    assert not Schedule.objects.exists()
    assert checks()["schedules"]["ok"]
    assert Schedule.objects.count() == 4


@pytest.mark.django_db
def test_what_is_missing_is_named_with_a_remedy() -> None:
    found = checks()
    assert "schedule_work" in found["workers"]["remedy"]
    assert "api_token create" in found["token"]["remedy"]
    code, output = run()
    assert (code, output.splitlines()[-1]) == (1, "2 problems found.")


@pytest.mark.django_db
@pytest.mark.parametrize(("scope", "is_ok"), [("syncs:run", True), ("syncs:read", False)])
def test_a_token_must_be_able_to_start_a_sync(
    operator: Callable[..., str], scope: str, is_ok: bool
) -> None:
    secret = operator(scope)
    found = checks()["token"]
    assert found["ok"] is is_ok
    assert secret not in str(found)


@pytest.mark.usefixtures("transactional_db", "unapplied")
def test_without_its_tables_nothing_else_is_asked() -> None:
    assert list(checks()) == ["database"]
    assert "manage.py migrate" in run()[1]


@pytest.mark.parametrize(
    ("answers", "part"),
    [
        ([Said(301, "", {"Location": "https://rainbo.example.com"})], "redirects"),
        ([Said(200)], "without a token, not 401"),
        ([Said(401, "{}"), Said(401, '{"detail": "No valid token"}')], "No valid token"),
        ([Said(401, "{}"), Said(403, f'{{"detail": "no {TOKEN}"}}')], "no rbo_abcdefghijkm_***"),
        ([Said(401, "{}"), Said(200, "<html>")], "not RAINBO's"),
        ([Said(401, "{}"), Said(202, "{}", {"Location": "https://evil.example/x"})], "another"),
        ([Said(401, "{}"), Said(200, '{"message": "m", "success": false}')], "did not succeed"),
    ],
)
@pytest.mark.django_db
def test_what_is_wrong_over_http_is_named(
    monkeypatch: pytest.MonkeyPatch, answers: list[Said], part: str
) -> None:
    monkeypatch.setenv("CRON_SECRET", TOKEN)
    with peer(*answers) as server:
        code, output = run("--url", server.url)
        assert [bearer for _, _, bearer in server.requests][:1] == [""]
    (line,) = [line for line in output.splitlines() if " HTTP: " in line]
    assert (code, line.startswith("problem"), part in line) == (1, True, True), line
    assert TOKEN not in output


@pytest.mark.django_db
def test_no_answer_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRON_SECRET", TOKEN)
    with peer(Said()) as server:
        url = server.url
    assert f"no answer from {url}" in run("--url", url)[1]


@pytest.mark.django_db
@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_platform_gets_its_lines_alone_on_stdout(
    capfd: pytest.CaptureFixture[str], platform: str
) -> None:
    with pytest.raises(SystemExit):
        call_command("setup_automated_sync", "--platform", platform, "--sync", "ghost_users")
    output, said = capfd.readouterr()
    assert "2 problems found." in said
    document = json.loads(run("--platform", platform, "--sync", "ghost_users", "--json")[1])
    assert (document["platform"], document["lines"]) == (platform, output)
    if len(names := PLATFORMS[platform]) == 1:
        expected = (automated_sync.TRIGGERS / names[0]).read_text(encoding="utf-8")
        assert len(output.splitlines()) == len(expected.splitlines())
    for name in names:
        assert len(names) == 1 or f"# {name.removeprefix('vercel/')}\n" in output
    assert platform == "systemd" or "ghost_users" in output
    assert "user_routing" not in output
    assert automated_sync.MODELS_PATH not in output


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_lines_have_the_address(platform: str) -> None:
    url = "https://console.example.org"
    lines = automated_sync.lines(platform, f"{url}/", "ghost_users")
    assert platform == "systemd" or url in lines
    assert "rainbo.example.com" not in lines
    assert "secrets.API_URL" not in lines


def test_lines_for_models_have_their_address() -> None:
    assert automated_sync.MODELS_PATH in automated_sync.lines("railway", "", "llm_models")


@pytest.mark.usefixtures("worker")
def test_what_is_printed_for_railway_starts_the_chosen_sync(
    doors: Doors, fleet: InstanceFleet
) -> None:
    fleet[1].add_route(1, "a@example.com")
    lines = automated_sync.lines("railway", doors.url, "user_routing")
    command = tomllib.loads(lines)["deploy"]["startCommand"]
    words = [sys.executable if word == "python" else word for word in command.split()]
    env = {"PATH": os.environ["PATH"], "ADMIN_KEY": CRON_SECRET}
    subprocess.run(words, cwd=automated_sync.TRIGGERS, env=env, check=True, timeout=60)
    assert SyncRun.objects.get().sync == "user_routing"


@pytest.mark.usefixtures("worker")
def test_what_is_printed_for_vercel_starts_the_chosen_sync(
    doors: Doors, fleet: InstanceFleet, tmp_path: Path
) -> None:
    """The printed files are a project: Node takes the function for a module by package.json."""
    node = needs(shutil.which("node"), "node is not installed: apt install nodejs")
    fleet[1].add_route(1, "a@example.com")
    printed = automated_sync.lines("vercel", doors.url, "user_routing")
    names = ("vercel.json", "package.json", "api/cron/sync.js")
    parts = re.split("|".join(f"# {re.escape(name)}\n" for name in names), printed)[1:]
    for name, text in zip(names, parts, strict=True):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    env = {"ADMIN_KEY": CRON_SECRET, "CRON_SECRET": "of-vercel", "SENT": "Bearer of-vercel"}
    words = [node, str(CALL_FUNCTION), str(tmp_path / names[-1])]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout[:4], done.stderr) == ("200 ", "")
    assert SyncRun.objects.get().sync == "user_routing"


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]"])
def test_an_address_of_the_machine_itself_is_for_the_machine_itself(url: str) -> None:
    for platform in PLATFORMS:
        found = [check.is_ok for check in automated_sync.check_reach(platform, url)]
        assert found == ([False] if platform in automated_sync.ELSEWHERE else [])
    assert "docker run --network host " in automated_sync.lines("container", url, "user_routing")
    public = automated_sync.lines("container", "https://console.example.org", "user_routing")
    assert "--network" not in public


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [
        ("--url", "rainbo.example.com"),
        ("--url", "https://user:password@rainbo.example.com"),
        ("--url", "https://rainbo.example.com"),  # no token
        ("--sync", "nothing"),
    ],
)
def test_wrong_usage_is_an_error(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        run(*words)
