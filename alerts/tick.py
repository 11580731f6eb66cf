"""What is done each minute, by one process of all, and after runs that did not end well."""

from __future__ import annotations

import logging

from django.db import OperationalError, transaction

from alerts import dead_man_switch, evaluation, outbox
from alerts.evaluation import Outcome
from alerts.outbox import Flush
from common import clock
from syncs.models import RunState, SyncRun

logger = logging.getLogger("rainbo.alerts")

INTERVAL = 60.0
BAD_ENDS = frozenset({RunState.FAILED, RunState.LOST, RunState.HELD, RunState.PARTIAL})


def tick() -> tuple[Outcome | None, Flush]:
    """Evaluate, send, and report to the dead man's switch. One that fails stops no other."""
    outcome, flush = None, Flush()
    try:
        outcome = evaluation.evaluate()
    finally:
        try:
            flush = outbox.flush()
            outbox.prune(clock.database_now())
        finally:
            dead_man_switch.ping()
    return outcome, flush


def after_run(record: SyncRun) -> None:
    """Evaluate as soon as the end of a run that did not succeed is stored; `tick` sends."""
    if record.state in BAD_ENDS:
        transaction.on_commit(lambda: _evaluate_once(record), robust=True)


def _evaluate_once(record: SyncRun) -> None:
    try:
        outcome = evaluation.evaluate()
    except OperationalError as error:  # the next `tick` tries again
        first, _, _ = str(error).partition("\n")
        logger.warning("run %s: not evaluated: %s", record.pk, first)
        return
    if outcome:
        logger.info("run %s: %s incidents are open", record.pk, outcome.open)
