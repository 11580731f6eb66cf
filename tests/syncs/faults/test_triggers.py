from __future__ import annotations

import pytest

from tests.syncs.faults.names import BUSY
from tests.syncs.faults.stage import Stage, until
from tests.syncs.faults.triggers import GATE

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
OUTCOMES = "SELECT state, count(*)::int FROM syncs_syncrun GROUP BY 1 ORDER BY 1"


@pytest.mark.soak
def test_a_hundred_triggers_at_once_make_one_run(stage: Stage) -> None:
    with stage.server.connect(stage.name) as gate:
        gate.execute("SELECT pg_advisory_lock(%s)", [GATE])
        crowds = [stage.program("tests.syncs.faults.triggers", BUSY, "20") for _ in range(5)]
        until(lambda: stage.query(WAITING) == [(5,)])
    assert [crowd.wait(60) for crowd in crowds] == [0] * 5
    assert dict(stage.query(OUTCOMES)) == {"succeeded": 1, "skipped": 99}
    verdict = stage.verdict()
    assert (verdict.overlaps, verdict.running) == (0, 0)
    met = stage.query("SELECT count(DISTINCT met_id) FROM syncs_syncrun WHERE state = 'skipped'")
    assert met == [(1,)]
    until(lambda: not stage.query("SELECT 1 FROM syncs_lease WHERE expires_at IS NOT NULL"))
