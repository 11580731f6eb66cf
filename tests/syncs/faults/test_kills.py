"""kill -9 of any process of a supervised cluster: the next due sync completes by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from localfleet.processes import process_table
from syncs.workers.cluster import KILLED, PROC
from tests.syncs.faults.names import BUSY, DEADLY
from tests.syncs.faults.stage import Process, Stage, until

IN_TIME = 5 * 60 / 30 + 5  # five minutes at a thirtieth; starting Python takes its own time


def idle_worker(_: Stage, work: Process) -> int:
    """The one that waits at the workers' common pipe, whose lock dies with it."""
    idle = work.role("worker")
    until(lambda: any(waits_at_pipe(pid) for pid in idle))
    return next(pid for pid in idle if waits_at_pipe(pid))


def waits_at_pipe(pid: int) -> bool:
    return "pipe" in (PROC / str(pid) / "wchan").read_text()


def busy_worker(stage: Stage, _: Process) -> int:
    """The one that runs what takes long; a former victim's run says so too until it is lost."""
    stage.make_slots(BUSY)
    running = "SELECT pid FROM syncs_syncrun WHERE state = 'running' AND sync = 'busy'"

    def living() -> list[int]:
        return [pid for (pid,) in stage.query(running) if process_table.program(pid)]

    until(living, 90)
    return living()[0]


VICTIMS: dict[str, Callable[[Stage, Process], int]] = {
    "main": lambda _, work: work.main(),
    "sentinel": lambda _, work: work.sentinel(),
    "pusher": lambda _, work: work.role("pusher")[-1],
    "monitor": lambda _, work: work.role("monitor")[-1],
    "idle worker": idle_worker,
    "busy worker": busy_worker,
}


def kill(stage: Stage, work: Process, victim: str, seconds: float) -> float:
    """Kill one, and see how long the next due sync takes to complete."""
    os.kill(VICTIMS[victim](stage, work), signal.SIGKILL)
    return complete(stage, seconds)


def complete(stage: Stage, seconds: float) -> float:
    slot, began = stage.make_slots("probe_a"), time.monotonic()
    until(lambda: stage.outcome("probe_a", slot) == "succeeded", seconds)
    return time.monotonic() - began


def settle(stage: Stage) -> None:
    """Every slot has come to its outcome."""
    until(lambda: stage.verdict().is_clean, 40)


def works(stage: Stage) -> Process:
    work = stage.start("schedule_work")
    until(lambda: stage.query("SELECT 1 FROM syncs_heartbeat"))
    return work


USUAL = ("main",)  # the others are left to `make soak`, which has time for all


@pytest.mark.parametrize(
    "victim",
    [pytest.param(v, marks=() if v in USUAL else pytest.mark.soak) for v in VICTIMS],
)
def test_the_next_due_sync_completes_after_a_kill(stage: Stage, victim: str) -> None:
    work = works(stage)
    took = kill(stage, work, victim, IN_TIME)
    print(f"{victim}: {took:.1f} s")
    settle(stage)


@pytest.mark.soak
def test_a_task_that_kills_its_worker_stops_no_other(stage: Stage) -> None:
    works(stage)
    slot = stage.make_slots(DEADLY)
    until(lambda: stage.outcome(DEADLY, slot))
    complete(stage, IN_TIME)
    settle(stage)


def test_no_process_outlives_its_supervisor(stage: Stage) -> None:
    """Not even where the killed monitor left a queue locked, so that its successor waits."""
    work = works(stage)
    os.kill(monitor := VICTIMS["monitor"](stage, work), signal.SIGKILL)
    until(lambda: monitor not in work.role("monitor") and work.role("monitor"), IN_TIME)
    left = work.all()
    os.kill(work.pid, signal.SIGKILL)
    until(lambda: not any(map(process_table.program, left)), KILLED + 5)
