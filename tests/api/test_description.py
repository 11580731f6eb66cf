"""Whatever the description allows is answered as it says, and what it doesn't is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from syncs.dispatch import reconcile
from syncs.models import RunState
from tests.api.clients import token
from tests.caches import run_sync
from tests.instances import InstanceFleet
from tests.integrations.rows import connection
from tests.rows import ended_run, run_part
from tests.web_server import web_server

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.timeout(600)
def test_schemathesis_finds_nothing(registered: InstanceFleet, tmp_path: Path) -> None:
    registered[2].add_tenant(5)
    registered.master.add_route(1, "ann@example.com")
    reconcile.reconcile()
    for name in ("instance_health", "tenant_summaries", "user_routing"):
        run_sync(name)
    held = ended_run("user_routing", RunState.HELD)
    run_part(held, "1", state="held")
    held.held_changes.create(target="1", kind="removed", source_id="1")
    connection(name="fetched by nobody")
    secret = token()
    with web_server(tmp_path / "web.log") as url:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
            *("run", f"{url}/api/v1/openapi.json"),
            *("-H", f"Authorization: Bearer {secret}", "--checks", "all"),
            *("--max-examples", "12", "--workers", "2", "--seed", "1", "--no-color"),
        ]
        ended = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
        )
    assert ended.returncode == 0, _brief(ended.stdout) + ended.stderr[-2000:]
    assert "Traceback" not in (tmp_path / "web.log").read_text()


@pytest.mark.django_db
def test_the_description_names_every_operation_once_with_its_scope() -> None:
    described: dict[str, Any] = Client().get("/api/v1/openapi.json").json()
    assert described["openapi"] == "3.1.0"
    names = [
        operation["operationId"]
        for operations in described["paths"].values()
        for operation in operations.values()
    ]
    assert len(names) == len(set(names))
    assert "show_run" in names


@pytest.mark.django_db
def test_the_docs_page_loads_nothing_from_elsewhere() -> None:
    page = Client().get("/api/v1/docs")
    assert page.status_code == 200
    assert "https://" not in page.content.decode()
    assert "script-src 'self'" in page["Content-Security-Policy"]


def _brief(report: str) -> str:
    """Without the tails of long addresses."""
    return "\n".join(line[:300] for line in report.splitlines())
