"""Comparisons of small repositories, whose benchmarks are scripts that take no time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.comparison.turns import CACHE, Plan, measure
from bench.errors import BenchError
from localfleet.processes import process_table

ROOT = Path(__file__).parents[3]
# Writes the ratio that stands in RATIO of its own tree.
BENCH = """
import json, pathlib, sys
out = next(word.partition("=")[2] for word in sys.argv if word.startswith("--out="))
median = float(pathlib.Path("RATIO").read_text())
ratio = {"median": median, "least": median - 0.1, "most": median + 0.1, "runs": 1}
line = {"who": "RAINBO", "what": "nothing changed", "ratio": ratio, "unknown": 1}
text = json.dumps({"parts": [{"name": "routes", "lines": [line]}]})
pathlib.Path(out, "benchmarks.json").write_text(text)
"""
SLEEPER = """
import os, pathlib, subprocess, sys, time
out = next(word.partition("=")[2] for word in sys.argv if word.startswith("--out="))
child = subprocess.Popen(["sleep", "300"])
pathlib.Path(out, "pids").write_text(f"{os.getpid()} {child.pid}\\n")
time.sleep(300)
"""
INTERRUPTED = """
import sys
from pathlib import Path
from bench.comparison.turns import Plan, measure
from localfleet.processes import stop_signals
stop_signals.listen()
try:
    measure(Plan("HEAD", ["run"], repository=Path(sys.argv[1])))
except stop_signals.Stopped:
    sys.exit(130)
"""


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=bench", "-c", "user.email=bench@example.com"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(repository: Path, bench: str, ratio: str) -> str:
    (repository / "bench").mkdir(exist_ok=True)
    (repository / "bench" / "__main__.py").write_text(bench)
    (repository / "requirements-dev.txt").write_text("")
    (repository / "RATIO").write_text(ratio)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "bench")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".cache\n__pycache__\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "no bench")
    return tmp_path


def left_over(repository: Path) -> list[str]:
    assert git(repository, "status", "--short") == ""
    trees = git(repository, "worktree", "list").splitlines()[1:]
    return [*trees, *map(str, (repository / CACHE).glob("tree*"))]


def test_base_and_ours_run_in_turns(repository: Path) -> None:
    base = commit(repository, BENCH, "0.5")
    commit(repository, BENCH, "0.75")
    (found,) = measure(Plan(base[:9], ["run"], turns=2, repository=repository))
    assert found.base is not None
    assert found.ours is not None
    assert (found.base.median, found.ours.median) == (0.5, 0.75)
    assert (found.base.runs, found.ours.runs) == (2, 2)
    assert found.verdict == "slower"
    assert left_over(repository) == []


def test_uncommitted_changes_are_ours(repository: Path) -> None:
    commit(repository, BENCH, "0.5")
    (repository / "RATIO").write_text("0.25")
    (found,) = measure(Plan("HEAD", ["run"], turns=1, repository=repository))
    assert found.quotient == pytest.approx(0.5)


def test_an_unknown_commit_is_said(repository: Path) -> None:
    with pytest.raises(BenchError, match="There is no commit 'c0ffee'"):
        measure(Plan("c0ffee", ["run"], repository=repository))


def test_a_commit_without_a_bench_is_said(repository: Path) -> None:
    with pytest.raises(BenchError, match=r"has no bench/__main__\.py"):
        measure(Plan("HEAD", ["run"], repository=repository))


def test_a_failing_run_is_said_and_cleaned_up(repository: Path) -> None:
    base = commit(repository, "raise SystemExit('no server starts')", "1")
    with pytest.raises(
        BenchError, match=r"(?s)base-1 ended with 1:.*no server starts.*base-1\.log"
    ):
        measure(Plan(base, ["run"], repository=repository))
    assert left_over(repository) == []


def test_a_run_without_results_is_said(repository: Path) -> None:
    base = commit(repository, "", "1")
    with pytest.raises(BenchError, match=r"left no benchmarks\.json"):
        measure(Plan(base, ["run"], repository=repository))


def test_what_a_killed_comparison_left_is_removed(repository: Path) -> None:
    base = commit(repository, BENCH, "1")
    git(repository, "worktree", "add", "-q", "--detach", str(CACHE / "tree"), base)
    measure(Plan(base, ["run"], turns=1, repository=repository))
    assert left_over(repository) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_end_leaves_no_process(repository: Path, number: signal.Signals) -> None:
    commit(repository, SLEEPER, "1")
    comparison = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(repository)], cwd=ROOT, env=os.environ
    )
    pids = wait_for_pids(repository / CACHE / "base-1" / "pids")
    comparison.send_signal(number)
    assert comparison.wait(timeout=30) == (130 if number == signal.SIGINT else -number)
    assert all(process_table.wait_gone(pid, seconds=20) for pid in pids)
    if number == signal.SIGINT:
        assert left_over(repository) == []


def wait_for_pids(file: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith("\n")):
        assert time.monotonic() < deadline, "the run never started"
        time.sleep(0.05)
    return [int(pid) for pid in file.read_text().split()]


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_a_base_that_requires_something_else_gets_its_own_python(repository: Path) -> None:
    base = commit(repository, BENCH + "pathlib.Path(out, 'python').write_text(sys.prefix)", "1")
    (repository / "requirements-dev.txt").write_text("# another one\n")
    measure(Plan(base, ["run"], turns=1, repository=repository))
    own = Path((repository / CACHE / "base-1" / "python").read_text())
    assert own.parent == repository / CACHE
    assert (repository / CACHE / "ours-1" / "python").read_text() == sys.prefix
