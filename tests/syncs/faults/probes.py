"""Syncs that read nothing: they take a while, and one of them kills its own worker."""

from __future__ import annotations

import os
import signal
import time

from syncs.engine.registry import Sync
from syncs.engine.run import Run
from syncs.engine.targets import Target
from syncs.models import TargetState
from tests.syncs.faults.names import BUSY, CRONS, DEADLY, TENANTS

TARGET = Target("1", "one")
LONG = float(os.environ.get("FAULTS_BUSY", "3"))


def brief(run: Run) -> None:
    _work(run, 0.02)


def busy(run: Run) -> None:
    _work(run, LONG)


def deadly(run: Run) -> None:
    """Kills its worker at the first attempt."""
    if run.record.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    _work(run, 0.02)


def _work(run: Run, seconds: float) -> None:
    run.expect([TARGET])
    at = run.now()
    time.sleep(seconds)
    with run.publishing() as session:
        run.confirm(session, TARGET.key, at)
    run.record_outcome(TARGET.key, TargetState.SUCCEEDED)
    run.log("published")


FUNCTIONS = {BUSY: busy, DEADLY: deadly}
PROBES = [
    Sync(name, name, FUNCTIONS.get(name, brief), lambda: [TARGET], cron, order)
    for order, (name, cron) in enumerate(CRONS.items())
    if name != TENANTS
]
