"""Two clusters and one `schedule_run` after the other share the slots of twenty syncs.

`python -m tests.syncs.faults.slots [SLOTS]` prints the table that shows their outcomes.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from functools import partial

from tests.syncs.faults.names import NAMES
from tests.syncs.faults.stage import QUICK, Stage, Verdict, theatre, until

TABLE = """
    SELECT coalesce(nullif(run.host, ''), '(none)') || ' ' || coalesce(run.pid::text, ''),
           count(*), count(*) FILTER (WHERE state = 'succeeded'),
           round(min(seconds)::numeric, 3), round(max(seconds)::numeric, 3)
      FROM syncs_syncrun AS run GROUP BY 1 ORDER BY 2 DESC"""


@contextmanager
def commands(stage: Stage) -> Iterator[None]:
    """`schedule_run`, again and again, next to the clusters."""
    stopping = threading.Event()
    ended_badly: list[str] = []
    calls = 0

    def again() -> None:
        nonlocal calls
        while not stopping.is_set():
            done = stage.run("schedule_run")
            calls += 1
            if done.returncode:
                ended_badly.append(f"{done.returncode}: {done.stdout}{done.stderr}")

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
    assert calls
    assert not ended_badly, ended_badly[0]


def share(stage: Stage, slots: int) -> Verdict:
    """Make so many slots, all syncs at once, each round when the last has come to its end."""
    for _ in range(2):
        stage.start("qcluster")
    with commands(stage):
        for made in range(0, slots, len(NAMES)):
            names = NAMES[: slots - made]
            stage.make_slots(*names)
            until(partial(ended, stage, made + len(names)), 60)
        until(lambda: not stage.query("SELECT 1 FROM django_q_ormq"), 60)
    return stage.verdict()


def ended(stage: Stage, slots: int) -> bool:
    return stage.verdict().outcomes == slots


def due(stage: Stage) -> bool:
    return bool(stage.query("SELECT 1 FROM django_q_schedule WHERE next_run < now()"))


def main(words: list[str]) -> int:
    slots = int(words[0]) if words else 200
    with theatre() as house, house.stage(QUICK) as stage:
        began = time.monotonic()
        verdict = share(stage, slots)
        took = time.monotonic() - began
        print(f"two clusters and schedule_run, {slots} slots of {len(NAMES)} syncs in {took:.0f} s")
        for field, value in zip(fields(verdict), astuple(verdict), strict=True):
            print(f"  {field.name:10}{value:6}")
        print(f"  {'process':32}{'runs':>6}{'succeeded':>11}{'shortest':>10}{'longest':>10}")
        for process, runs, succeeded, shortest, longest in stage.query(TABLE):
            print(f"  {process:32}{runs:6}{succeeded:11}{shortest!s:>9}s{longest!s:>9}s")
    return 0 if verdict.is_clean and verdict.slots == slots else 1


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.syncs.faults.settings")
    sys.exit(main(sys.argv[1:]))
