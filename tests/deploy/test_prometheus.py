"""What is deployed to Prometheus and Grafana fits what `/metrics` gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from alerts.models import Delivery
from syncs.models import Lease, RunState, SyncRun, Trigger
from tests.alerts.rows import channel
from tests.api.clients import client
from tests.fleet_fixtures import needs
from tests.rainbo import fleets
from tests.rows import ended_run

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES, TESTS = FOLDER / "rainbo.rules.yml", FOLDER / "rainbo.rules.test.yml"
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')


@pytest.fixture(scope="session")
def promtool() -> str:
    return needs(shutil.which("promtool"), "promtool is not installed: apt install prometheus")


def run(promtool: str, *words: str | Path) -> str:
    """Return what it says; fails with that if it finds fault."""
    done = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said


def expressions(part: Any) -> Iterator[str]:
    """Every `expr` of a dashboard, wherever it stands."""
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "expr")
        for value in part.values():
            yield from expressions(value)
    elif isinstance(part, list):
        for value in part:
            yield from expressions(value)


def dashboard() -> Any:
    return json.loads((FOLDER / "grafana.json").read_text())


def test_the_rules_are_valid(promtool: str) -> None:
    assert "11 rules found" in run(promtool, "check", "rules", RULES)


def test_alerts_fire_when_they_should(promtool: str) -> None:
    assert "SUCCESS" in run(promtool, "test", "rules", TESTS)


def test_the_docs_add_the_heartbeats_timeout_to_what_the_rule_waits(settings: Any) -> None:
    waits = re.search(r"alert: RainboWorkersDead\n.*\n +for: (\d+)m", RULES.read_text())
    page = (FOLDER.parents[1] / "docs" / "monitoring.md").read_text(encoding="utf-8")
    said = re.search(r"`RainboWorkersDead` \| (\d+) minutes after the last heartbeat", page)
    assert waits
    assert said
    assert int(said[1]) == int(waits[1]) + settings.RAINBO_HEARTBEAT_TIMEOUT // 60


def test_a_wrong_rule_is_found(promtool: str, tmp_path: Path) -> None:
    shutil.copy(TESTS, tmp_path)
    rules = RULES.read_text().replace("rainbo_workers_healthy == 0", "rainbo_workers_healthy == 1")
    (tmp_path / RULES.name).write_text(rules)
    with pytest.raises(AssertionError, match="RainboWorkersDead"):
        run(promtool, "test", "rules", tmp_path / TESTS.name)


def test_each_alert_is_seen_to_fire_and_not_to() -> None:
    """A misspelt name of which no alert is expected would pass."""
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    tests = TESTS.read_text()
    fires = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", tests))
    rests = set(re.findall(r"alertname: (\w+), exp_alerts: \[\]", tests))
    assert alerts == fires == rests


def test_the_configuration_is_valid(promtool: str) -> None:
    run(promtool, "check", "config", "--syntax-only", FOLDER / "prometheus.yml")


def test_every_expression_of_the_dashboard_is_valid(promtool: str, tmp_path: Path) -> None:
    found = list(expressions(dashboard()))
    assert len(found) > 15
    rules = [{"record": f"panel:{n}", "expr": expr} for n, expr in enumerate(found)]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(found)} rules found" in run(promtool, "check", "rules", path)


def test_a_wrong_expression_is_found(promtool: str, tmp_path: Path) -> None:
    path = tmp_path / "panels.yml"
    rule = {"record": "panel:1", "expr": "sum by (sync rainbo_executions)"}
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": [rule]}]}))
    with pytest.raises(AssertionError, match="parse"):
        run(promtool, "check", "rules", path)


def test_panels_have_titles_places_and_ids_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.django_db
def test_rules_and_panels_name_what_there_is() -> None:
    """A wrong metric, label or value is no error: Prometheus finds nothing and is content."""
    fleets.write(2, 8)
    ended_run()
    running = SyncRun.objects.create(
        sync="ghost_users",
        state=RunState.RUNNING,
        trigger=Trigger.API,
        started_at=timezone.now(),
    )
    now = timezone.now()
    Delivery.objects.create(channel=channel(), content={}, created_at=now, not_before=now)
    later = timezone.now() + timedelta(hours=1)
    Lease.objects.create(sync=running.sync, token=1, run=running, expires_at=later)
    page = client("metrics:read").get("/metrics").content.decode()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        labels[family.name] = {name for sample in family.samples for name in sample.labels}
    rules = re.findall(r"expr: (?:\|\n)?((?:.+\n)+?) +(?:for|labels):", RULES.read_text())
    assert len(rules) == 11
    named: set[str] = set()
    for expr in [*rules, *expressions(dashboard())]:
        for metric, matchers in re.findall(r"(rainbo_\w+)(?:\{([^}]*)\})?", expr):
            named.add(metric)
            assert metric in labels, expr
            wanted = {name for name, _ in MATCHER.findall(matchers)}
            assert wanted <= labels[metric], expr
    known = {
        "healthy",
        "degraded",
        "refused",
        "down",
        "on_time",
        "stale",
        "succeeded",
        "failed",
        "$sync",
    }
    values = {
        value
        for expr in [*rules, *expressions(dashboard())]
        for name, value in MATCHER.findall(expr)
        if name != "job"
    }
    assert values <= known
    assert labels.keys() - named == {
        "rainbo_build_info",
        "rainbo_sync_state",
        "rainbo_last_execution_timestamp_seconds",
        "rainbo_ghost_users_missing",
        "rainbo_open_incidents",
        "rainbo_open_incidents_of_rule",
        "rainbo_alert_last_delivery_timestamp_seconds",
        "rainbo_alert_messages_waiting",
    }
