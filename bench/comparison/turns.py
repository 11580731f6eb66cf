"""Runs two checkouts' benchmarks in turns and reads what each of them found."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.comparison import figures
from bench.comparison.checkout import Checkout, checked_out, resolve
from bench.comparison.figures import Comparison, Figures
from bench.errors import BenchError
from bench.progress import note
from localfleet.folders import CHECKOUT, locked
from localfleet.processes.service import Service

CACHE = Path(".cache") / "bench-comparison"
# A run that is asked to stop finishes the sync that it measures and stops its servers.
STOP_SECONDS = 60.0
POLL = 0.1


@dataclass(frozen=True)
class Plan:
    """What to run. words: of `python -m bench`, the same for both sides."""

    base: str
    words: Sequence[str]
    turns: int = 3
    repository: Path = CHECKOUT


def measure(plan: Plan) -> list[Comparison]:
    """Run both sides `turns` times. Nothing is written outside of .cache/."""
    commit = resolve(plan.repository, plan.base)
    cache = plan.repository / CACHE
    cache.mkdir(parents=True, exist_ok=True)
    with (
        locked(cache / "lock", "Another comparison runs in this checkout: wait for it."),
        checked_out(plan.repository, commit, cache) as base,
    ):
        sides = {"base": base, "ours": Checkout(plan.repository, Path(sys.executable))}
        taken: dict[str, list[Figures]] = {name: [] for name in sides}
        for turn in range(plan.turns):
            # Every other turn the other way round, so that neither side always goes first.
            for name in sorted(sides, reverse=bool(turn % 2)):
                note(f"turn {turn + 1} of {plan.turns}: {name}")
                out = cache / f"{name}-{turn + 1}"
                taken[name].append(_run(sides[name], plan.words, cache, out))
    return figures.compare(taken["base"], taken["ours"])


def _run(side: Checkout, words: Sequence[str], cache: Path, out: Path) -> Figures:
    """Run one side once, in the care of a keeper: none of its processes outlives us."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    bench = [str(side.python), "-m", "bench", *words, f"--out={out}"]
    service = Service(cache, out.name, ["env", "-C", str(side.folder), *bench], STOP_SECONDS)
    # What points Python at our own modules would hide the base's.
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        service.start(outside)
        while service.running:
            time.sleep(POLL)
    finally:
        service.stop()
    if service.exit_code:
        raise BenchError(_failure(out.name, service.exit_code, service.log))
    kept = out / "benchmarks.json"
    if not kept.exists():
        raise BenchError(f"{out.name} left no {kept.name}; its log is {service.log}.")
    return figures.read(kept.read_text(encoding="utf-8"))


def _failure(name: str, code: int, log: Path) -> str:
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    return "\n".join([f"{name} ended with {code}:", *said, f"Its whole output is in {log}"])
