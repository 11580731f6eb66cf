"""The scripts of deploy/triggers, run for real: against RAINBO, and against a hostile server."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api import requests
from syncs.models import RunState, SyncRun
from tests.children import until
from tests.deploy.triggers.calls import SCRIPTS, TOKEN, TRIGGERS, Said, Script, peer
from tests.door_fixtures import CRON_SECRET, Doors, Serve
from tests.fleet_fixtures import needs
from tests.instances import InstanceFleet


@pytest.fixture(params=SCRIPTS)
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Script:
    needs(shutil.which("curl"), "curl is not installed: apt install curl")
    return Script(request.param, tmp_path)


def problem(status: int, detail: str = "It is so.", **headers: str) -> Said:
    return Said(status, f'{{"title": "x", "detail": "{detail}"}}', headers)


def accepted(location: str, **headers: str) -> Said:
    return Said(202, '{"success": null, "runId": 7}', {"Location": location} | headers)


def test_shellcheck_finds_no_fault() -> None:
    shellcheck = needs(shutil.which("shellcheck"), "shellcheck is not installed: shellcheck")
    scripts = sorted(TRIGGERS.glob("*.sh"))
    assert len(scripts) == 3
    done = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.usefixtures("worker")
def test_a_sync_of_the_fleet_runs(doors: Doors, script: Script, fleet: InstanceFleet) -> None:
    fleet[1].add_route(1, "a@example.com")
    done = script.run(doors.url, CRON_SECRET, SYNC_PATH="/api/sync/user_routing", DEBUG="1")
    run = SyncRun.objects.get()
    assert (done.code, run.state) == (0, "succeeded")
    assert f"run={run.pk}" in done.log
    assert "sync_ok" in done.log
    assert done.log.strip() in done.output
    assert CRON_SECRET not in done.log + done.output
    assert oct(script.log.stat().st_mode)[-3:] == "600"


@pytest.mark.usefixtures("worker")
def test_a_sync_that_is_done_in_part_exits_3(
    doors: Doors, script: Script, fleet: InstanceFleet
) -> None:
    fleet[3].server.stop()
    path = "/api/cron/sync-integrations?interval=tenant_summaries"
    assert script.run(doors.url, CRON_SECRET, SYNC_PATH=path).code == 3


def test_a_long_sync_is_polled(doors: Doors, script: Script, serve: Serve, worker: object) -> None:
    """The server answers 202, as two other requests use up the places that wait."""
    serve("llm_models", {"a": (5, 1, 0, 0)}, wait=lambda: time.sleep(0.5))
    while requests._places.acquire(blocking=False):
        pass
    try:
        done = script.run(doors.url, CRON_SECRET, SYNC_PATH="/admin/model-sync/all", DEBUG="1")
    finally:
        for _ in range(requests.WAITING_AT_ONCE):
            requests._places.release()
    assert done.code == 0, done.output
    assert re.search(r"method=GET path=/admin/model-sync/runs/\d+ status=200", done.log)


def test_without_a_catalogue_it_fails_and_says_why(doors: Doors, script: Script) -> None:
    done = script.run(doors.url, CRON_SECRET, SYNC_PATH="/admin/model-sync/all")
    assert done.code == 1
    assert "No catalogue of models is configured" in done.output


def test_a_wrong_token_stops_it(doors: Doors, script: Script) -> None:
    done = script.run(doors.url, TOKEN)
    assert (done.code, "rejected the token" in done.output) == (2, True)
    assert not SyncRun.objects.exists()


def test_a_token_without_the_scope_stops_it(
    doors: Doors, script: Script, operator: Callable[..., str]
) -> None:
    done = script.run(doors.url, operator("metrics:read"), SYNC_PATH="/api/sync/user_routing")
    assert (done.code, "syncs:run" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("answers", "code", "count"),
    [
        ([problem(401)], 2, 1),
        ([problem(403)], 2, 1),
        ([problem(404)], 1, 1),
        ([problem(422)], 1, 1),
        ([problem(500)], 1, 1),
        ([problem(429), Said()], 0, 2),
        ([problem(503), problem(502), Said()], 0, 3),
        ([problem(503)], 1, 3),
        ([problem(504), problem(401)], 2, 2),
        ([Said(body="<html>"), problem(401)], 1, 1),
        ([Said(body='{"success": false, "state": "held"}')], 3, 1),
        ([Said(body='{"success": false, "state": "failed"}')], 1, 1),
        ([accepted("/runs/7", **{"Retry-After": "1"}), Said()], 0, 2),
        ([accepted("/runs/7", **{"Retry-After": "1"}), problem(404)], 1, 2),
        ([accepted("//evil.example/7"), Said()], 1, 1),
        ([Said(202, "{}"), Said()], 1, 1),
    ],
)
def test_only_what_can_pass_is_repeated(
    script: Script, answers: list[Said], code: int, count: int
) -> None:
    with peer(*answers) as server:
        done = script.run(server.url)
        assert (done.code, len(server.requests)) == (code, count), done.output
        assert {bearer for _, _, bearer in server.requests} == {f"Bearer {TOKEN}"}
    assert TOKEN not in done.log + done.output


def test_the_wait_that_the_server_names_is_kept(script: Script) -> None:
    with peer(problem(429, **{"Retry-After": "2"}), Said()) as server:
        begin = time.monotonic()
        assert script.run(server.url).code == 0
        assert time.monotonic() - begin >= 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(script: Script, status: int) -> None:
    with peer(Said()) as other, peer(Said(status, "", {"Location": f"{other.url}/x"})) as server:
        done = script.run(server.url)
        assert (done.code, len(server.requests), other.requests) == (2, 1, [])
        assert "redirects" in done.output


def test_the_token_goes_to_no_other_server(script: Script) -> None:
    with peer(Said()) as other, peer(accepted(f"{other.url}/runs/7")) as server:
        assert script.run(server.url).code == 1
        assert other.requests == []


def test_a_server_that_hangs_is_left(script: Script) -> None:
    with peer(Said(hang=True)) as server:
        done = script.run(server.url, ATTEMPTS="2", REQUEST_SECONDS="1")
        assert (done.code, len(server.requests)) == (1, 2)
        assert "No answer" in done.output


def test_a_server_that_is_away_is_asked_again(script: Script) -> None:
    with peer(Said()) as server:
        url = server.url
    done = script.run(url)
    assert (done.code, "No answer" in done.output) == (1, True)


def test_a_sync_without_end_is_left_running(script: Script) -> None:
    with peer(accepted("/runs/7", **{"Retry-After": "1"})) as server:
        done = script.run(server.url, WAIT_SECONDS="1")
        assert (done.code, f"{server.url}/runs/7" in done.output) == (75, True)


def test_a_token_that_comes_back_is_masked(script: Script) -> None:
    with peer(problem(500, f"no {TOKEN}, {TOKEN} \\u001b[2J")) as server:
        done = script.run(server.url)
    assert "no ***, ***" in done.log
    assert TOKEN not in done.log + done.output
    assert "\x1b" not in done.log


def test_two_calls_do_not_overlap_and_no_argument_holds_the_token(script: Script) -> None:
    with peer(Said(hang=True)) as server:
        first = script.start(server.url, ATTEMPTS="1", REQUEST_SECONDS="30")
        try:
            until(lambda: server.requests)
            arguments = b"".join(
                path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)
            )
            assert TRIGGERS.name.encode() in arguments
            assert TOKEN.encode() not in arguments
            second = script.run(server.url)
            assert (second.code, "Another call is running" in second.output) == (75, True)
        finally:
            server.over.set()
            first.communicate(timeout=60)
        assert len(server.requests) == 1


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_a_killed_call_leaves_no_lock(script: Script) -> None:
    with peer(Said(hang=True), Said()) as server:
        first = script.start(server.url, REQUEST_SECONDS="3")
        until(lambda: server.requests)
        first.kill()
        first.communicate(timeout=30)
        until(lambda: script.run(server.url).code == 0)


def test_where_there_is_no_flock_a_folder_is_the_lock(tmp_path: Path) -> None:
    """As on macOS."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in (
        *("awk", "curl", "cut", "date", "grep", "head", "mkdir", "mktemp"),
        *("mv", "rm", "rmdir", "sed", "sleep", "tr", "wc"),
    ):
        (tools / name).symlink_to(needs(shutil.which(name), f"{name} is not installed"))
    script = Script("sync-cron.sh", tmp_path)
    with peer(Said(hang=True), Said()) as server:
        first = script.start(server.url, PATH=str(tools), ATTEMPTS="1", REQUEST_SECONDS="30")
        until(lambda: server.requests)
        second = script.run(server.url, PATH=str(tools))
        assert (second.code, "sync.log.lock.d" in second.output) == (75, True)
        server.over.set()
        first.communicate(timeout=60)
        assert script.run(server.url, PATH=str(tools)).code == 0
    assert not (tmp_path / "sync.log.lock.d").exists()


def test_the_log_is_rotated(script: Script) -> None:
    script.log.write_text("old\n" * 300)
    with peer(Said()) as server:
        for _ in range(8):
            assert script.run(server.url, LOG_MAX_BYTES="100", DEBUG="1").code == 0
    kept = {path.name for path in script.folder.glob("sync.log*") if "lock" not in path.name}
    assert kept == {"sync.log", *(f"sync.log.{number}" for number in range(1, 6))}
    assert "old" not in script.log.read_text()


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": ""},
        {"token": 'x"\nurl = "http://evil.example'},
        {"url": "rainbo.example.com"},
        {"url": "file:///etc/passwd"},
        {"ATTEMPTS": "many"},
        {"LOG_FILE": "/nowhere/sync.log"},
    ],
)
def test_what_cannot_work_is_said_before_any_request(script: Script, wrong: dict[str, str]) -> None:
    with peer(Said()) as server:
        done = script.run(**{"url": server.url, "token": TOKEN} | wrong)
        assert (done.code, server.requests) == (2, [])
    assert done.output


def test_the_token_can_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    with peer(Said()) as server:
        done = Script("sync-cron.sh", tmp_path).run(server.url, "", OPERATOR_TOKEN_FILE=str(file))
        assert (done.code, server.requests[0][2]) == (0, f"Bearer {TOKEN}")


def test_it_names_the_address_of_bakalari_by_itself(tmp_path: Path) -> None:
    with peer(Said()) as server:
        Script("sync-cron.sh", tmp_path).run(server.url)
        Script("sync-cron.sh", tmp_path).run(server.url, SYNC="user_routing")
        paths = [(method, path) for method, path, _ in server.requests]
    assert paths == [("POST", "/api/sync/bakalari"), ("POST", "/api/sync/user_routing")]


@pytest.mark.usefixtures("worker")
def test_too_few_models_are_a_failure(doors: Doors, serve: Serve, tmp_path: Path) -> None:
    serve("llm_models", {"a": (17_000, 1, 0, 0)})
    script = Script("cron_sync.py", tmp_path)
    assert script.run(doors.url, CRON_SECRET, MIN_MODELS="17000").code == 0
    done = script.run(doors.url, CRON_SECRET, MIN_MODELS="17001")
    assert (done.code, "17000 models" in done.output) == (1, True)


@pytest.mark.usefixtures("worker")
def test_prices_are_asked_for_by_the_public_id(
    doors: Doors, serve: Serve, operator: Callable[..., str], tmp_path: Path
) -> None:
    serve("llm_models", {"a": (5, 1, 0, 0)})
    script = Script("cron_sync.py", tmp_path)
    secret = operator("models:run")
    assert script.run(doors.url, secret, SYNC_PATH="prices").code == 0
    assert script.run(doors.url, CRON_SECRET, SYNC_PATH="prices").code == 0
    assert secret[:16] in script.log.read_text()
    assert secret not in script.log.read_text()


@pytest.mark.usefixtures("worker")
def test_the_loop_plays_the_cron_service(doors: Doors, tmp_path: Path) -> None:
    env = {
        "PATH": "/usr/bin:/bin",
        "TMPDIR": str(tmp_path),
        "APP_URL": doors.url,
        "CRON_SECRET": CRON_SECRET,
        "INTERVAL": "instance_health",
        "EVERY_SECONDS": "0",
        "TIMES": "2",
    }
    words = [str(TRIGGERS / "test-cron.sh")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True, timeout=100)
    assert done.stderr.count("sync_ok") == 2
    assert SyncRun.objects.filter(sync="instance_health", state=RunState.SUCCEEDED).count() == 2
    wrong = subprocess.run(
        words, env=env | {"CRON_SECRET": "wrong"}, capture_output=True, check=False, timeout=100
    )
    assert wrong.returncode == 2
