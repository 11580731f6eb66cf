"""What is done each minute, by one process of all, and after runs that did not end well."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.db import OperationalError, transaction

from alerts import dead_man_switch, evaluation, outbox, requested_mail
from alerts.evaluation import Outcome
from alerts.outbox import Flush
from syncs.models import RunState, SyncRun

logger = logging.getLogger("rainbo.alerts")

BAD_ENDS = frozenset({RunState.FAILED, RunState.LOST, RunState.HELD, RunState.PARTIAL})


@dataclass(frozen=True)
class Done:
    """incidents: None if another process evaluates right now. reached: whether the dead man's
    switch took the report; None if there is none."""

    incidents: Outcome | None
    messages: Flush
    reached: bool | None


def tick(*, wait: bool = False) -> Done:
    """Evaluate, send, and report to the dead man's switch. One that fails stops no other.

    wait: for another process that evaluates right now.
    """
    dead_man_switch.start()
    try:
        try:
            outcome = evaluation.evaluate(wait=wait)
        finally:
            flush = outbox.flush()
            requested_mail.flush()
    except Exception as error:
        # The kind alone: the words of an error may have what must not leave RAINBO.
        dead_man_switch.ping(f"evaluating or sending failed: {type(error).__name__}")
        raise
    return Done(outcome, flush, dead_man_switch.ping())


def after_run(record: SyncRun) -> None:
    """Evaluate as soon as the end of a run that did not succeed is stored, and send what is urgent;
    `tick` sends the rest."""
    if record.state in BAD_ENDS:
        transaction.on_commit(lambda: _evaluate_once(record), robust=True)


def _evaluate_once(record: SyncRun) -> None:
    try:
        # One that runs right now may have read what it judges before this end was stored.
        outcome = evaluation.evaluate(wait=True, longest=evaluation.LONGEST_WAIT)
        if record.state != RunState.LOST:  # who found it lost has a lease to renew
            outbox.flush_if_urgent()
    except OperationalError as error:  # the next `tick` tries again
        first, _, _ = str(error).partition("\n")
        logger.warning("run %s: not evaluated: %s", record.pk, first)
        return
    if outcome:
        logger.info("run %s: %s incidents are open", record.pk, outcome.open)
