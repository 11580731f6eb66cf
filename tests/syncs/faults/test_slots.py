"""Several clusters and commands on one database: exactly one runs a slot."""

from __future__ import annotations

import pytest

from tests.syncs.faults import slots
from tests.syncs.faults.names import NAMES
from tests.syncs.faults.stage import Stage, until

RETRY = """
    INSERT INTO syncs_syncrun (sync, state, trigger, actor, options, slot, attempt, not_before,
                               created_at, host, cancel_requested_by, error)
    VALUES (%s, 'queued', 'schedule', '', '{}', now(), 2, now(), now(), '', '', '')"""


@pytest.mark.soak
def test_two_clusters_and_a_command_share_two_hundred_slots(stage: Stage) -> None:
    verdict = slots.share(stage, 200)
    assert verdict.is_clean, verdict
    assert verdict.slots == 200
    assert stage.query("SELECT DISTINCT state FROM syncs_syncrun") == [("succeeded",)]
    runners = stage.query("SELECT DISTINCT pid FROM syncs_syncrun WHERE pid IS NOT NULL")
    assert len(runners) > 2


def test_a_mere_qcluster_takes_what_waits_and_reports(stage: Stage) -> None:
    stage.start("qcluster")
    until(lambda: stage.query("SELECT 1 FROM syncs_heartbeat"))
    stage.query(RETRY, NAMES[0])
    until(lambda: stage.query("SELECT 1 FROM syncs_syncrun WHERE state = 'succeeded'"))
    assert stage.run("worker_health").returncode == 0


def test_a_server_whose_clock_is_an_hour_off_doubles_nothing(stage: Stage) -> None:
    stage.start("qcluster")
    stage.start("qcluster", FAULTS_CLOCK="1")
    stage.start("qcluster", FAULTS_CLOCK="-1")
    for _ in range(3):
        stage.make_slots(*NAMES)
        until(lambda: not slots.due(stage))
    until(lambda: stage.verdict().is_clean)
    assert stage.verdict().slots == 3 * len(NAMES)
