"""The whole benchmark in small, so that it can't rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    *("--instances=2", "--tenants=3", "--users=4", "--fleet-repeats=1", "--repeats=1"),
    "--support-turns=1",
)


def bench(out: Path, *words: str) -> dict[str, Any]:
    """Run it as the Makefile does; the parts that it kept, by name."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, f"--out={out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = json.loads((out / "benchmarks.json").read_text(encoding="utf-8"))["parts"]
    return {part["name"]: part for part in parts}


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_routes_and_fleet(tmp_path: Path) -> None:
    parts = bench(tmp_path, "run", "--rows=2000", "--fleet", *SMALL)
    assert set(parts) == {"routes-000002000", "fleet", "hostile", "support"}
    assert all(bar["held"] for bar in parts["hostile"]["bars"])
    lines = {line["what"]: line for line in parts["routes-000002000"]["lines"]}
    assert lines["nothing changed"]["written"] == 0
    assert lines["0.1 % changed"]["written"] == 4
    # What was inserted before, and nothing deleted
    assert 2000 < lines["first fill"]["written"] < 2010
    assert lines["first fill"]["wire"] > 2000 * 50
    assert {line["who"] for line in lines.values()} >= {"RAINBO", "PostgreSQL alone", "reader"}
    bars = {bar["what"]: bar for bar in parts["routes-000002000"]["bars"]}
    assert bars["routes rewritten when nothing changed"]["held"]
    assert bars["look-ups that found nothing or failed"]["found"] == 0
    assert "tenant summaries, loopback" in {line["what"] for line in parts["fleet"]["lines"]}
    page = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "## The routing sync, 2,000 rows" in page


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_bloat(tmp_path: Path) -> None:
    parts = bench(tmp_path, "bloat", "--rows=1000", "--syncs=3")
    lines = parts["bloat"]["lines"]
    (table,) = [line for line in lines if line["what"].startswith("user_routes_all:")]
    assert "× fresh" in table["note"]


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_history(tmp_path: Path) -> None:
    """At the default retentions: of five days, the checks and parts of one are there."""
    parts = bench(tmp_path, "history", "--instances=10", "--days=5")
    lines = {line["what"]: line for line in parts["history"]["lines"]}
    a_day = 10 * 24 * 60
    for table in ("syncs_runtarget", "instance_checks"):
        assert a_day < lines[table]["written"] < 1.6 * a_day, table
    assert all(bar["held"] for bar in parts["history"]["bars"])


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_comparison_with_the_last_commit() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench",
            "compare",
            "HEAD",
            "--rows=2000",
            "--turns=1",
            "--repeats=1",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "RAINBO: nothing changed" in done.stdout
    assert "only in" not in done.stdout


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_models(tmp_path: Path) -> None:
    parts = bench(tmp_path, "models", "--rows=500", "--turns=1")
    bars = {bar["what"]: bar for bar in parts["models"]["bars"]}
    assert bars["rows of records, models and prices written then"]["found"] == 0
    lines = {line["what"]: line for line in parts["models"]["lines"]}
    assert lines["first run"]["written"] == 1000
