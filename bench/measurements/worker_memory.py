"""How the memory of the workers of a demo develops while its syncs run every minute."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError
from bench.progress import note
from bench.report.results import Bar, Line, Part
from bench.testbed.process_usage import descendants, shares
from bench.testbed.running_demo import RunningDemo, running_demo
from localfleet.demo import manage_command
from localfleet.demo.state import State
from localfleet.servers.server import Server

MOST_PSS, MOST_GROWTH = 90.0, 1.05
BUSY = ("user_routing", "tenant_summaries", "ghost_users")  # every minute, as the health checks
_RUNS = "SELECT state, count(*)::int FROM syncs_syncrun WHERE slot IS NOT NULL GROUP BY 1"
_WORKER = b"schedule_work"


def measure(minutes: int) -> Part:
    """Run a demo for so long, and take a sample of its workers each minute."""
    with running_demo() as demo:
        for sync in BUSY:
            words = ["schedule_set", sync, "--cron", "* * * * *", "--accept-warnings"]
            manage_command.answer(words, State.load(demo.root).environment())
        note(f"the workers of a demo, {minutes} minutes")
        samples = [*_samples(demo, minutes)]
        with Server(demo.root, "rainbo").connect("rainbo") as own:
            return summary(samples, dict(own.execute(_RUNS).fetchall()))


def summary(samples: Sequence[Sequence[float]], runs: Mapping[str, int]) -> Part:
    """Compare the last quarter with the second; in the first everything is loaded.

    samples: of each minute, of each process, its share in MB. runs: how many there were, by state.
    """
    quarter = max(len(samples) // 4, 1)
    second, last = samples[quarter : 2 * quarter] or samples, samples[-quarter:]
    early, late = (statistics.median(map(sum, some)) for some in (second, last))
    largest = max(map(max, samples))
    ended = ", ".join(f"{count} {state}" for state, count in runs.items())
    lines = [
        Line("the workers", "in the second quarter", memory=early),
        Line("the workers", "in the last quarter", memory=late, note=f"runs: {ended}"),
        Line("their largest process", "at any time", memory=largest),
    ]
    bars = [
        Bar("the largest process of the workers", MOST_PSS, largest, "MB"),
        Bar("memory of the workers, the last quarter to the second", MOST_GROWTH, late / early),
    ]
    measured = f"PSS of all their processes, each of {len(samples)} minutes; all syncs run in each"
    return Part("memory", "Memory of the workers over time", lines, bars, {"measured": measured})


def _samples(demo: RunningDemo, minutes: int) -> Iterator[list[float]]:
    """Of each process its share, each minute."""
    main = _workers_of(demo)
    begun = time.monotonic()
    for minute in range(1, minutes + 1):
        time.sleep(max(begun + minute * 60 - time.monotonic(), 0))
        found = shares(descendants(main))
        if not found:
            raise BenchError("The demo's workers have ended")
        note(f"minute {minute}: {sum(found.values()):.0f} MB, largest {max(found.values()):.0f}")
        yield [*found.values()]


def _workers_of(demo: RunningDemo) -> int:
    """Their main process, the first of its family."""
    for pid in descendants(demo.pid):
        if _WORKER in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            return pid
    raise BenchError("The demo has no workers")
